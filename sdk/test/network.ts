/** WebSockets without a network, and the model server behind them. Time is node's mock timers'. */

import { mock } from "node:test";

import { ModelServer } from "./model.ts";
import type { ServerSession } from "./model.ts";

/** Lets everything happen that needs no time. */
export async function turns(): Promise<void> {
  for (let count = 0; count < 20; count += 1) await Promise.resolve();
}

export async function tick(ms: number): Promise<void> {
  mock.timers.tick(ms);
  await turns();
}

export class FakeSocket {
  static readonly all: FakeSocket[] = [];
  readonly url: string;
  readonly protocols: string[];
  readyState = 0;
  closedWith: number | null = null;
  readonly said: { t?: string; [key: string]: unknown }[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  /** The model server's end. */
  link: ServerSession | null = null;
  muted = false;

  constructor(url: string, protocols: string[]) {
    this.url = url;
    this.protocols = protocols;
    FakeSocket.all.push(this);
  }

  static get last(): FakeSocket {
    return FakeSocket.all.at(-1) as FakeSocket;
  }

  send(text: string): void {
    const message = JSON.parse(text);
    this.said.push(message);
    if (!this.muted) queueMicrotask(() => this.link?.read(message));
  }

  close(code: number): void {
    this.closedWith = code;
    this.readyState = 3;
  }

  /** The handshake succeeds; with a server, it answers. */
  open(server?: ModelServer): this {
    if (server) this.link = server.connect((message) => queueMicrotask(() => this.say(message)));
    this.readyState = 1;
    this.onopen?.();
    return this;
  }

  say(...messages: object[]): void {
    if (!this.muted && this.readyState === 1) this.onmessage?.({ data: JSON.stringify(messages) });
  }

  drop(code = 1006, reason = ""): void {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }
}
