/**
 * The server in memory, as far as a client can tell it from the real one: it orders, transforms by the tie rule, knows
 * duplicates, forgets old history, changes epochs, refuses, and answers late. The log of each section is the truth.
 */

import Delta from "quill-delta";

import { decodeDelta, encodeDelta } from "../src/codec.ts";
import { baseLength } from "../src/delta.ts";
import type { ClientMessage, Entry } from "../src/messages.ts";

interface Logged extends Entry {
  epoch: number;
}

export class ModelSection {
  readonly id: string;
  readonly next: string | null;
  readonly log: Logged[] = [];
  readonly start: Delta;
  contents: Delta;
  epoch = 1;

  constructor(id: string, next: string | null, contents: Delta) {
    this.id = id;
    this.next = next;
    this.start = this.contents = contents;
  }

  get revision(): number {
    return this.log.length;
  }

  epochAt(revision: number): number {
    return this.log[revision - 1]?.epoch ?? 1;
  }

  append(entry: Entry): void {
    this.contents = this.contents.compose(entry.delta);
    this.log.push({ ...entry, epoch: this.epoch });
  }

  composed(from: number): Delta {
    return this.log.slice(from).reduce((whole, { delta }) => whole.compose(delta), new Delta());
  }
}

export interface Refusal {
  code: string;
  retry: string;
  retry_after_s?: number;
}

export type Verdict = "accept" | { before: Refusal } | { after: Refusal };

export class ModelServer {
  readonly sections = new Map<string, ModelSection>();
  readonly incarnation: string;
  window = Infinity;
  opBytes = 65_536;
  /** Decides about each operation that would be accepted; `after` accepts it and says that it is unavailable. */
  verdict: (client: string, op: Delta) => Verdict = () => "accept";
  private readonly sessions = new Set<ServerSession>();

  constructor(parts: Delta[], incarnation = "i1") {
    this.incarnation = incarnation;
    parts.forEach((contents, index) => {
      const next = index + 1 < parts.length ? String(index + 1) : null;
      this.sections.set(String(index), new ModelSection(String(index), next, contents));
    });
  }

  get contents(): Delta {
    return [...this.sections.values()].reduce((whole, { contents }) => whole.concat(contents), new Delta());
  }

  connect(write: (message: object) => void): ServerSession {
    const session = new ServerSession(this, write);
    this.sessions.add(session);
    return session;
  }

  disconnect(session: ServerSession): void {
    this.sessions.delete(session);
  }

  takeOver(id: string): void {
    this.section(id).epoch += 1;
  }

  section(id: string): ModelSection {
    return this.sections.get(id) as ModelSection;
  }

  /** Returns the revision of the operation, or why it was refused. */
  submit(client: string, op: ClientMessage & { t: "op" }): number | Refusal {
    const section = this.section(op.s);
    if (op.base > section.revision) return { code: "ahead", retry: "never" };
    if (op.base < section.revision - this.window) return { code: "stale", retry: "catchup" };
    const since = section.log.slice(op.base);
    const twin = since.findIndex((entry) => entry.client === client && entry.cseq >= op.cseq);
    if (twin >= 0) return op.base + twin + 1;
    const delta = since.reduce((moved, applied) => applied.delta.transform(moved, false), decodeDelta(op.delta));
    if (baseLength(delta) > section.contents.length()) return { code: "invalid", retry: "never" };
    const verdict = this.verdict(client, delta);
    if (verdict !== "accept" && "before" in verdict) return verdict.before;
    section.append({ client, cseq: op.cseq, delta });
    for (const session of this.sessions) session.announce(section);
    return verdict === "accept" ? section.revision : verdict.after;
  }
}

/** One connection as the router keeps it: what of each section it sent last. */
export class ServerSession {
  private readonly server: ModelServer;
  readonly write: (message: object) => void;
  client = "";
  readonly sent = new Map<string, number>();

  constructor(server: ModelServer, write: (message: object) => void) {
    this.server = server;
    this.write = write;
  }

  announce(section: ModelSection): void {
    const sent = this.sent.get(section.id);
    if (sent !== undefined) this.entries(section, sent);
  }

  entries(section: ModelSection, from: number): void {
    for (let start = from; start < section.revision;) {
      const epoch = section.epochAt(start + 1);
      let end = start + 1;
      while (end < section.revision && section.epochAt(end + 1) === epoch) end += 1;
      const e = section.log.slice(start, end).map(({ client, cseq, delta }) => [client, cseq, encodeDelta(delta)]);
      const first = epoch !== section.epochAt(start) || start === from ? { epoch } : {};
      this.write({ s: section.id, rev: start + 1, ...first, e });
      start = end;
    }
    this.sent.set(section.id, section.revision);
  }

  read(message: ClientMessage): void {
    switch (message.t) {
      case "hello":
        return this.welcome(message);
      case "op":
        return this.op(message);
      case "catchup":
        return this.catchUp(message);
      case "fetch":
        return this.snapshot(this.server.section(message.s));
      case "ping":
        this.write({ t: "pong" });
        for (const section of this.server.sections.values()) this.head(section);
    }
  }

  head(section: ModelSection): void {
    this.write({ t: "head", s: section.id, rev: section.revision, epoch: section.epochAt(section.revision) });
  }

  private welcome({ client, resume }: ClientMessage & { t: "hello" }): void {
    this.client = client;
    this.write({
      t: "welcome",
      v: 1,
      document: "d",
      incarnation: this.server.incarnation,
      user: { id: client, name: client },
      role: "writer",
      durability: "memory",
      sections: [...this.server.sections.keys()].slice(0, 2),
      heartbeat_s: 20,
      limits: { frame_bytes: 1_000_000, op_bytes: this.server.opBytes, presence_bytes: 4096, ops_per_s: 50 },
      expires: null,
    });
    [...this.server.sections.values()].forEach((section, index) => {
      const mine = section.log.findLastIndex((entry) => entry.client === client);
      const acked = { t: "acked", s: section.id, cseq: section.log[mine]?.cseq ?? 0, rev: mine + 1 };
      const stands = resume?.sections[section.id];
      if (stands) {
        this.write(acked);
        this.entries(section, stands[0]);
      } else if (index < 2) {
        this.write(acked);
        this.snapshot(section);
      }
    });
  }

  private snapshot(section: ModelSection): void {
    const { id: s, revision: rev, next, contents } = section;
    this.sent.set(s, rev);
    this.write({
      t: "snapshot",
      s,
      rev,
      epoch: section.epochAt(rev),
      next,
      sealed: null,
      delta: encodeDelta(contents),
    });
  }

  private op(message: ClientMessage & { t: "op" }): void {
    const answer = this.server.submit(this.client, message);
    if (typeof answer === "number") this.announce(this.server.section(message.s));
    else this.write({ t: "nack", s: message.s, cseq: message.cseq, message: "no", ...answer });
  }

  private catchUp({ s, from, composed }: ClientMessage & { t: "catchup" }): void {
    const section = this.server.section(s);
    if (!composed) return this.entries(section, from);
    this.sent.set(s, section.revision);
    const epoch = section.epochAt(section.revision);
    this.write({ t: "catchup", s, from, rev: section.revision, epoch, delta: encodeDelta(section.composed(from)) });
  }
}
