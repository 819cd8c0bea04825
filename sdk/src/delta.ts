/** What editing needs of deltas beyond quill-delta's own verbs. Positions are UTF-16 code units. */

import Delta from "quill-delta";
import type { Op } from "quill-delta";

/** Divides a delta at a base position; an insert exactly there goes right. */
export function cut(delta: Delta, at: number): [Delta, Delta] {
  const ops = new Delta.OpIterator(delta.ops);
  const left = new Delta();
  for (let base = 0; ops.hasNext() && base < at;) {
    const op = ops.peekType() === "insert" ? ops.next() : ops.next(at - base);
    if (consumes(op)) base += Delta.Op.length(op);
    left.push(op);
  }
  return [left.chop(), new Delta(ops.rest()).chop()];
}

function consumes(op: Op): boolean {
  return op.insert === undefined;
}

/** How much of the base a delta names: it must not run past the end of what it is applied to. */
export function baseLength(delta: Delta): number {
  return delta.ops.reduce((sum, op) => (consumes(op) ? sum + Delta.Op.length(op) : sum), 0);
}

/** Where a position after `delta` was before it; text that `delta` inserted falls onto the place of the insert. */
export function positionBefore(delta: Delta, position: number): number {
  let before = 0;
  let after = 0;
  for (const op of delta.ops) {
    if (after >= position && op.delete === undefined) break;
    const length = Delta.Op.length(op);
    if (op.delete !== undefined) {
      if (after < position) before += length;
    } else if (op.insert !== undefined) {
      after += Math.min(length, position - after);
    } else {
      const step = Math.min(length, position - after);
      before += step;
      after += step;
    }
  }
  return before + (position - after);
}

/** The same change, made to what stands `distance` further right. */
export function shifted(delta: Delta, distance: number): Delta {
  if (distance === 0 || delta.ops.length === 0) return delta;
  return new Delta().retain(distance).concat(delta);
}

/**
 * `delta` as two changes after each other, the first of which fits into `maxBytes` where that can be: a component other
 * than text is never divided, and the first part always changes something.
 */
export function firstPart(delta: Delta, maxBytes: number): [Delta, Delta] {
  const ops = new Delta.OpIterator(delta.ops);
  const first = new Delta();
  for (let room = maxBytes; ops.hasNext();) {
    const op = ops.peek();
    const size = bytes(op);
    if (size > room) {
      const units = typeof op.insert === "string" ? fittingUnits(op.insert, room - bytes({ ...op, insert: "" })) : 0;
      if (units > 0 || first.ops.every(isBareRetain)) first.push(ops.next(units));
      break;
    }
    room -= size;
    first.push(ops.next());
  }
  const done = first.ops.reduce((sum, op) => (op.delete === undefined ? sum + Delta.Op.length(op) : sum), 0);
  return [first.chop(), shifted(new Delta(ops.rest()), done).chop()];
}

function isBareRetain(op: Op): boolean {
  return op.retain !== undefined && op.attributes === undefined;
}

const encoder = new TextEncoder();

function bytes(op: Op): number {
  return encoder.encode(JSON.stringify(op)).length + 1;
}

/** Six bytes are the most that JSON makes of one code unit. A pair stays whole. */
function fittingUnits(text: string, room: number): number {
  const units = Math.min(text.length, Math.max(0, Math.floor(room / 6)));
  return units > 0 && units < text.length && isPair(text, units) ? units - 1 : units;
}

function isPair(text: string, at: number): boolean {
  const high = text.charCodeAt(at - 1);
  const low = text.charCodeAt(at);
  return high >= 0xd800 && high < 0xdc00 && low >= 0xdc00 && low < 0xe000;
}

/** The change from one document to another that leaves the final newline where it is. */
export function difference(from: Delta, to: Delta): Delta {
  const [oldEnd, newEnd] = [from.length() - 1, to.length() - 1];
  if (oldEnd < 0 || newEnd < 0) return from.diff(to);
  const body = from.slice(0, oldEnd).diff(to.slice(0, newEnd));
  const last = from.slice(oldEnd).diff(to.slice(newEnd));
  return last.ops.length === 0 ? body : body.compose(shifted(last, newEnd));
}

/**
 * The change as the server will take it, in normal form, or RangeError. `contents` is a document: inserts, the last of
 * which ends with a newline that must stay.
 */
export function checked(delta: Delta, contents: Delta): Delta {
  checkOps(delta);
  const tidy = new Delta();
  for (const op of delta.ops) tidy.push(withoutNulls(op));
  tidy.chop();
  checkCuts(tidy, contents);
  const length = contents.length();
  if (baseLength(tidy) > length) throw new RangeError("the change runs past the end of the document");
  const [, end] = cut(tidy, length - 1);
  if (!end.ops.some((op) => op.delete !== undefined) && !insertsAfterEnd(end)) return tidy;
  const result = contents.compose(tidy);
  if (!endsWithNewline(result)) throw new RangeError("a document ends with a newline");
  return difference(contents, result);
}

/** `null` clears a format; there is none to clear on new text. */
function withoutNulls(op: Op): Op {
  if (op.insert === undefined || !op.attributes) return op;
  const kept = Object.entries(op.attributes).filter(([, value]) => value !== null && value !== undefined);
  return kept.length > 0 ? { insert: op.insert, attributes: Object.fromEntries(kept) } : { insert: op.insert };
}

function insertsAfterEnd(end: Delta): boolean {
  return baseLength(end) > 0 && end.ops.at(-1)?.insert !== undefined;
}

function endsWithNewline(contents: Delta): boolean {
  const last = contents.ops.at(-1)?.insert;
  return typeof last === "string" && last.endsWith("\n");
}

function checkOps(delta: Delta): void {
  for (const { insert, retain, attributes } of delta.ops) {
    for (const name of Object.keys(attributes ?? {})) {
      // quill-delta looks formats up in plain objects, and takes what these inherit for formats.
      if (name in Object.prototype) throw new RangeError(`${name} is no name for a format`);
    }
    if (typeof retain === "object") throw new RangeError("an embed is replaced, not changed");
    if (typeof insert !== "string") continue;
    if (!insert.isWellFormed()) throw new RangeError("half of a surrogate pair");
    if (insert.includes("\0")) throw new RangeError("a NUL character");
  }
}

/** Where the change starts or ends to do something must not lie inside a surrogate pair. */
function checkCuts(delta: Delta, contents: Delta): void {
  const text = new Delta.OpIterator(contents.ops);
  let before = "";
  for (const op of [...delta.ops, { insert: "" }]) {
    if (isPair(before + unitAfter(text), 1)) throw new RangeError("the change cuts a surrogate pair");
    if (consumes(op)) before = skip(text, Delta.Op.length(op)) || before;
  }
}

type Iterator = InstanceType<typeof Delta.OpIterator>;

function unitAfter(text: Iterator): string {
  const insert = text.hasNext() ? text.peek().insert : undefined;
  return typeof insert === "string" ? insert.charAt(insert.length - text.peekLength()) : "";
}

/** Moves over `length` units and returns the last of them; an embed's is a space. */
function skip(text: Iterator, length: number): string {
  let last = "";
  while (length > 0 && text.hasNext()) {
    const op = text.next(length);
    last = typeof op.insert === "string" ? op.insert.charAt(op.insert.length - 1) : " ";
    length -= Delta.Op.length(op);
  }
  return last;
}
