import assert from "node:assert/strict";
import { test } from "node:test";

import Delta from "quill-delta";

import { decodeDelta, encodeDelta } from "../src/codec.ts";
import { ProtocolError } from "../src/errors.ts";
import { decodeFrame } from "../src/messages.ts";

const BOTH_WAYS: [string, Delta, unknown[]][] = [
  ["text, retain and delete", new Delta().retain(12).insert("abc").delete(2), [12, "abc", -2]],
  ["nothing", new Delta(), []],
  ["a new document", new Delta().insert("\n"), ["\n"]],
  ["formats", new Delta().retain(3, { bold: true }), [{ retain: 3, attributes: { bold: true } }]],
  ["a format that is cleared", new Delta().retain(3, { bold: null }), [{ retain: 3, attributes: { bold: null } }]],
  ["formatted text", new Delta().insert("a", { link: "x" }), [{ insert: "a", attributes: { link: "x" } }]],
  ["an embed", new Delta().insert({ image: "x" }), [{ insert: { image: "x" } }]],
  ["an astral character", new Delta().retain(1).insert("😀"), [1, "😀"]],
];

for (const [name, delta, wire] of BOTH_WAYS) {
  test(`codec: ${name}`, () => {
    assert.deepEqual(encodeDelta(delta), wire);
    assert.deepEqual(decodeDelta(wire).ops, delta.ops);
  });
}

test("codec: what is read comes out in normal form", () => {
  assert.deepEqual(decodeDelta([1, 2, -1, "a", "b", { delete: 2 }, 9]).ops, [
    { retain: 3 },
    { insert: "ab" },
    { delete: 3 },
  ]);
  assert.deepEqual(encodeDelta(new Delta([{ insert: "a", attributes: {} }])), ["a"]);
});

const REFUSED: unknown[] = [
  null,
  {},
  "abc",
  [0],
  [1.5],
  [""],
  [true],
  [null],
  [[1]],
  [2 ** 53],
  [{}],
  [{ insert: "" }],
  [{ insert: 5 }],
  [{ retain: 0 }],
  [{ retain: { image: 1 } }],
  [{ delete: -1 }],
  [{ delete: 1, insert: "a" }],
  [{ retain: 1, attributes: [] }],
];

for (const wire of REFUSED) {
  test(`codec refuses ${JSON.stringify(wire)}`, () => assert.throws(() => decodeDelta(wire), ProtocolError));
}

test("frames: one message, an array, unknown types and fields", () => {
  assert.deepEqual(
    decodeFrame('{"t":"pong","new":1}').map(({ t }) => t),
    ["pong"],
  );
  assert.deepEqual(
    decodeFrame('[{"t":"pong"},{"t":"hologram"},{"t":"constructor"},{"t":"move","within_s":1}]').length,
    2,
  );
  const [entries] = decodeFrame('{"s":"0","rev":3,"epoch":2,"e":[["c1234567",1,[1,"a"]]]}');
  assert.ok(entries?.t === "entries" && entries.epoch === 2 && entries.entries[0]?.cseq === 1);
});

const BAD_FRAMES = [
  "",
  "{",
  "5",
  "[5]",
  '{"t":"snapshot","s":"0"}',
  '{"t":"nack","s":"0","cseq":"1","code":"stale"}',
  '{"s":"0","rev":1}',
  '{"s":"0","rev":1,"e":[5]}',
  '{"s":"0","rev":1,"e":[["c",1,5]]}',
  '{"s":"0","rev":1,"e":[{"split":3,"into":"1"}]}',
];

for (const frame of BAD_FRAMES) {
  test(`frames: refuses ${frame || "nothing"}`, () => assert.throws(() => decodeFrame(frame), ProtocolError));
}
