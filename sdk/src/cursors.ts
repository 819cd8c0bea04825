/** Shows where the others are by quill-cursors, and tells them where we are. */

import type Quill from "quill";

import { colorOf } from "./colors.ts";
import type { CoscribeDocument } from "./document.ts";
import type { Peer, Range } from "./roster.ts";

const TELL_EVERY_MS = 80;
/** A name is shown when its owner does something, and goes again: it covers text. */
const NAME_FOR_MS = 1_500;

/** What is used of quill-cursors, versions 4 to 6. */
export interface CursorsModule {
  createCursor(id: string, name: string, color: string): unknown;
  moveCursor(id: string, range: { index: number; length: number }): void;
  removeCursor(id: string): void;
  toggleFlag(id: string, shown: boolean): void;
}

interface Shown {
  name: string;
  acts: number;
  timer?: ReturnType<typeof setTimeout>;
}

/** The editor may lack changes of the document: positions differ then. */
interface Places {
  toEditor(position: number): number;
  toDocument(position: number): number;
}

export class Cursors {
  private readonly quill: Quill;
  private readonly doc: CoscribeDocument;
  private readonly module: CursorsModule;
  private readonly places: Places;
  private readonly shown = new Map<string, Shown>();
  private readonly ends: (() => void)[];
  private frame: number | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(quill: Quill, doc: CoscribeDocument, module: CursorsModule, places: Places) {
    this.quill = quill;
    this.doc = doc;
    this.module = module;
    this.places = places;
    const tellSoon = () => void (this.timer ??= setTimeout(() => this.tell(), TELL_EVERY_MS));
    const drawSoon = () => void (this.frame ??= requestAnimationFrame(() => this.draw()));
    quill.on("editor-change", tellSoon);
    this.ends = [() => quill.off("editor-change", tellSoon), doc.on("presence", drawSoon), doc.on("change", drawSoon)];
  }

  destroy(): void {
    this.ends.forEach((end) => end());
    clearTimeout(this.timer);
    if (this.frame !== undefined) cancelAnimationFrame(this.frame);
    for (const client of [...this.shown.keys()]) this.remove(client);
  }

  private tell(): void {
    this.timer = undefined;
    const range = this.quill.hasFocus() ? this.quill.getSelection() : null;
    if (!range || this.doc.closed || !this.doc.joined) return;
    const index = this.places.toDocument(range.index);
    const length = this.places.toDocument(range.index + range.length) - index;
    this.doc.presence.set({ ...this.doc.presence.get(), cursor: { index, length } });
  }

  private draw(): void {
    this.frame = undefined;
    const here = new Set<string>();
    for (const peer of this.doc.presence.others()) {
      if (!peer.cursor) continue;
      here.add(peer.client);
      this.place(peer, peer.cursor);
    }
    for (const client of [...this.shown.keys()]) if (!here.has(client)) this.remove(client);
  }

  private place({ client, user, acts }: Peer, cursor: Range): void {
    let shown = this.shown.get(client);
    if (shown?.name !== user.name) {
      this.remove(client);
      this.module.createCursor(client, user.name, colorOf(user.id));
      this.shown.set(client, (shown = { name: user.name, acts: 0 }));
    }
    const index = this.places.toEditor(cursor.index);
    this.module.moveCursor(client, { index, length: this.places.toEditor(cursor.index + cursor.length) - index });
    if (shown.acts === acts) return;
    shown.acts = acts;
    this.module.toggleFlag(client, true);
    clearTimeout(shown.timer);
    shown.timer = setTimeout(() => this.module.toggleFlag(client, false), NAME_FOR_MS);
  }

  private remove(client: string): void {
    clearTimeout(this.shown.get(client)?.timer);
    if (this.shown.delete(client)) this.module.removeCursor(client);
  }
}
