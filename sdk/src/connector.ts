/**
 * Keeps a document connected: opens sockets, waits between tries, moves from one router to another, and stops where the
 * server says so. What is said on the socket is not its business.
 */

import { ClosedError } from "./errors.ts";
import type { ClientMessage, Hello } from "./messages.ts";
import { afterClose, backoffMs, moveWaitMs, retryAfterMs } from "./policy.ts";
import { Socket } from "./socket.ts";

/** Why identity is asked for: to connect, because it runs out, or because the server refused it. */
export type Reason = "connect" | "expiring" | "rejected";

/** A single-use ticket, or nothing where a cookie says who we are. `newUser`: not the one we were before. */
export interface Credentials {
  ticket?: string;
  newUser?: boolean;
}

export interface Settings {
  socketUrl: string;
  authenticate: (reason: Reason, documentId: string) => Promise<Credentials | void>;
  webSocket: typeof WebSocket;
  random: () => number;
  newClientId: () => string;
}

export interface ConnectorListener {
  hello(): Hello;
  frame(text: string): void;
  /** Whether a second socket can take over from the current one, and what it says first. */
  movable(): boolean;
  helloBeside(): Hello;
  /** It has, welcomed by this frame. */
  switched(text: string): void;
  /** There is no connection; another one is being made. */
  lost(): void;
  newUser(): void;
  /** The server's history is not ours: `rejoin` follows. */
  forked(): void;
  failed(error: Error): void;
  /** For good. */
  ended(error: ClosedError): void;
}

/** In the first frame of a connection that is let in. Inside a JSON string its quotes would be escaped. */
const WELCOMES = /"t":\s?"welcome"/;

export class Connector {
  private readonly documentId: string;
  private readonly settings: Settings;
  private readonly listener: ConnectorListener;
  private current: Socket | null = null;
  /** Becomes the current one at its welcome: a move makes before it breaks. */
  private candidate: Socket | null = null;
  /** The server has asked us to move, and the time for that is not over. */
  private moving: { attempt: number; readonly timer: ReturnType<typeof setTimeout> } | null = null;
  private readonly connecting = { attempt: 0 };
  private openings = 0;
  private refusedOnce = false;
  private over = false;
  private retryTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly hurry = () => this.comeBack();

  constructor(documentId: string, settings: Settings, listener: ConnectorListener) {
    this.documentId = documentId;
    this.settings = settings;
    this.listener = listener;
    globalThis.addEventListener?.("online", this.hurry);
    globalThis.document?.addEventListener("visibilitychange", this.hurry);
  }

  send(message: ClientMessage): void {
    this.current?.send(message);
  }

  /** A resume is complete: the next loss starts with short waits again. */
  settled(): void {
    this.connecting.attempt = 0;
  }

  welcomed(heartbeatS: number): void {
    this.refusedOnce = false;
    this.current?.welcome(heartbeatS);
  }

  /** Gives up this connection and makes another. */
  rejoin(): void {
    this.stay();
    this.current?.close();
    this.current = null;
    this.openLater(0);
  }

  /** Goes over to another socket within this time. The current one serves until then, or for as long as it lasts. */
  move(withinS: number): void {
    if (this.moving || !this.current) return;
    this.moving = { attempt: 0, timer: setTimeout(() => this.stay(), withinS * 1000) };
    this.openAfter(moveWaitMs(withinS, this.settings.random()));
  }

  async open(reason: Reason): Promise<void> {
    clearTimeout(this.retryTimer);
    this.retryTimer = undefined;
    if (this.moving && !this.listener.movable()) return this.openLater(0);
    const opening = ++this.openings;
    const credentials = await this.credentials(reason);
    if (opening !== this.openings || this.over) return;
    if (credentials instanceof Error) {
      this.listener.failed(credentials);
      return this.openLater(0);
    }
    if (credentials.newUser) {
      if (this.current) this.giveUp();
      this.listener.newUser();
    }
    const query = credentials.ticket ? `?ticket=${encodeURIComponent(credentials.ticket)}` : "";
    this.candidate?.close();
    const socket: Socket = new Socket(this.settings.socketUrl + query, this.settings.webSocket, {
      opened: () => socket.send(this.current ? this.listener.helloBeside() : this.listener.hello()),
      frame: (text) => this.read(socket, text),
      closed: (code, text) => this.lost(socket, code, text),
    });
    this.candidate = socket;
  }

  /** Says who we are on the open socket, before the server asks us to leave. */
  async renew(): Promise<void> {
    const credentials = await this.credentials("expiring");
    if (credentials instanceof Error) this.listener.failed(credentials);
    else if (credentials.ticket) this.send({ t: "auth", ticket: credentials.ticket });
  }

  end(code: number, reason: string): void {
    if (this.over) return;
    this.over = true;
    this.stay();
    this.current?.close();
    this.candidate?.close();
    this.current = this.candidate = null;
    clearTimeout(this.retryTimer);
    globalThis.removeEventListener?.("online", this.hurry);
    globalThis.document?.removeEventListener("visibilitychange", this.hurry);
    this.listener.ended(new ClosedError(code, reason));
  }

  private async credentials(reason: Reason): Promise<Credentials | Error> {
    try {
      return (await this.settings.authenticate(reason, this.documentId)) ?? {};
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  private openLater(leastMs: number): void {
    const tries = this.moving ?? this.connecting;
    this.openAfter(leastMs + backoffMs(tries.attempt, this.settings.random()));
    tries.attempt += 1;
  }

  private openAfter(waitMs: number): void {
    clearTimeout(this.retryTimer);
    this.retryTimer = setTimeout(() => void this.open("connect"), waitMs);
  }

  /** The network is back, or the page is looked at again: what was true a moment ago may not be. */
  private comeBack(): void {
    if (globalThis.document?.visibilityState === "hidden") return;
    if (this.current) this.current.probe();
    else if (this.retryTimer !== undefined) void this.open("connect");
  }

  /** Nothing is tried any more beside the current socket. */
  private stay(): void {
    if (!this.moving) return;
    this.endMove();
    clearTimeout(this.retryTimer);
    this.retryTimer = undefined;
    this.openings += 1;
    this.refusedOnce = false;
    this.candidate?.close();
    this.candidate = null;
  }

  private endMove(): void {
    clearTimeout(this.moving?.timer);
    this.moving = null;
  }

  /** Another user is another client: nothing that the current socket has can be taken over. */
  private giveUp(): void {
    this.endMove();
    this.current?.close();
    this.current = null;
    this.listener.lost();
  }

  private read(socket: Socket, text: string): void {
    if (socket === this.candidate && WELCOMES.test(text)) {
      const left = this.current;
      this.current = socket;
      this.candidate = null;
      this.stay();
      if (left) {
        this.listener.switched(text);
        return left.close(); // after all that it knew has been said on the new one: presence
      }
    }
    if (socket === this.current) this.listener.frame(text);
  }

  private lost(socket: Socket, code: number, reason: string): void {
    if (socket === this.current) {
      this.current = null;
      if (this.candidate) this.endMove();
      else this.stay();
      this.listener.lost();
      if (this.candidate) return;
    }
    if (socket === this.candidate) this.candidate = null;
    switch (afterClose(code)) {
      case "stop":
        return this.end(code, reason);
      case "renew":
        if (this.refusedOnce) return this.moving ? this.openLater(0) : this.end(code, reason);
        this.refusedOnce = true;
        return void this.open("rejected");
      case "rejoin":
        return this.listener.forked();
      case "reconnect":
        return this.openLater(retryAfterMs(reason));
    }
  }
}
