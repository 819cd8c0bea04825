/**
 * What a session does when its server asks it to move: `helloBeside`, then all that can happen until the second
 * connection has welcomed it, then `switched`. tests/coscribe/test_session_moves.py has the same cases.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Session } from "../src/session.ts";
import { ME, SNAPSHOT, Tab, WELCOME, YOU, catchup, kinds, mine, nack, op, theirs } from "./tab.ts";

const HERE = { cursor: { index: 1, length: 0 } };
const LAGGING = { t: "lagging", s: "0", rev: 11 };
const head = (rev: number, epoch = 2) => ({ t: "head", s: "0", rev, epoch });
const batch = (rev: number, ...e: unknown[]) => ({ s: "0", rev, e });

type Act = (tab: Tab) => unknown;
const typed =
  (what: string, at = 0): Act =>
  (tab) =>
    tab.type(at, what);
const read =
  (...messages: object[]): Act =>
  (tab) =>
    tab.say(...messages);
const isHere: Act = (tab) => tab.session.setPresence(HERE, 0);

/** `before` the hello, `between` it and the welcome, `after` that on the second connection. */
interface Case {
  before?: Act[];
  between?: Act[];
  says?: object[];
  after?: object[];
  answers?: object[];
  text: string;
  revision: number;
}

const CASES: Record<string, Case> = {
  "nothing happens": { text: "abc\n", revision: 5 },
  "entries read on the old connection come again": {
    between: [read(theirs(6, ["q"]))],
    after: [theirs(6, ["q"], { epoch: 2 })],
    text: "qabc\n",
    revision: 6,
  },
  "entries overlap: each is skipped by itself": {
    between: [read(theirs(6, ["r"]))],
    after: [{ ...batch(6, [YOU, 1, ["r"]], [YOU, 2, ["q"]]), epoch: 2 }],
    text: "qrabc\n",
    revision: 7,
  },
  "entries that the old connection did not bring": {
    after: [theirs(6, ["q"]), head(6)],
    text: "qabc\n",
    revision: 6,
  },
  "the new server stands behind the old one": {
    between: [read(theirs(6, ["q"]))],
    after: [head(5)],
    text: "qabc\n",
    revision: 6,
  },
  "an operation in flight is sent again under its cseq": {
    before: [typed("X")],
    says: [op(5, 1, ["X"])],
    after: [mine(6, 1, ["X"])],
    text: "Xabc\n",
    revision: 6,
  },
  "an operation sent between hello and welcome, too, at the present base": {
    between: [typed("X"), read(theirs(6, ["q"]))],
    says: [op(6, 1, ["X"])],
    after: [batch(6, [YOU, 1, ["q"]], [ME, 1, ["X"]])],
    text: "Xqabc\n",
    revision: 7,
  },
  "an acknowledgement that came on the old connection ends it": {
    before: [typed("X")],
    between: [read(mine(6, 1, ["X"]))],
    after: [{ ...mine(6, 1, ["X"]), epoch: 2 }],
    text: "Xabc\n",
    revision: 6,
  },
  "a buffer goes on behind what is in flight": {
    before: [typed("X"), typed("Y", 1)],
    says: [op(5, 1, ["X"])],
    after: [mine(6, 1, ["X"]), mine(7, 2, [1, "Y"])],
    answers: [op(6, 2, [1, "Y"])],
    text: "XYabc\n",
    revision: 7,
  },
  "what was refused for now on the old connection is sent at once": {
    before: [typed("X")],
    between: [read(nack("rate", "later", { retry_after_s: 9 }))],
    says: [op(5, 1, ["X"])],
    after: [mine(6, 1, ["X"])],
    text: "Xabc\n",
    revision: 6,
  },
  "lagging on the old connection: the new one brings it unasked": {
    before: [read(LAGGING)],
    after: [batch(6, [YOU, 1, ["q"]], ...Array(5).fill([YOU, 2, []]))],
    text: "qabc\n",
    revision: 11,
  },
  "a gap is asked for anew where it was not closed": {
    before: [read(LAGGING)],
    after: [head(11)],
    answers: [catchup(5, { composed: true })],
    text: "abc\n",
    revision: 5,
  },
  "a composed change asked for on the old connection is not waited for": {
    before: [read(head(90)), typed("X")],
    says: [op(5, 1, ["X"])],
    after: [batch(6, [YOU, 1, ["q"]], [ME, 1, ["X"]])],
    text: "Xqabc\n",
    revision: 7,
  },
  "a composed change for the old connection alone is not used twice": {
    before: [read(head(90))],
    between: [read(catchup(5, { rev: 90, delta: ["q"] }))],
    after: [theirs(6, ["q"]), head(90)],
    text: "qabc\n",
    revision: 90,
  },
  "presence is said again": {
    before: [isHere],
    says: [{ t: "presence", s: "0", rev: 5, state: HERE }],
    after: [{ t: "presence", p: {} }, head(5)],
    text: "abc\n",
    revision: 5,
  },
  "who has left stays away": {
    before: [isHere, (tab) => tab.session.setPresence(null, 0)],
    text: "abc\n",
    revision: 5,
  },
};

for (const [name, { before, between, says, after, answers, text, revision }] of Object.entries(CASES)) {
  test(`a move: ${name}`, () => {
    const tab = new Tab();
    before?.forEach((act) => act(tab));
    assert.ok(tab.session.movable);
    assert.deepEqual(tab.session.helloBeside(), {
      t: "hello",
      v: 1,
      client: ME,
      resume: { incarnation: "i1", sections: { "0": [5, 2] } },
    });
    between?.forEach((act) => act(tab));
    const seen = () => [tab.session.synced, tab.session.hasPending, tab.text];
    const was = seen();

    const { events, send, change } = tab.session.switched(JSON.stringify([WELCOME]), 0);
    assert.deepEqual([kinds(events), change], [["welcome"], null]);
    assert.deepEqual(seen(), was);
    assert.deepEqual(send, says ?? []);

    const outputs = (after ?? []).map((message) => tab.say(message));
    assert.ok(outputs.every((output) => kinds(output.events).every((kind) => kind === "presence")));
    assert.deepEqual(
      outputs.flatMap((output) => output.send),
      answers ?? [],
    );
    assert.deepEqual([tab.text, tab.revision, tab.session.hasPending], [text, revision, false]);
  });
}

test("the hello beside changes nothing", () => {
  const tab = new Tab("in flight");
  const wake = tab.session.wakeAtMs;
  assert.deepEqual(tab.session.helloBeside(), tab.session.helloBeside());
  assert.deepEqual([tab.session.wakeAtMs, tab.session.synced, tab.session.movable], [wake, true, true]);
});

test("the editor is told of each entry once", () => {
  const tab = new Tab("in flight");
  tab.session.helloBeside();
  const both = batch(6, [YOU, 1, ["q"]], [ME, 1, ["X"]]);
  assert.ok(tab.say(both).change);
  assert.equal(tab.session.switched(JSON.stringify([WELCOME, both]), 0).change, null);
  assert.equal(tab.say(batch(6, [YOU, 1, ["q"]], [ME, 1, ["X"]], [YOU, 2, [5, "r"]])).change?.delta.ops[0]?.retain, 5);
});

test("only who has read the document can move", () => {
  const session = new Session(ME);
  const say = (message: object) => session.receive(JSON.stringify(message), 0);
  assert.ok(!session.movable);
  session.hello("x");
  say(WELCOME);
  assert.ok(!session.movable);
  say({ ...SNAPSHOT, next: "1" });
  assert.ok(!session.movable);
  say({ ...SNAPSHOT, s: "1" });
  assert.ok(session.movable);
  session.lost();
  assert.ok(!session.movable);
});

test("nor can who must take another client id", () => {
  const tab = new Tab();
  tab.session.newUser(0);
  assert.ok(!tab.session.movable);
});

test("a session that was not synced is synced by the new connection", () => {
  const tab = new Tab();
  tab.session.lost();
  tab.session.hello("x");
  tab.say(WELCOME);
  assert.deepEqual(kinds(tab.session.switched(JSON.stringify(WELCOME), 0).events), ["welcome"]);
  assert.ok(!tab.session.synced);
  assert.deepEqual(kinds(tab.say(head(5)).events), ["synced"]);
});

test("another incarnation is a fork", () => {
  const tab = new Tab("in flight");
  const { events } = tab.session.switched(JSON.stringify([{ ...WELCOME, incarnation: "i2" }, SNAPSHOT]), 0);
  assert.deepEqual(kinds(events), ["parked", "rejoin"]);
});

test("so is another epoch", () => {
  const tab = new Tab();
  const { events } = tab.session.switched(JSON.stringify([WELCOME, head(5, 3)]), 0);
  assert.deepEqual(kinds(events), ["welcome", "rejoin"]);
});

for (const frame of [[], [head(9)], [head(5), WELCOME], "nonsense"]) {
  test(`a frame that does not welcome: ${JSON.stringify(frame).slice(0, 30)}`, () => {
    const tab = new Tab("in flight");
    assert.deepEqual(kinds(tab.session.switched(JSON.stringify(frame), 0).events), ["broken"]);
    assert.deepEqual([tab.revision, tab.text], [5, "Xabc\n"]);
  });
}
