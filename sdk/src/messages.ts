/**
 * The messages of the wire protocol, version 1. A frame from the server is one message or an array of them; message
 * types and fields that are not known here are dropped, so a newer server can be talked to.
 */

import type Delta from "quill-delta";

import { decodeDelta, isObject } from "./codec.ts";
import type { WireDelta } from "./codec.ts";
import { ProtocolError } from "./errors.ts";

export const VERSION = 1;
/** What is spoken here, newest first: this version and the one before, so that servers and pages may be older or newer. */
export const SPOKEN = [VERSION, VERSION - 1].filter((version) => version >= 1);
export const SUBPROTOCOLS = SPOKEN.map((version) => `coscribe.v${version}`);

export type Role = "reader" | "writer" | "owner";

export interface User {
  id: string;
  name: string;
}

export interface Limits {
  frame_bytes: number;
  op_bytes: number;
  presence_bytes: number;
  ops_per_s: number;
}

// --- Client to server ---

export interface Hello {
  t: "hello";
  v: number;
  client: string;
  resume?: { incarnation: string; sections: Record<string, [revision: number, epoch: number]> };
}

export type ClientMessage =
  | Hello
  | { t: "op"; s: string; base: number; cseq: number; delta: WireDelta }
  | { t: "catchup"; s: string; from: number; epoch: number; composed?: true }
  | { t: "fetch"; s: string }
  | { t: "presence"; s: string; rev: number; state: PresenceState | null }
  | { t: "ping" }
  | { t: "auth"; ticket: string };

// --- Server to client ---

export interface Welcome {
  t: "welcome";
  v: number;
  document: string;
  incarnation: string;
  user: User;
  role: Role;
  durability: string;
  sections: string[];
  limits: Limits;
  heartbeat_s: number;
  expires: number | null;
}

export interface Snapshot {
  t: "snapshot";
  s: string;
  rev: number;
  epoch: number;
  next: string | null;
  sealed: string | null;
  delta: Delta;
}

export interface Entry {
  client: string;
  cseq: number;
  delta: Delta;
}

export interface Entries {
  t: "entries";
  s: string;
  rev: number;
  epoch: number | undefined;
  entries: Entry[];
}

export interface Nack {
  t: "nack";
  s: string;
  cseq: number;
  code: string;
  message: string;
  retry: string;
  retry_after_s?: number;
}

/** Any small JSON object; `cursor` is understood by the bindings. */
export interface PresenceState {
  cursor?: { index: number; length: number } | null;
  [key: string]: unknown;
}

export interface PeerPresence {
  s: string;
  rev: number;
  state: PresenceState | null;
  user: User;
}

export type ServerMessage =
  | Welcome
  | Snapshot
  | Entries
  | Nack
  | { t: "acked"; s: string; cseq: number; rev: number }
  | { t: "catchup"; s: string; from: number; rev: number; epoch: number; delta: Delta }
  | { t: "head"; s: string; rev: number; epoch: number }
  | { t: "lagging"; s: string; rev: number }
  | { t: "presence"; p: Record<string, PeerPresence | null> }
  | { t: "pong" }
  | { t: "expiring"; at: number }
  | { t: "move"; within_s: number }
  | { t: "error"; code: string; message: string };

type Kind = "string" | "number" | "object";

const FIELDS: Record<ServerMessage["t"], Record<string, Kind>> = {
  welcome: {
    v: "number",
    incarnation: "string",
    user: "object",
    role: "string",
    limits: "object",
    heartbeat_s: "number",
  },
  snapshot: { s: "string", rev: "number", epoch: "number" },
  entries: { s: "string", rev: "number" },
  nack: { s: "string", cseq: "number", code: "string" },
  acked: { s: "string", cseq: "number", rev: "number" },
  catchup: { s: "string", from: "number", rev: "number", epoch: "number" },
  head: { s: "string", rev: "number", epoch: "number" },
  lagging: { s: "string", rev: "number" },
  presence: { p: "object" },
  pong: {},
  expiring: { at: "number" },
  move: { within_s: "number" },
  error: { code: "string" },
};

/** Raises ProtocolError for a message that cannot be read; the whole frame is refused then. */
export function decodeFrame(frame: string): ServerMessage[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(frame);
  } catch {
    throw new ProtocolError("a frame is JSON");
  }
  const messages = Array.isArray(parsed) ? parsed : [parsed];
  return messages.map(decodeMessage).filter((message) => message !== null);
}

function decodeMessage(raw: unknown): ServerMessage | null {
  if (!isObject(raw)) throw new ProtocolError("a message is an object");
  const type = raw["t"] ?? "entries";
  if (typeof type !== "string" || !Object.hasOwn(FIELDS, type)) return null;
  for (const [name, kind] of Object.entries(FIELDS[type as ServerMessage["t"]])) {
    const value = raw[name];
    if (kind === "object" ? !isObject(value) : typeof value !== kind) {
      throw new ProtocolError(`${type} without a proper ${name}`);
    }
  }
  if (type === "entries") return decodeEntries(raw);
  if (type === "snapshot" || type === "catchup") {
    return { ...raw, delta: decodeDelta(raw["delta"]) } as unknown as ServerMessage;
  }
  return raw as unknown as ServerMessage;
}

function decodeEntries(raw: Record<string, unknown>): Entries {
  if (!Array.isArray(raw["e"])) throw new ProtocolError("entries without a list of them");
  const epoch = typeof raw["epoch"] === "number" ? raw["epoch"] : undefined;
  return { t: "entries", s: raw["s"] as string, rev: raw["rev"] as number, epoch, entries: raw["e"].map(decodeEntry) };
}

function decodeEntry(raw: unknown): Entry {
  if (isObject(raw)) throw new ProtocolError("not supported: sections that split and merge");
  const [client, cseq, delta] = Array.isArray(raw) ? raw : [];
  if (typeof client !== "string" || typeof cseq !== "number") {
    throw new ProtocolError("an operation's entry is [client, cseq, delta]");
  }
  return { client, cseq, delta: decodeDelta(delta) };
}
