/** A session that has read a small document, and the messages that are said to it. */

import Delta from "quill-delta";

import type { ClientMessage } from "../src/messages.ts";
import type { Output, SessionEvent } from "../src/output.ts";
import { Session } from "../src/session.ts";

export const WELCOME = {
  t: "welcome",
  v: 1,
  document: "d",
  incarnation: "i1",
  user: { id: "u", name: "U" },
  role: "writer",
  durability: "memory",
  sections: ["0"],
  heartbeat_s: 20,
  expires: null,
  limits: { frame_bytes: 1e6, op_bytes: 65_536, presence_bytes: 4096, ops_per_s: 50 },
};
export const SNAPSHOT = { t: "snapshot", s: "0", rev: 5, epoch: 2, next: null, sealed: null, delta: ["abc\n"] };
export const ME = "me-client";
export const YOU = "you-client";

export type State = "at rest" | "in flight" | "buffered";

export class Tab {
  readonly session: Session;
  nowMs = 0;

  constructor(state: State = "at rest") {
    this.session = new Session(ME);
    this.session.hello("spare-id");
    this.say(WELCOME);
    this.say(SNAPSHOT);
    if (state !== "at rest") this.type(0, "X");
    if (state === "buffered") this.type(1, "Y");
  }

  say(...messages: object[]): Output {
    return this.session.receive(JSON.stringify(messages), this.nowMs);
  }

  type(at: number, what: string): ClientMessage[] {
    return this.session.edit(new Delta().retain(at).insert(what), this.nowMs).output.send;
  }

  after(ms: number): Output {
    this.nowMs += ms;
    return this.session.due(this.nowMs);
  }

  get text(): string {
    return this.session.contents.ops.map(({ insert }) => insert).join("");
  }

  get revision(): number {
    return this.session.revisions["0"] as number;
  }
}

export const theirs = (rev: number, delta: unknown[], extra: object = {}) => ({
  s: "0",
  rev,
  e: [[YOU, 1, delta]],
  ...extra,
});
export const mine = (rev: number, cseq: number, delta: unknown[]) => ({ s: "0", rev, e: [[ME, cseq, delta]] });
export const nack = (code: string, retry: string, extra: object = {}) => ({
  t: "nack",
  s: "0",
  cseq: 1,
  code,
  retry,
  message: "",
  ...extra,
});
export const op = (base: number, cseq: number, delta: unknown[]) => ({ t: "op", s: "0", base, cseq, delta });
export const catchup = (from: number, extra: object = {}) => ({ t: "catchup", s: "0", from, epoch: 2, ...extra });
export const kinds = (events: SessionEvent[]) => events.map(({ kind }) => kind);
