/** What takes more than one event: reconnecting, resending, catching up, parking, joining, presence. */

import assert from "node:assert/strict";
import { test } from "node:test";

import Delta from "quill-delta";

import { Session } from "../src/session.ts";
import { Tab, ME, SNAPSHOT, WELCOME, catchup, kinds, mine, nack, op, theirs } from "./tab.ts";

test("resume: what was in flight is sent again under its cseq, the buffer waits for what was missed", () => {
  const tab = new Tab("buffered");
  tab.session.lost();
  tab.type(2, "Z");
  assert.deepEqual(tab.session.hello("x"), {
    t: "hello",
    v: 1,
    client: ME,
    resume: { incarnation: "i1", sections: { "0": [5, 2] } },
  });
  assert.deepEqual(tab.say(WELCOME).send, [op(5, 1, ["X"])]);
  assert.ok(!tab.session.synced);
  const output = tab.say({ t: "acked", s: "0", cseq: 1, rev: 7 }, theirs(6, ["q"]), mine(7, 1, ["X"]));
  assert.deepEqual(kinds(output.events), ["synced"]);
  assert.deepEqual(output.send, [op(7, 2, [1, "YZ"])]);
  assert.equal(tab.text, "XYZqabc\n");
});

test("a welcome in a version that is not spoken here ends the session", () => {
  const tab = new Tab();
  tab.session.lost();
  tab.session.hello("x");
  const { events } = tab.say({ ...WELCOME, v: 3 });
  assert.ok(events.some((event) => event.kind === "broken" && /version 3/.test(event.error.message)));
});

test("resume: edits made offline join a composed change, and are sent behind it", () => {
  const tab = new Tab();
  tab.session.lost();
  assert.deepEqual(tab.type(3, "Z"), []);
  tab.session.hello("x");
  assert.deepEqual(tab.say(WELCOME).send, []);
  assert.deepEqual(tab.say({ t: "head", s: "0", rev: 900, epoch: 3 }, { t: "pong" }).send, [
    catchup(5, { composed: true }),
  ]);
  assert.deepEqual(tab.type(4, "!"), []);
  const output = tab.say({ t: "catchup", s: "0", from: 5, rev: 900, epoch: 3, delta: ["q"] });
  assert.deepEqual(output.send, [op(900, 1, [4, "Z!"])]);
  assert.equal(tab.text, "qabcZ!\n");
});

test("resume that missed nothing is over at the pong", () => {
  const tab = new Tab();
  tab.session.lost();
  tab.type(3, "Z");
  tab.session.hello("x");
  tab.say(WELCOME);
  assert.deepEqual(tab.after(1999).send, []);
  assert.deepEqual(tab.after(1).send, [{ t: "ping" }]);
  const output = tab.say({ t: "pong" }, { t: "head", s: "0", rev: 5, epoch: 2 });
  assert.deepEqual(kinds(output.events), ["synced"]);
  assert.deepEqual(output.send, [op(5, 1, [3, "Z"])]);
});

test("no acknowledgement: the operation is sent again at the current base, not before", () => {
  const tab = new Tab("in flight");
  tab.say(theirs(6, ["q"]));
  assert.equal(tab.session.wakeAtMs, 5000);
  assert.deepEqual(tab.after(4999).send, []);
  assert.deepEqual(tab.after(1).send, [op(6, 1, ["X"])]);
  tab.say(mine(7, 1, ["X"]));
  assert.equal(tab.session.wakeAtMs, null);
  assert.deepEqual(tab.after(60_000).send, []);
});

test("unavailable and rate: sent again after retry_after_s", () => {
  const tab = new Tab("in flight");
  tab.say(nack("rate", "later", { retry_after_s: 0.3 }));
  assert.deepEqual(tab.after(299).send, []);
  assert.deepEqual(tab.after(1).send, [op(5, 1, ["X"])]);
  tab.say(nack("unavailable", "later"));
  assert.deepEqual(tab.after(1000).send, [op(5, 1, ["X"])]);
});

test("stale: plain catch-up, then once with the base after the last page", () => {
  const tab = new Tab("in flight");
  tab.say(nack("stale", "catchup"));
  tab.nowMs += 50;
  assert.deepEqual(tab.say(theirs(6, ["1"])).send, []);
  tab.nowMs += 150;
  assert.deepEqual(tab.say(theirs(7, ["2"])).send, []);
  assert.deepEqual(tab.after(199).send, []);
  assert.deepEqual(tab.after(1).send, [op(7, 1, ["X"])]);
  tab.say(theirs(8, ["3"]));
  assert.deepEqual(tab.after(4999).send, []);
});

test("entries that come instead of a composed change let a waiting edit go", () => {
  const tab = new Tab();
  tab.say({ t: "head", s: "0", rev: 6, epoch: 2 });
  assert.deepEqual(tab.type(0, "X"), []);
  assert.deepEqual(tab.say(theirs(6, ["q"])).send, [op(6, 1, ["X"])]);
});

test("catch-up without an answer is asked for again; a composed one does not keep an edit waiting for ever", () => {
  const tab = new Tab();
  tab.say({ t: "head", s: "0", rev: 6, epoch: 2 });
  assert.deepEqual(tab.after(5000).send, [catchup(5, { composed: true })]);
  assert.deepEqual(tab.type(0, "X"), []);
  assert.deepEqual(tab.after(5000).send, [op(5, 1, ["X"]), catchup(5)]);
});

test("a late composed answer is not used once something is in flight", () => {
  const tab = new Tab();
  tab.say({ t: "head", s: "0", rev: 6, epoch: 2 });
  tab.type(0, "X");
  tab.after(5000);
  tab.say({ t: "catchup", s: "0", from: 5, rev: 6, epoch: 2, delta: ["q"] });
  assert.equal(tab.revision, 5);
  tab.say(theirs(6, ["q"]));
  assert.equal(tab.text, "Xqabc\n");
});

test("after a composed change nothing is claimed of the epochs it jumped over", () => {
  const tab = new Tab();
  tab.say({ t: "catchup", s: "0", from: 5, rev: 9, epoch: 4, delta: ["q"] });
  assert.deepEqual(tab.say(theirs(7, ["z"], { epoch: 3 })).events, []);
  assert.deepEqual(kinds(tab.say(theirs(9, ["z"], { epoch: 5 })).events), ["rejoin"]);
});

test("parked: the refused text is told of, what was typed around it stays", () => {
  const tab = new Tab("buffered"); // X in flight, Y behind it
  const { events, change } = tab.say(nack("invalid", "never", { message: "no X here" }));
  assert.deepEqual(change, { delta: new Delta().delete(1), source: "undo" });
  const [parked] = events;
  assert.ok(parked?.kind === "parked");
  assert.equal(parked.edit.code, "invalid");
  assert.equal(parked.edit.message, "no X here");
  assert.deepEqual(parked.edit.delta.ops, [{ insert: "X" }]);
  assert.deepEqual(parked.edit.contents.ops, [{ insert: "abc\n" }]);
  tab.say(mine(6, 2, ["Y"]));
  assert.ok(!tab.session.hasPending);
});

test("parked: a refused deletion comes back with its formats", () => {
  const tab = new Tab();
  tab.say(theirs(6, [{ retain: 3, attributes: { bold: true } }]));
  tab.session.edit(new Delta().delete(3), 0);
  tab.session.edit(new Delta().insert("new"), 0);
  tab.say(nack("forbidden", "rights"));
  assert.deepEqual(tab.session.contents.ops, [
    { insert: "new" },
    { insert: "abc", attributes: { bold: true } },
    { insert: "\n" },
  ]);
});

test("fork: edits are kept aside, the old text stands until the new one comes, then the change leads there", () => {
  const tab = new Tab("buffered");
  const { events } = tab.session.fork(0);
  assert.deepEqual(kinds(events), ["parked", "rejoin"]);
  assert.ok(events[0]?.kind === "parked" && events[0].edit.code === "fork");
  assert.deepEqual(events[0].edit.delta.ops, [{ insert: "XY" }]);
  assert.equal(tab.text, "XYabc\n");
  assert.throws(() => tab.type(0, "!"));
  assert.deepEqual(tab.session.hello("x"), { t: "hello", v: 1, client: ME });
  const output = tab.say({ ...WELCOME, incarnation: "i2" }, { ...SNAPSHOT, rev: 1, epoch: 1, delta: ["axc\n"] });
  assert.deepEqual(kinds(output.events), ["welcome", "synced"]);
  assert.equal(output.change?.source, "reset");
  assert.deepEqual(new Delta().insert("XYabc\n").compose(output.change.delta).ops, [{ insert: "axc\n" }]);
});

test("welcome from another incarnation is a fork too", () => {
  const tab = new Tab("in flight");
  tab.session.lost();
  tab.session.hello("x");
  const output = tab.say({ ...WELCOME, incarnation: "i2" }, { ...SNAPSHOT, delta: ["new\n"] });
  assert.deepEqual(kinds(output.events), ["parked", "rejoin"]);
  assert.equal(tab.session.hello("x").resume, undefined);
  tab.say({ ...WELCOME, incarnation: "i2" }, { ...SNAPSHOT, delta: ["new\n"] });
  assert.equal(tab.text, "new\n");
});

test("a client id that is not ours alone: a new one resumes, and the edit is sent under it", () => {
  const tab = new Tab("buffered");
  tab.say(mine(6, 1, ["q"]));
  const { client, resume } = tab.session.hello("spare-id");
  assert.equal(client, "spare-id");
  assert.deepEqual(resume?.sections, { "0": [6, 2] });
  assert.deepEqual(tab.say(WELCOME, { t: "pong" }).send, [op(6, 1, ["XY"])]);
});

test("another user takes another client id; what was in flight is kept aside then", () => {
  const tab = new Tab();
  tab.session.lost();
  tab.type(0, "X");
  assert.deepEqual(tab.session.newUser(0).events, []);
  const hello = tab.session.hello("spare-id");
  assert.deepEqual([hello.client, hello.resume?.sections], ["spare-id", { "0": [5, 2] }]);
  const busy = new Tab("in flight");
  busy.session.lost();
  assert.deepEqual(kinds(busy.session.newUser(0).events), ["parked"]);
  assert.deepEqual(busy.session.hello("spare-id"), { t: "hello", v: 1, client: "spare-id" });
});

test("what comes from a connection that was given up is not read", () => {
  const tab = new Tab();
  tab.say({ t: "head", s: "0", rev: 5, epoch: 3 });
  assert.deepEqual(tab.say(SNAPSHOT, theirs(6, ["q"])).events, []);
});

test("joining goes along the chain of next: what is missing is fetched, what is off it is dropped", () => {
  const session = new Session(ME);
  const say = (...messages: object[]) => session.receive(JSON.stringify(messages), 0);
  session.hello("x");
  const part = (s: string, next: string | null, delta: string[], sealed: string | null = null) => ({
    ...SNAPSHOT,
    s,
    next,
    delta,
    sealed,
  });
  say({ ...WELCOME, sections: ["0", "7"] });
  assert.deepEqual(say(part("0", "3", ["one\n"])).send, [{ t: "fetch", s: "3" }]);
  assert.deepEqual(say(part("7", null, ["off\n"], "0")).send, []);
  assert.deepEqual(say(part("3", "9", ["two\n"])).send, [{ t: "fetch", s: "9" }]);
  assert.ok(!session.joined);
  const { change, events } = say(part("9", null, ["three\n"]));
  assert.deepEqual(kinds(events), ["synced"]);
  assert.deepEqual(change, { delta: new Delta().insert("one\ntwo\nthree\n"), source: "reset" });
  assert.deepEqual(Object.keys(session.revisions), ["0", "3", "9"]);
  const { output } = session.edit(new Delta().retain(2).delete(4).insert("X"), 0);
  assert.deepEqual(
    output.send.map((message) => "s" in message && message.s),
    ["0", "3"],
  );
  assert.equal(say({ ...theirs(6, ["q"]), s: "9" }).change?.delta.ops[0]?.retain, 5);
});

test("welcome and acked: a client id that was here before goes on counting", () => {
  const tab = new Tab();
  tab.say({ t: "acked", s: "0", cseq: 41, rev: 5 });
  assert.deepEqual(tab.type(0, "X"), [op(5, 42, ["X"])]);
});
