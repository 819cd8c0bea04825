/** What a call of the session came to: data for the shell to act on. */

import Delta from "quill-delta";

import type { ProtocolError } from "./errors.ts";
import type { ClientMessage, Welcome } from "./messages.ts";

export type ChangeSource = "remote" | "undo" | "reset";

/** An edit that could not become part of the document. `delta` is what it was a change of `contents`. */
export interface Parked {
  readonly delta: Delta;
  readonly contents: Delta;
  /** A nack code, or `fork`. */
  readonly code: string;
  readonly message: string;
}

export type SessionEvent =
  | { kind: "welcome"; welcome: Welcome }
  | { kind: "synced" }
  | { kind: "presence" }
  | { kind: "parked"; edit: Parked }
  /** Close this connection and open another: `hello` says how it goes on. */
  | { kind: "rejoin" }
  | { kind: "broken"; error: ProtocolError }
  | { kind: "expiring"; at: number }
  | { kind: "move"; within_s: number }
  | { kind: "error"; code: string; message: string };

export class Output {
  readonly send: ClientMessage[] = [];
  readonly events: SessionEvent[] = [];
  /** One delta of the whole document, whatever number of entries it came from. */
  change: { delta: Delta; source: ChangeSource } | null = null;

  compose(delta: Delta, source: ChangeSource): void {
    if (delta.ops.length === 0) return;
    this.change = this.change
      ? { delta: this.change.delta.compose(delta), source: this.change.source }
      : { delta, source };
  }
}
