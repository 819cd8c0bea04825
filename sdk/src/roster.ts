/**
 * Who else is here, and where. A cursor is kept in committed positions of its section, moved by each entry that is
 * read, and shown through what is pending here; one whose revision is not known yet waits, the last known one stands
 * meanwhile. A peer's own typing pushes its cursor, a stranger's text at the very place does not.
 */

import type Delta from "quill-delta";

import { FIRST_SECTION } from "./chain.ts";
import type { Chain } from "./chain.ts";
import { isObject } from "./codec.ts";
import { equal } from "./copy.ts";
import type { Copy } from "./copy.ts";
import { positionBefore } from "./delta.ts";
import type { ClientMessage, PeerPresence, PresenceState, User } from "./messages.ts";

/** Entries that are remembered for cursors which arrive after them. */
const REMEMBERED = 256;

export interface Range {
  index: number;
  length: number;
}

export interface Peer {
  readonly client: string;
  readonly user: User;
  readonly state: PresenceState;
  /** In positions of the document as it reads here, pending edits included. */
  readonly cursor: Range | null;
  /** Goes up with everything the peer does here. */
  readonly acts: number;
}

interface Anchor {
  section: string;
  revision: number;
  start: number;
  end: number;
}

interface Known {
  user: User;
  state: PresenceState;
  anchor: Anchor | null;
  waiting: Anchor | null;
  acts: number;
}

interface Step {
  revision: number;
  delta: Delta;
  author: string | null;
}

export class Roster {
  private readonly peers = new Map<string, Known>();
  private readonly steps = new Map<string, Step[]>();
  private allExpected = false;

  /** The next presence message is the roster: who is not in it has left. */
  expectAll(): void {
    this.allExpected = true;
  }

  /** A section was read from a snapshot: how cursors moved before it is not known. */
  restart(section: string, revision: number): void {
    this.steps.delete(section);
    this.promote(section, revision);
  }

  merge(changed: Record<string, PeerPresence | null>, self: string, chain: Chain): void {
    if (this.allExpected) this.peers.forEach((_, client) => client === self || this.peers.delete(client));
    this.allExpected = false;
    for (const [client, presence] of Object.entries(changed)) {
      if (client === self) continue; // it is known better here
      if (!isPresence(presence)) this.peers.delete(client);
      else this.put(client, presence, anchorOf(presence), chain);
    }
  }

  private promote(section: string, revision: number): void {
    for (const known of this.peers.values()) {
      if (known.waiting?.section !== section || known.waiting.revision > revision) continue;
      known.anchor = known.waiting;
      known.waiting = null;
    }
  }

  private put(client: string, said: Omit<PeerPresence, "s" | "rev">, anchor: Anchor | null, chain: Chain): void {
    const { user, state } = said;
    const { anchor: last = null, acts = 0 } = this.peers.get(client) ?? {};
    const known: Known = { user, state: state ?? {}, anchor: last, waiting: null, acts: acts + 1 };
    const revision = anchor ? chain.get(anchor.section)?.copy.revision : undefined;
    if (anchor && (revision === undefined || anchor.revision > revision)) {
      known.waiting = anchor;
    } else {
      known.anchor = anchor && this.broughtForward(anchor, client);
    }
    this.peers.set(client, known);
  }

  /**
   * The message that tells the others where we are, or null if they know: what was said last is moved here as it is
   * moved there.
   */
  say(self: string, user: User, state: PresenceState | null, chain: Chain): ClientMessage | null {
    const last = this.peers.get(self);
    const [first] = chain.copies;
    if (!first || (!state && !last)) return null;
    if (!state) {
      this.peers.delete(self);
      return { t: "presence", s: FIRST_SECTION, rev: first.revision, state };
    }
    const cursor = state.cursor ?? null;
    const known =
      last && equal({ ...last.state, cursor: shownAt(last.anchor, chain.copies, true) }, { ...state, cursor });
    if (known) return null;
    const anchor = cursor && anchored(cursor, chain.copies);
    this.put(self, { user, state }, anchor && { ...anchor }, chain);
    if (!anchor) return { t: "presence", s: FIRST_SECTION, rev: first.revision, state };
    const { section, revision, start, end } = anchor;
    return {
      t: "presence",
      s: section,
      rev: revision,
      state: { ...state, cursor: { index: start, length: end - start } },
    };
  }

  unsay(self: string): void {
    this.peers.delete(self);
  }

  /** `author` is null for a composed change, which has many. */
  advance(section: string, revision: number, delta: Delta, author: string | null): void {
    const step = { revision, delta, author };
    const steps = author === null ? [] : (this.steps.get(section) ?? []);
    steps.push(step);
    if (steps.length > REMEMBERED) steps.shift();
    this.steps.set(section, steps);
    for (const [client, known] of this.peers) {
      if (known.anchor?.section === section) move(known.anchor, step, client);
      if (author === client) known.acts += 1;
    }
    this.promote(section, revision);
  }

  others(self: string, copies: readonly Copy[]): Peer[] {
    const others = [...this.peers].filter(([client]) => client !== self);
    return others.map(([client, { user, state, anchor, acts }]) => {
      return { client, user, state, cursor: shownAt(anchor, copies, false), acts };
    });
  }

  private broughtForward(anchor: Anchor, client: string): Anchor {
    for (const step of this.steps.get(anchor.section) ?? []) {
      if (step.revision > anchor.revision) move(anchor, step, client);
    }
    return anchor;
  }
}

function anchorOf({ s, rev, state }: PeerPresence): Anchor | null {
  const cursor = state?.cursor;
  if (!cursor || !isPosition(cursor.index) || !isPosition(cursor.length)) return null;
  return { section: s, revision: rev, start: cursor.index, end: cursor.index + cursor.length };
}

function isPresence(value: PeerPresence | null): value is PeerPresence {
  return isObject(value) && isObject(value.state) && isObject(value.user) && typeof value.user.name === "string";
}

function isPosition(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function move(anchor: Anchor, step: Step, client: string): void {
  const stays = step.author !== client;
  anchor.start = step.delta.transformPosition(anchor.start, stays);
  anchor.end = step.delta.transformPosition(anchor.end, stays);
  anchor.revision = step.revision;
}

function shownAt(anchor: Anchor | null, copies: readonly Copy[], own: boolean): Range | null {
  let before = 0;
  for (const copy of copies) {
    const length = copy.local.length();
    if (copy.id === anchor?.section) {
      const [start, end] = [anchor.start, anchor.end].map((position) =>
        Math.min(copy.pending.transformPosition(position, !own), length),
      ) as [number, number];
      return { index: before + start, length: Math.max(0, end - start) };
    }
    before += length;
  }
  return null;
}

/** Where a cursor of the document as it reads here stands, for others: section, revision, committed positions. */
function anchored(cursor: Range, copies: readonly Copy[]): Anchor | null {
  let { index } = cursor;
  for (const copy of copies) {
    const length = copy.local.length();
    if (index < length || copy === copies.at(-1)) {
      const start = positionBefore(copy.pending, Math.min(index, length));
      const end = positionBefore(copy.pending, Math.min(index + cursor.length, length));
      return { section: copy.id, revision: copy.revision, start, end: Math.max(start, end) };
    }
    index -= length;
  }
  return null;
}
