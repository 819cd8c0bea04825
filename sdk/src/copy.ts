/**
 * One section as a client holds it: the committed content at a revision, one operation in flight, and a buffer of what
 * was typed behind it. Of two inserts at one place the operation ordered later goes left; a received entry is always
 * ordered before what is still in flight here.
 */

import Delta from "quill-delta";

import { baseLength, firstPart } from "./delta.ts";
import { Epochs } from "./epochs.ts";
import { ProtocolError } from "./errors.ts";
import type { Entry, Snapshot } from "./messages.ts";

export interface InFlight {
  readonly cseq: number;
  readonly delta: Delta;
}

/**
 * What reading an entry came to; nothing new is seen of our own. `shared` says that another tab uses our client id:
 * what was in flight can never be accepted any more.
 */
export interface Reading {
  readonly seen: Delta | null;
  readonly shared: boolean;
}

export class Copy {
  readonly id: string;
  readonly next: string | null;
  readonly epochs: Epochs;
  revision: number;
  committed: Delta;
  local: Delta;
  inFlight: InFlight | null = null;
  buffer: Delta | null = null;

  constructor(snapshot: Snapshot) {
    this.id = snapshot.s;
    this.next = snapshot.next;
    this.revision = snapshot.rev;
    this.epochs = new Epochs(snapshot.rev, snapshot.epoch);
    this.committed = this.local = snapshot.delta;
  }

  get hasPending(): boolean {
    return this.inFlight !== null || this.buffer !== null;
  }

  /** In flight and buffer as one change of the committed content. */
  get pending(): Delta {
    return (this.inFlight?.delta ?? new Delta()).compose(this.buffer ?? new Delta());
  }

  edit(delta: Delta): void {
    this.buffer = nothingIfEmpty((this.buffer ?? new Delta()).compose(delta));
    this.local = this.local.compose(delta);
  }

  /** Puts the buffer, or as much of it as one operation may hold, in flight. */
  launch(cseq: number, maxBytes: number): InFlight | null {
    if (this.inFlight !== null || this.buffer === null) return null;
    const [first, rest] = firstPart(this.buffer, maxBytes);
    this.inFlight = { cseq, delta: first };
    this.buffer = nothingIfEmpty(rest);
    return this.inFlight;
  }

  /** Reads the entry that leads to the next revision. */
  read(entry: Entry, client: string): Reading {
    this.checkFits(entry.delta);
    const mine = entry.client === client ? this.inFlight : null;
    if (mine?.cseq === entry.cseq && this.saysTheSame(mine.delta, entry.delta)) {
      this.committed = this.committed.compose(mine.delta);
      this.inFlight = null;
      this.revision += 1;
      return { seen: null, shared: false };
    }
    const shared = mine !== null && entry.cseq >= mine.cseq;
    if (shared) this.recall();
    return { seen: this.rebase(entry.delta, this.revision + 1), shared };
  }

  /** Takes over a change of the committed content that leads to `revision`; returns it as the reader sees it. */
  rebase(received: Delta, revision: number): Delta {
    this.checkFits(received);
    this.committed = this.committed.compose(received);
    this.revision = revision;
    let seen = received;
    if (this.inFlight) {
      const { cseq, delta } = this.inFlight;
      this.inFlight = { cseq, delta: received.transform(delta, false) };
      seen = delta.transform(seen, true);
    }
    if (this.buffer) {
      const buffer = this.buffer;
      this.buffer = nothingIfEmpty(seen.transform(buffer, false));
      seen = buffer.transform(seen, true);
    }
    this.local = this.local.compose(seen);
    return seen;
  }

  /** Takes a refused operation back: the buffer is rebased over its inverse. */
  park(): { refused: Delta; undo: Delta } {
    const refused = this.inFlight?.delta ?? new Delta();
    this.inFlight = null;
    let undo = refused.invert(this.committed);
    if (this.buffer) {
      const buffer = this.buffer;
      this.buffer = nothingIfEmpty(undo.transform(buffer, false));
      undo = buffer.transform(undo, true);
    }
    this.local = this.local.compose(undo);
    return { refused, undo };
  }

  /** What was in flight joins the buffer, to be sent as a new operation. Only where it can never be accepted any more. */
  recall(): void {
    this.buffer = nothingIfEmpty(this.pending);
    this.inFlight = null;
  }

  private checkFits(delta: Delta): void {
    if (baseLength(delta) > this.committed.length()) {
      throw new ProtocolError(`an entry of section ${this.id} after revision ${this.revision} runs past the end`);
    }
  }

  /** Two forms of one change count as the same: what matters is what they make of the content. */
  private saysTheSame(mine: Delta, theirs: Delta): boolean {
    if (equal(mine.ops, theirs.ops)) return true;
    return equal(this.committed.compose(mine).ops, this.committed.compose(theirs).ops);
  }
}

function nothingIfEmpty(delta: Delta): Delta | null {
  return delta.ops.length > 0 ? delta : null;
}

/** Deep equality of JSON values; the order of keys does not count. */
export function equal(one: unknown, other: unknown): boolean {
  if (one === other) return true;
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) return false;
  const [keys, others] = [Object.keys(one), Object.keys(other)];
  const at = (value: object, key: string) => (value as Record<string, unknown>)[key];
  return (
    Array.isArray(one) === Array.isArray(other) &&
    keys.length === others.length &&
    keys.every((key) => Object.hasOwn(other, key) && equal(at(one, key), at(other, key)))
  );
}
