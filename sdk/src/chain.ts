/** The sections of a document in order: the chain of `next` from the first one. It may lack some while joining. */

import Delta from "quill-delta";

import { Copy } from "./copy.ts";
import { baseLength, cut } from "./delta.ts";
import type { Snapshot } from "./messages.ts";
import { Section } from "./section.ts";
import type { Turn } from "./section.ts";

export const FIRST_SECTION = "0";

export class Chain {
  private readonly known = new Map<string, Section>();
  private awaited = new Set<string>();

  get(id: string): Section | undefined {
    return this.known.get(id);
  }

  /** Snapshots of these are on their way unasked. */
  expect(sections: readonly string[]): void {
    this.awaited = new Set(sections);
  }

  /** Takes a snapshot over and asks for what the chain still lacks. Returns whether the section is another now. */
  take(message: Snapshot, turn: Turn): boolean {
    const known = this.known.get(message.s);
    this.awaited.delete(message.s);
    if (known && !known.readSnapshot(message, turn)) return false;
    // A sealed section leads into its merge: it is on no chain.
    if (message.sealed == null) this.known.set(message.s, new Section(new Copy(message), true));
    const { lacking } = this;
    if (lacking === null) {
      this.dropOthers();
    } else if (!this.awaited.has(lacking)) {
      this.awaited.add(lacking);
      turn.send({ t: "fetch", s: lacking });
    }
    return true;
  }

  clear(): void {
    this.known.clear();
  }

  /** All that are known, on the chain or not. */
  get all(): Section[] {
    return [...this.known.values()];
  }

  /** As far as it is known. */
  get order(): Section[] {
    const order = new Set<Section>();
    let section = this.known.get(FIRST_SECTION);
    while (section && !order.has(section)) {
      order.add(section);
      section = section.copy.next === null ? undefined : this.known.get(section.copy.next);
    }
    return [...order];
  }

  get copies(): Copy[] {
    return this.order.map(({ copy }) => copy);
  }

  /** The section that is missing next; null once the chain is complete. */
  get lacking(): string | null {
    const { order } = this;
    return order.length === 0 ? FIRST_SECTION : (order.at(-1) as Section).copy.next;
  }

  get complete(): boolean {
    return this.lacking === null;
  }

  private dropOthers(): void {
    const order = new Set(this.order);
    for (const section of this.all) if (!order.has(section)) this.known.delete(section.copy.id);
  }

  get contents(): Delta {
    const { copies } = this;
    return copies.length === 1 ? (copies[0] as Copy).local : joined(copies.map(({ local }) => local));
  }

  get committed(): Delta {
    return joined(this.copies.map(({ committed }) => committed));
  }

  /** All that is pending, as one change of the committed content. */
  get pending(): Delta {
    let pending = new Delta();
    for (const copy of this.copies.reverse()) {
      const here = copy.pending;
      const rest = copy.committed.length() - baseLength(here);
      pending = here.concat(new Delta().retain(rest)).concat(pending);
    }
    return pending.chop();
  }

  /** The length of the document before a section, as it reads here. */
  before(section: Section): number {
    const { copies } = this;
    const until = copies.indexOf(section.copy);
    return copies.slice(0, until).reduce((sum, { local }) => sum + local.length(), 0);
  }

  /** Cuts an edit of the whole document into one for each section; an insert on a boundary goes right. */
  edit(delta: Delta): void {
    const { copies } = this;
    let rest = delta;
    for (const copy of copies) {
      const [here, right] = copy === copies.at(-1) ? [rest, new Delta()] : cut(rest, copy.local.length());
      if (here.ops.length > 0) copy.edit(here);
      rest = right;
    }
  }
}

function joined(parts: Delta[]): Delta {
  return parts.reduce((whole, part) => whole.concat(part), new Delta());
}
