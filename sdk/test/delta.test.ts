import assert from "node:assert/strict";
import { test } from "node:test";

import Delta from "quill-delta";

import { equal } from "../src/copy.ts";
import { checked, cut, difference, firstPart, positionBefore } from "../src/delta.ts";
import { Random } from "./random.ts";

const text = (value: string) => new Delta().insert(value);

const CUTS: [string, Delta, number, Delta, Delta][] = [
  ["an insert on the cut goes right", new Delta().retain(3).insert("x"), 3, new Delta(), text("x")],
  [
    "an insert before it goes left",
    new Delta().retain(2).insert("x"),
    3,
    new Delta().retain(2).insert("x"),
    new Delta(),
  ],
  [
    "a delete across it is divided",
    new Delta().retain(1).delete(4),
    3,
    new Delta().retain(1).delete(2),
    new Delta().delete(2),
  ],
  [
    "a format across it is divided",
    new Delta().retain(5, { bold: true }),
    3,
    new Delta().retain(3, { bold: true }),
    new Delta().retain(2, { bold: true }),
  ],
  [
    "what follows keeps its distance",
    new Delta().retain(5).insert("x"),
    3,
    new Delta(),
    new Delta().retain(2).insert("x"),
  ],
];

for (const [name, delta, at, left, right] of CUTS) {
  test(`cut: ${name}`, () =>
    assert.deepEqual(
      cut(delta, at).map(({ ops }) => ops),
      [left.ops, right.ops],
    ));
}

test("positionBefore undoes transformPosition but for what is gone", () => {
  const delta = new Delta().retain(2).insert("abc").retain(2).delete(3).retain(1);
  for (const [after, before] of [
    [0, 0],
    [2, 2],
    [3, 2],
    [5, 2],
    [6, 3],
    [7, 4],
    [8, 8],
    [20, 20],
  ] as const) {
    assert.equal(positionBefore(delta, after), before, `position ${after}`);
  }
});

test("firstPart: both parts after each other are the whole, and text is divided between characters", () => {
  const base = text(`${"0123456789".repeat(40)}\n`);
  const random = new Random(7);
  for (let count = 0; count < 300; count += 1) {
    let delta = new Delta();
    for (let ops = 0; ops < 6; ops += 1) {
      delta.retain(random.integer(1, 20));
      if (random.chance(0.5))
        delta.insert("😀é\n".repeat(random.integer(1, 30)), random.chance(0.3) ? { bold: true } : null);
      if (random.chance(0.5)) delta.delete(random.integer(1, 20));
      if (random.chance(0.3)) delta.retain(random.integer(1, 5), { italic: true });
    }
    delta = delta.chop();
    const whole = base.compose(delta);
    let contents = base;
    for (let rest = delta, parts = 0; rest.ops.length > 0; parts += 1) {
      const [first, after] = firstPart(rest, 150);
      assert.ok(first.ops.length > 0 && parts < 100, "each part does something");
      assert.ok(first.ops.every(({ insert }) => typeof insert !== "string" || insert.isWellFormed()));
      contents = contents.compose(first);
      rest = after;
    }
    assert.ok(equal(contents.ops, whole.ops));
  }
});

test("difference leaves the final newline where it is", () => {
  for (const [from, to] of [
    ["a\n\n", "a\n"],
    ["\n", "x\n\n"],
    ["a\nb\n", "\n"],
    ["x\n", "x\n"],
  ] as const) {
    const delta = difference(text(from), text(to));
    assert.deepEqual(text(from).compose(delta).ops, text(to).ops);
    assert.ok(!cut(delta, from.length - 1)[1].ops.some((op) => op.delete), `${JSON.stringify(from)} lost its end`);
  }
  const listed = new Delta().insert("a").insert("\n", { list: "bullet" });
  assert.deepEqual(difference(text("a\n"), listed).ops, [{ retain: 1 }, { retain: 1, attributes: { list: "bullet" } }]);
});

test("checked: what an editor may say otherwise is put right", () => {
  const nulls = checked(new Delta([{ insert: "a", attributes: { bold: null } }]), text("\n"));
  assert.deepEqual(nulls.ops, [{ insert: "a" }]);
  assert.deepEqual(checked(new Delta().retain(1).retain(3), text("abc\n")).ops, []);
  const last = checked(new Delta().retain(2).delete(1), text("a\n\n"));
  assert.deepEqual(text("a\n\n").compose(last).ops, text("a\n").ops);
  assert.ok(!cut(last, 2)[1].ops.some((op) => op.delete));
  const behind = checked(new Delta().retain(2).insert("b\n"), text("a\n"));
  assert.deepEqual(behind.ops, [{ retain: 1 }, { insert: "\nb" }]);
});

const UNFIT: [string, Delta, string][] = [
  ["past the end", new Delta().retain(5).insert("x"), "abc\n"],
  ["deletes past the end", new Delta().delete(5), "abc\n"],
  ["removes the final newline", new Delta().retain(3).delete(1), "abc\n"],
  ["text behind the final newline", new Delta().retain(4).insert("x"), "abc\n"],
  ["inserts half a pair", new Delta().insert("\ud83d"), "abc\n"],
  ["inserts NUL", new Delta().insert("a\0"), "abc\n"],
  ["inserts into a pair", new Delta().retain(2).insert("x"), "a😀\n"],
  ["deletes half a pair", new Delta().retain(1).delete(1), "a😀\n"],
  ["deletes the other half", new Delta().retain(2).delete(1), "a😀\n"],
  ["formats half a pair", new Delta().retain(2, { bold: true }), "a😀\n"],
  ["a format that every object seems to have", new Delta().insert("x", JSON.parse('{"constructor":1}')), "abc\n"],
  ["the same on text", new Delta().retain(1, JSON.parse('{"toString":null}')), "abc\n"],
  ["changes an embed in place", new Delta([{ retain: { image: "x" } }]), "abc\n"],
];

for (const [name, delta, contents] of UNFIT) {
  test(`checked: ${name}`, () => assert.throws(() => checked(delta, text(contents)), RangeError));
}
