/**
 * The conversation about one section: what is asked for, what is in flight and when it is sent again. An operation
 * stays in flight under its cseq until its entry is read or it is refused for good; every other answer only says when
 * to send it again.
 */

import type Delta from "quill-delta";

import { encodeDelta } from "./codec.ts";
import type { Copy } from "./copy.ts";
import type { ClientMessage, Entries, Nack, ServerMessage, Snapshot } from "./messages.ts";
import type { ChangeSource } from "./output.ts";

const ACK_TIMEOUT_MS = 5_000;
const ANSWER_TIMEOUT_MS = 5_000;
/** After `stale`: catch-up comes in pages, and only the last of them makes the base new enough. */
const PAGE_PAUSE_MS = 200;
const DEFAULT_RETRY_MS = 1_000;

type CaughtUp = ServerMessage & { t: "catchup" };
type Head = ServerMessage & { t: "head" };
type Acked = ServerMessage & { t: "acked" };

/** What a section needs of the session while it deals with one event. */
export interface Turn {
  readonly nowMs: number;
  readonly client: string;
  readonly maxOpBytes: number;
  nextCseq(): number;
  seenCseq(cseq: number): void;
  send(message: ClientMessage): void;
  /** `author` is null for a composed change. */
  advanced(section: Section, delta: Delta, author: string | null): void;
  changed(section: Section, delta: Delta, source: ChangeSource): void;
  parked(section: Section, refused: Delta, nack: Nack): void;
  /** The history read here is not the server's: join anew. */
  forked(): void;
  /** Another tab uses our client id: take a new one, go on from here. */
  shared(section: Section): void;
}

interface Asked {
  readonly from: number;
  readonly composed: boolean;
  readonly untilMs: number;
}

export class Section {
  readonly copy: Copy;
  /** On this connection, the server has said how this section goes on. */
  heard: boolean;
  private asked: Asked | null = null;
  private resendAtMs: number | null = null;
  private stale = false;
  /** The highest revision that the server has spoken of. */
  private head = 0;

  constructor(copy: Copy, heard: boolean) {
    this.copy = copy;
    this.heard = heard;
  }

  get wakeAtMs(): number | null {
    const times = [this.asked?.untilMs, this.copy.inFlight ? this.resendAtMs : null].filter((time) => time != null);
    return times.length > 0 ? Math.min(...times) : null;
  }

  /** On another connection, which sends what follows its hello. `beside`: it takes over from one that served till now. */
  resume(turn: Turn, beside: boolean): void {
    this.heard &&= beside;
    this.asked = null;
    if (this.copy.inFlight) this.submit(turn);
  }

  due(turn: Turn): void {
    if (this.asked && this.asked.untilMs <= turn.nowMs) {
      this.asked = null;
      this.flush(turn);
      if (this.copy.revision < this.head) this.ask(turn);
    }
    if (this.copy.inFlight && this.resendAtMs !== null && this.resendAtMs <= turn.nowMs) this.submit(turn);
  }

  /** While a composed change is on its way nothing is put in flight, for that would spoil it. */
  flush(turn: Turn): void {
    if (!this.heard || this.asked?.composed) return;
    if (this.copy.inFlight || !this.copy.buffer) return;
    this.copy.launch(turn.nextCseq(), turn.maxOpBytes);
    this.submit(turn);
  }

  read(message: Entries, turn: Turn): void {
    const { copy } = this;
    for (const [index, entry] of message.entries.entries()) {
      const revision = message.rev + index;
      if (revision > copy.revision + 1) return this.gap(revision, turn);
      if (revision <= copy.revision) {
        if (message.epoch !== undefined && copy.epochs.contradict(revision, message.epoch)) return turn.forked();
        continue;
      }
      const { seen, shared } = copy.read(entry, turn.client);
      if (message.epoch !== undefined) copy.epochs.enter(revision, message.epoch);
      if (entry.client === turn.client) turn.seenCseq(entry.cseq);
      turn.advanced(this, entry.delta, entry.client);
      if (seen) turn.changed(this, seen, "remote");
      if (shared) turn.shared(this);
      this.moved(turn);
    }
    this.heard = true;
  }

  readCaughtUp(message: CaughtUp, turn: Turn): void {
    const { copy } = this;
    if (this.asked?.from === message.from) this.asked = null;
    if (message.rev <= copy.revision) return this.standsAt(message, turn);
    if (message.from !== copy.revision || copy.inFlight) return this.gap(message.rev, turn);
    const seen = copy.rebase(message.delta, message.rev);
    copy.epochs.restart(message.rev, message.epoch);
    turn.advanced(this, message.delta, null);
    turn.changed(this, seen, "remote");
    this.moved(turn);
    this.heard = true;
  }

  readHead(message: Head, turn: Turn): void {
    if (message.rev > this.copy.revision) this.gap(message.rev, turn);
    else this.standsAt(message, turn);
  }

  /** A newer snapshot of a section that is known. Returns whether it may take the place of the copy. */
  readSnapshot(message: Snapshot, turn: Turn): boolean {
    if (message.rev <= this.copy.revision) {
      this.standsAt(message, turn);
      return false;
    }
    if (this.copy.hasPending) this.gap(message.rev, turn);
    return !this.copy.hasPending;
  }

  readAcked(message: Acked, turn: Turn): void {
    turn.seenCseq(message.cseq);
    const cseq = this.copy.inFlight?.cseq;
    if (cseq === undefined || message.cseq < cseq) return;
    if (message.cseq > cseq) {
      this.copy.recall();
      turn.shared(this);
    } else if (message.rev <= this.copy.revision) {
      turn.forked(); // its entry was read here as somebody else's
    }
  }

  readLagging(rev: number, turn: Turn): void {
    this.head = Math.max(this.head, rev);
    this.asked = null;
    this.ask(turn);
  }

  readNack(nack: Nack, turn: Turn): void {
    if (this.copy.inFlight?.cseq !== nack.cseq) return;
    if (isFinal(nack)) {
      const { refused, undo } = this.copy.park();
      turn.changed(this, undo, "undo");
      turn.parked(this, refused, nack);
    } else if (nack.retry === "catchup" || nack.code === "stale") {
      this.stale = true;
      this.resendAtMs = turn.nowMs + ACK_TIMEOUT_MS;
      this.asked = null;
      this.ask(turn);
    } else {
      const wait = nack.retry_after_s === undefined ? DEFAULT_RETRY_MS : nack.retry_after_s * 1000;
      this.resendAtMs = turn.nowMs + wait;
    }
  }

  /** Nothing follows what was asked for, as far as the server knows. */
  readPong(): void {
    this.heard ||= this.asked === null;
  }

  private standsAt({ rev, epoch }: { rev: number; epoch: number }, turn: Turn): void {
    if (this.copy.epochs.contradict(rev, epoch)) turn.forked();
    else if (rev === this.copy.revision) this.heard = true;
  }

  private moved(turn: Turn): void {
    if (this.asked && this.asked.from < this.copy.revision) this.asked = null;
    if (this.stale && this.copy.inFlight) this.resendAtMs = turn.nowMs + PAGE_PAUSE_MS;
  }

  private gap(head: number, turn: Turn): void {
    this.head = Math.max(this.head, head);
    if (this.asked === null || this.asked.from !== this.copy.revision) this.ask(turn);
  }

  private ask(turn: Turn): void {
    const { id, revision, epochs, inFlight } = this.copy;
    const composed = inFlight === null;
    this.asked = { from: revision, composed, untilMs: turn.nowMs + ANSWER_TIMEOUT_MS };
    const question = { t: "catchup", s: id, from: revision, epoch: epochs.latest } as const;
    turn.send(composed ? { ...question, composed } : question);
  }

  private submit(turn: Turn): void {
    const { id, revision, inFlight } = this.copy;
    if (!inFlight) return;
    this.stale = false;
    this.resendAtMs = turn.nowMs + ACK_TIMEOUT_MS;
    turn.send({ t: "op", s: id, base: revision, cseq: inFlight.cseq, delta: encodeDelta(inFlight.delta) });
  }
}

const FINAL_CODES = new Set(["ahead", "invalid", "too_large", "forbidden"]);

function isFinal({ code, retry }: Nack): boolean {
  return retry === undefined ? FINAL_CODES.has(code) : retry === "never" || retry === "rights";
}
