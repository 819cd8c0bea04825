/**
 * Remote changes wait while an input method composes: an editor that is changed then loses the half-typed text. Some
 * keyboards compose without end, so the wait has one; the composition is committed then, which loses nothing.
 */

const QUIET_MS = 3_000;
const LONGEST_MS = 10_000;
/** In a flow of keystrokes, the next gap between two of them. */
const GAP_MS = 300;
const LOOK_MS = 250;

export interface Composer {
  readonly root: HTMLElement;
  readonly composition: { readonly isComposing: boolean };
}

export class Hold {
  private readonly editor: Composer;
  private readonly tooLong: () => void;
  private timer: ReturnType<typeof setInterval> | undefined;
  private sinceMs = 0;
  private inputAtMs = 0;
  private readonly heard = () => void (this.inputAtMs = Date.now());

  constructor(editor: Composer, tooLong: () => void) {
    this.editor = editor;
    this.tooLong = tooLong;
    editor.root.addEventListener("input", this.heard);
    editor.root.addEventListener("compositionupdate", this.heard);
  }

  get on(): boolean {
    return this.editor.composition.isComposing;
  }

  /** Something waits: from now on the wait is watched. */
  start(): void {
    if (this.timer !== undefined) return;
    this.sinceMs = this.inputAtMs = Date.now();
    this.timer = setInterval(() => this.look(), LOOK_MS);
  }

  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  destroy(): void {
    this.stop();
    this.editor.root.removeEventListener("input", this.heard);
    this.editor.root.removeEventListener("compositionupdate", this.heard);
  }

  private look(): void {
    const nowMs = Date.now();
    const quietMs = nowMs - this.inputAtMs;
    if (quietMs >= QUIET_MS || (nowMs - this.sinceMs >= LONGEST_MS && quietMs >= GAP_MS)) this.tooLong();
  }
}
