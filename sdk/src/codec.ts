/**
 * Deltas on the wire. A positive integer retains, a negative one deletes, a string inserts text, an object is a Quill
 * operation as it stands: `[12,"abc",-2]` is `[{"retain":12},{"insert":"abc"},{"delete":2}]`.
 */

import Delta from "quill-delta";
import type { Op } from "quill-delta";

import { ProtocolError } from "./errors.ts";

export type WireComponent = number | string | Op;
export type WireDelta = WireComponent[];

export function encodeDelta(delta: Delta): WireDelta {
  return delta.ops.map(encodeComponent);
}

function encodeComponent(op: Op): WireComponent {
  if (typeof op.delete === "number") return -op.delete;
  if (op.attributes && Object.keys(op.attributes).length > 0) return op;
  if (typeof op.retain === "number") return op.retain;
  if (typeof op.insert === "string") return op.insert;
  return op;
}

/** Raises ProtocolError; the result is in normal form. */
export function decodeDelta(wire: unknown): Delta {
  if (!Array.isArray(wire)) throw new ProtocolError("a delta is a list of components");
  const delta = new Delta();
  for (const component of wire) delta.push(decodeComponent(component));
  return delta.chop();
}

function decodeComponent(component: unknown): Op {
  if (typeof component === "string" && component.length > 0) return { insert: component };
  if (typeof component === "number" && isLength(Math.abs(component))) {
    return component > 0 ? { retain: component } : { delete: -component };
  }
  if (isOperation(component)) return component;
  throw new ProtocolError(`not a delta component: ${JSON.stringify(component)?.slice(0, 80)}`);
}

function isLength(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0;
}

/** A retain of an embed is refused: quill-delta throws on it where no handler is registered. */
function isOperation(value: unknown): value is Op {
  if (!isObject(value)) return false;
  const { insert, retain, delete: gone, attributes } = value;
  if (attributes !== undefined && !isObject(attributes)) return false;
  const kinds = [insert, retain, gone].filter((kind) => kind !== undefined);
  if (kinds.length !== 1) return false;
  if (insert !== undefined) return (typeof insert === "string" && insert.length > 0) || isObject(insert);
  return isLength(retain ?? gone);
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
