import assert from "node:assert/strict";
import { test } from "node:test";

import Delta from "quill-delta";

import { ME, Tab, WELCOME, YOU, mine, theirs } from "./tab.ts";

const USER = { id: "y", name: "You" };
const at = (rev: number, index: number, length = 0) => ({
  t: "presence",
  p: { [YOU]: { s: "0", rev, state: { cursor: { index, length }, mood: "ok" }, user: USER } },
});
const cursor = (tab: Tab) => tab.session.others[0]?.cursor;

test("a peer's cursor moves with what others and we type", () => {
  const tab = new Tab();
  tab.say(at(5, 1, 2));
  const state = { cursor: { index: 1, length: 2 }, mood: "ok" };
  assert.deepEqual(tab.session.others, [{ client: YOU, user: USER, state, cursor: { index: 1, length: 2 }, acts: 1 }]);
  tab.type(0, "XX");
  assert.deepEqual(cursor(tab), { index: 3, length: 2 });
  tab.say(theirs(6, ["q"]));
  assert.deepEqual(cursor(tab), { index: 4, length: 2 });
  tab.say(mine(7, 1, ["XX"]));
  assert.deepEqual(cursor(tab), { index: 4, length: 2 });
});

test("its own typing pushes a peer's cursor, our text at the very place does not", () => {
  const tab = new Tab();
  tab.say(at(5, 1), theirs(6, [1, "q"]));
  assert.deepEqual(cursor(tab), { index: 2, length: 0 });
  assert.equal(tab.session.others[0]?.acts, 2, "typing is an act");
  tab.type(2, "X");
  assert.deepEqual(cursor(tab), { index: 2, length: 0 });
});

test("a cursor of a revision that is not known yet waits; the last known one stands meanwhile", () => {
  const tab = new Tab();
  tab.say(at(5, 0), at(7, 4));
  assert.deepEqual(cursor(tab), { index: 0, length: 0 });
  tab.say(theirs(6, ["q"]));
  assert.deepEqual(cursor(tab), { index: 1, length: 0 });
  tab.say(theirs(7, ["q"]));
  assert.deepEqual(cursor(tab), { index: 4, length: 0 });
});

test("a cursor of a revision that was read before is brought forward", () => {
  const tab = new Tab();
  tab.say(theirs(6, ["q"]), theirs(7, ["qq"]), at(6, 2));
  assert.deepEqual(cursor(tab), { index: 4, length: 0 });
});

test("a cursor that makes no sense is none, one behind the end stands at the end", () => {
  const tab = new Tab();
  for (const index of [-1, 1.5, "1", null]) {
    tab.say(at(5, index as number));
    assert.equal(cursor(tab), null);
  }
  tab.say(at(5, 1e9));
  assert.deepEqual(cursor(tab), { index: 4, length: 0 });
});

test("a presence that makes no sense is nobody's", () => {
  const tab = new Tab();
  const whole = { s: "0", rev: 5, state: {}, user: USER };
  for (const broken of [5, [], { ...whole, user: null }, { ...whole, user: { id: "y" } }, { ...whole, state: "x" }]) {
    tab.say({ t: "presence", p: { [YOU]: broken } });
    assert.deepEqual(tab.session.others, []);
  }
});

test("who leaves is gone; a roster says who is here, ourselves left out", () => {
  const tab = new Tab();
  tab.say(at(5, 1));
  tab.say({ t: "presence", p: { [YOU]: null, [ME]: { s: "0", rev: 5, state: {}, user: USER } } });
  assert.deepEqual(tab.session.others, []);
  tab.say(at(5, 1));
  tab.session.lost();
  tab.session.hello("x");
  tab.say(WELCOME, { t: "presence", p: {} });
  assert.deepEqual(tab.session.others, []);
});

test("our cursor is told in committed positions, and not again while our own typing moves it", () => {
  const tab = new Tab();
  tab.type(0, "XX");
  const tell = (index: number) => tab.session.setPresence({ name: "m", cursor: { index, length: 0 } }, 0).send;
  assert.deepEqual(tell(5), [{ t: "presence", s: "0", rev: 5, state: { name: "m", cursor: { index: 3, length: 0 } } }]);
  tab.type(5, "Y");
  assert.deepEqual(tell(6), []);
  tab.say(theirs(6, ["q"]), mine(7, 1, ["XX"]));
  tab.say(mine(8, 2, [6, "Y"]));
  assert.deepEqual(tell(7), []);
  assert.deepEqual(tell(1), [{ t: "presence", s: "0", rev: 8, state: { name: "m", cursor: { index: 1, length: 0 } } }]);
  assert.deepEqual(tab.session.setPresence(null, 0).send, [{ t: "presence", s: "0", rev: 8, state: null }]);
  assert.deepEqual(tab.session.setPresence(null, 0).send, []);
});

test("presence is told again on each connection", () => {
  const tab = new Tab();
  tab.session.setPresence({ cursor: { index: 1, length: 1 } }, 0);
  tab.session.lost();
  tab.session.hello("x");
  const { send } = tab.say(WELCOME, { t: "pong" });
  assert.deepEqual(send.at(-1), { t: "presence", s: "0", rev: 5, state: { cursor: { index: 1, length: 1 } } });
});

test("two tabs agree about a cursor while both type", () => {
  const [one, two] = [new Tab(), new Tab()];
  one.type(1, "11");
  const [said] = one.session.setPresence({ cursor: { index: 3, length: 0 } }, 0).send;
  assert.ok(said?.t === "presence");
  two.session.edit(new Delta().insert("2"), 0);
  two.say({ t: "presence", p: { [YOU]: { s: "0", rev: said.rev, state: said.state, user: USER } } });
  two.say({ s: "0", rev: 6, e: [[YOU, 1, [1, "11"]]] });
  assert.equal(two.text, "2a11bc\n");
  assert.deepEqual(cursor(two), { index: 4, length: 0 });
});
