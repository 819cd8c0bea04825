/**
 * Binds a Quill editor to a document. Every change of the editor that is not our own goes to the document, whoever made
 * it; every change of the document comes to the editor, but for the time of a composition. What the editor makes of a
 * change is compared with what it was given, and the difference is an edit of the user's.
 */

import Delta from "quill-delta";
import type { Op } from "quill-delta";
import type Quill from "quill";

import { equal } from "./copy.ts";
import { Cursors } from "./cursors.ts";
import type { CursorsModule } from "./cursors.ts";
import { difference, positionBefore } from "./delta.ts";
import type { CoscribeDocument } from "./document.ts";
import { Hold } from "./hold.ts";

export interface QuillOptions {
  /** The editor's quill-cursors module: `quill.getModule("cursors")`. */
  cursors?: unknown;
}

export interface QuillBinding {
  destroy(): void;
}

export function bindQuill(quill: Quill, doc: CoscribeDocument, options: QuillOptions = {}): QuillBinding {
  return new Binding(quill, doc, (options.cursors ?? null) as CursorsModule | null);
}

/** Stands for an embed that this editor does not know: one unit long, as every embed. */
const UNKNOWN_EMBED = "\ufffc";

class Binding implements QuillBinding {
  private readonly quill: Quill;
  private readonly doc: CoscribeDocument;
  private readonly hold: Hold;
  private readonly cursors: Cursors | null;
  private readonly ends: (() => void)[] = [];
  /** Changes of the document that the editor has not got yet. */
  private held: Delta | null = null;
  private mustReset = false;
  private filled = false;
  /** Quill's sources are words, but an object of our own is never mistaken for anybody else's. */
  private readonly source = this as unknown as "api";

  constructor(quill: Quill, doc: CoscribeDocument, module: CursorsModule | null) {
    this.quill = quill;
    this.doc = doc;
    this.hold = new Hold(quill, () => this.commitComposition());
    this.cursors = module && new Cursors(quill, doc, module, this);
    (quill.history as unknown as { options: { userOnly: boolean } }).options.userOnly = true;
    const forward = (delta: Delta, _old: Delta, source: unknown) => source !== this && this.forward(delta);
    // While `composition-end` is told, Quill still says that it composes.
    const composed = () => queueMicrotask(() => this.flush());
    quill.on("text-change", forward);
    quill.on("composition-end", composed);
    this.ends.push(
      () => quill.off("text-change", forward),
      () => quill.off("composition-end", composed),
      doc.on("change", (delta, source, origin) => origin !== this && this.receive(delta, source === "reset")),
      doc.on("role", () => this.allow()),
      doc.on("closed", () => this.allow()),
      doc.on("synced", () => this.allow()),
    );
    if (doc.joined) this.reset();
    this.allow();
  }

  destroy(): void {
    this.ends.forEach((end) => end());
    this.hold.destroy();
    this.cursors?.destroy();
  }

  /** Where a position of the document is in the editor, which may lack some changes. */
  toEditor(position: number): number {
    return this.held ? positionBefore(this.held, position) : position;
  }

  toDocument(position: number): number {
    return this.held ? this.held.transformPosition(position) : position;
  }

  private allow(): void {
    this.quill.enable(this.doc.joined && this.doc.role !== "reader" && this.doc.closed === null);
  }

  // --- From the document ---

  private receive(delta: Delta, reset: boolean): void {
    if (reset) this.mustReset = true;
    else this.held = this.held ? this.held.compose(delta) : delta;
    if (this.hold.on) this.hold.start();
    else this.flush();
  }

  private flush(): void {
    this.hold.stop();
    if (this.mustReset) return this.reset();
    if (!this.held) return;
    const delta = this.showable(this.held);
    this.held = null;
    const applied = this.quill.updateContents(delta, this.source);
    if (!equal(applied.ops, delta.ops)) this.reconcile();
  }

  private reset(): void {
    this.held = null;
    this.mustReset = false;
    this.quill.updateContents(difference(this.quill.getContents(), this.showable(this.doc.contents)), this.source);
    if (!this.filled) this.quill.history.clear();
    this.filled = true;
    this.allow();
  }

  /** Text that the editor has beyond the document was typed: a composition that was cut short, for one. */
  private reconcile(): void {
    const beyond = difference(this.showable(this.doc.contents), this.quill.getContents());
    if (beyond.ops.every(({ retain }) => retain !== undefined)) return; // it shows some formats its own way
    const text = beyond.ops.map((op) => (op.retain === undefined ? op : { retain: op.retain }));
    this.submit(new Delta(text));
  }

  /** Leaving the editor ends a composition; what it holds is told as typed in a microtask. Then we come back. */
  private commitComposition(): void {
    let caret = this.quill.getSelection()?.index ?? null;
    const follow = (delta: Delta, _old: Delta, source: unknown) => {
      if (caret !== null) caret = delta.transformPosition(caret, source === this);
    };
    this.quill.on("text-change", follow);
    this.quill.root.blur();
    queueMicrotask(() => {
      this.flush();
      this.quill.off("text-change", follow);
      if (caret === null) return;
      this.quill.focus({ preventScroll: true });
      this.quill.setSelection(caret, 0, "silent");
    });
  }

  private showable(delta: Delta): Delta {
    const known = ({ insert }: Op) =>
      typeof insert !== "object" || this.quill.scroll.query(Object.keys(insert)[0] ?? "") !== null;
    if (delta.ops.every(known)) return delta;
    return new Delta(delta.ops.map((op) => (known(op) ? op : { ...op, insert: UNKNOWN_EMBED })));
  }

  // --- From the editor ---

  private forward(delta: Delta): void {
    const { held } = this;
    if (!held) return this.submit(delta);
    this.held = delta.transform(held, true);
    this.submit(held.transform(delta, false));
  }

  private submit(delta: Delta): void {
    try {
      this.doc.apply(delta, this);
    } catch {
      this.settle();
    }
  }

  /** The editor made a change that the document does not take as it stands: its outcome counts, else the document. */
  private settle(): void {
    try {
      if (this.held) throw new RangeError("the editor is behind");
      this.doc.apply(difference(this.showable(this.doc.contents), this.quill.getContents()), this);
    } catch {
      this.mustReset = true;
      if (!this.hold.on) queueMicrotask(() => this.flush());
    }
  }
}
