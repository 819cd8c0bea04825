/** Each message in each state of a section: at rest, with something in flight, with something in flight and buffered. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Tab, SNAPSHOT, YOU, catchup, kinds, mine, nack, op, theirs } from "./tab.ts";
import type { State } from "./tab.ts";

interface Case {
  state: State;
  says: object[];
  text: string;
  revision: number;
  sends?: object[];
  events?: string[];
}

const CASES: Record<string, Case> = {
  "a stranger's entry": { state: "at rest", says: [theirs(6, [1, "q"])], text: "aqbc\n", revision: 6 },
  "a stranger's entry, mine goes left": { state: "in flight", says: [theirs(6, ["q"])], text: "Xqabc\n", revision: 6 },
  "a stranger's entry over both": { state: "buffered", says: [theirs(6, ["q", 1, -1])], text: "XYqac\n", revision: 6 },
  "an entry once more": { state: "at rest", says: [theirs(5, [1, "q"])], text: "abc\n", revision: 5 },
  "an entry under another epoch": {
    state: "in flight",
    says: [theirs(5, ["q"], { epoch: 9 })],
    text: "Xabc\n",
    revision: -1,
    events: ["parked", "rejoin"],
  },
  "a batch that overlaps": {
    state: "at rest",
    says: [
      {
        s: "0",
        rev: 4,
        e: [
          [YOU, 1, ["1"]],
          [YOU, 2, ["2"]],
          [YOU, 3, ["3"]],
        ],
      },
    ],
    text: "3abc\n",
    revision: 6,
  },
  "a gap at rest": {
    state: "at rest",
    says: [theirs(7, ["q"])],
    text: "abc\n",
    revision: 5,
    sends: [catchup(5, { composed: true })],
  },
  "a gap with something in flight": {
    state: "in flight",
    says: [theirs(7, ["q"])],
    text: "Xabc\n",
    revision: 5,
    sends: [catchup(5)],
  },
  "a gap is asked for once": {
    state: "at rest",
    says: [theirs(7, ["q"]), theirs(8, ["r"]), { t: "head", s: "0", rev: 8, epoch: 2 }],
    text: "abc\n",
    revision: 5,
    sends: [catchup(5, { composed: true })],
  },
  "my entry": { state: "in flight", says: [mine(6, 1, ["X"])], text: "Xabc\n", revision: 6 },
  "my entry frees the buffer": {
    state: "buffered",
    says: [mine(6, 1, ["X"])],
    text: "XYabc\n",
    revision: 6,
    sends: [op(6, 2, [1, "Y"])],
  },
  "my entry with nothing in flight": { state: "at rest", says: [mine(6, 7, ["q"])], text: "qabc\n", revision: 6 },
  "an older entry of mine": { state: "in flight", says: [mine(6, 0, ["q"])], text: "Xqabc\n", revision: 6 },
  "my entry in another form": {
    state: "in flight",
    says: [mine(6, 1, [{ insert: "X" }, 2])],
    text: "Xabc\n",
    revision: 6,
  },
  "my cseq with other text": {
    state: "buffered",
    says: [mine(6, 1, ["q"])],
    text: "XYqabc\n",
    revision: 6,
    events: ["rejoin"],
  },
  "a later cseq of mine": {
    state: "in flight",
    says: [mine(6, 4, ["q"])],
    text: "Xqabc\n",
    revision: 6,
    events: ["rejoin"],
  },
  "an entry past the end": {
    state: "in flight",
    says: [theirs(6, [9, "q"])],
    text: "Xabc\n",
    revision: 5,
    events: ["broken"],
  },
  "a composed change": {
    state: "at rest",
    says: [catchup(5, { rev: 9, delta: [3, "q"] })],
    text: "abcq\n",
    revision: 9,
  },
  "a composed change for elsewhere": {
    state: "at rest",
    says: [catchup(4, { rev: 9, delta: ["q"] })],
    text: "abc\n",
    revision: 5,
    sends: [catchup(5, { composed: true })],
  },
  "a composed change with something in flight": {
    state: "in flight",
    says: [catchup(5, { rev: 9, delta: ["q"] })],
    text: "Xabc\n",
    revision: 5,
    sends: [catchup(5)],
  },
  "a composed change of the past": {
    state: "in flight",
    says: [catchup(4, { rev: 5, delta: ["q"] })],
    text: "Xabc\n",
    revision: 5,
  },
  "a composed change of another past": {
    state: "at rest",
    says: [{ ...catchup(4), epoch: 3, rev: 5, delta: ["q"] }],
    text: "abc\n",
    revision: -1,
    events: ["rejoin"],
  },
  "the head stands where I stand": {
    state: "in flight",
    says: [{ t: "head", s: "0", rev: 5, epoch: 2 }],
    text: "Xabc\n",
    revision: 5,
  },
  "the head is ahead": {
    state: "at rest",
    says: [{ t: "head", s: "0", rev: 6, epoch: 2 }],
    text: "abc\n",
    revision: 5,
    sends: [catchup(5, { composed: true })],
  },
  "the head of a fork": {
    state: "at rest",
    says: [{ t: "head", s: "0", rev: 5, epoch: 3 }],
    text: "abc\n",
    revision: -1,
    events: ["rejoin"],
  },
  lagging: {
    state: "at rest",
    says: [{ t: "lagging", s: "0", rev: 9 }],
    text: "abc\n",
    revision: 5,
    sends: [catchup(5, { composed: true })],
  },
  "lagging with something in flight": {
    state: "buffered",
    says: [{ t: "lagging", s: "0", rev: 9 }],
    text: "XYabc\n",
    revision: 5,
    sends: [catchup(5)],
  },
  "acked before its entry": {
    state: "in flight",
    says: [{ t: "acked", s: "0", cseq: 1, rev: 6 }],
    text: "Xabc\n",
    revision: 5,
  },
  "acked, and read as another's": {
    state: "in flight",
    says: [{ t: "acked", s: "0", cseq: 1, rev: 4 }],
    text: "Xabc\n",
    revision: -1,
    events: ["parked", "rejoin"],
  },
  "acked what I never sent": {
    state: "in flight",
    says: [{ t: "acked", s: "0", cseq: 8, rev: 4 }],
    text: "Xabc\n",
    revision: 5,
    events: ["rejoin"],
  },
  "a newer snapshot at rest": {
    state: "at rest",
    says: [{ ...SNAPSHOT, rev: 9, delta: ["abd\n"] }],
    text: "abd\n",
    revision: 9,
  },
  "a newer snapshot with pending edits": {
    state: "in flight",
    says: [{ ...SNAPSHOT, rev: 9 }],
    text: "Xabc\n",
    revision: 5,
    sends: [catchup(5)],
  },
  "an older snapshot": {
    state: "at rest",
    says: [{ ...SNAPSHOT, rev: 4, delta: ["z\n"] }],
    text: "abc\n",
    revision: 5,
  },
  never: { state: "in flight", says: [nack("invalid", "never")], text: "abc\n", revision: 5, events: ["parked"] },
  forbidden: {
    state: "in flight",
    says: [nack("forbidden", "rights")],
    text: "abc\n",
    revision: 5,
    events: ["parked"],
  },
  "never, with a buffer": {
    state: "buffered",
    says: [nack("too_large", "never")],
    text: "Yabc\n",
    revision: 5,
    sends: [op(5, 2, ["Y"])],
    events: ["parked"],
  },
  "a new code that says never": {
    state: "in flight",
    says: [nack("haunted", "never")],
    text: "abc\n",
    revision: 5,
    events: ["parked"],
  },
  stale: { state: "in flight", says: [nack("stale", "catchup")], text: "Xabc\n", revision: 5, sends: [catchup(5)] },
  unavailable: {
    state: "buffered",
    says: [nack("unavailable", "later", { retry_after_s: 1 })],
    text: "XYabc\n",
    revision: 5,
  },
  "a nack for another cseq": {
    state: "in flight",
    says: [{ ...nack("invalid", "never"), cseq: 2 }],
    text: "Xabc\n",
    revision: 5,
  },
  "a nack at rest": { state: "at rest", says: [nack("invalid", "never")], text: "abc\n", revision: 5 },
  "a section that is not known": {
    state: "at rest",
    says: [
      { ...theirs(6, ["q"]), s: "9" },
      { ...nack("stale", "catchup"), s: "9" },
    ],
    text: "abc\n",
    revision: 5,
  },
  "a type that is not known": { state: "in flight", says: [{ t: "hologram", s: "0" }], text: "Xabc\n", revision: 5 },
  move: { state: "in flight", says: [{ t: "move", within_s: 10 }], text: "Xabc\n", revision: 5, events: ["move"] },
  expiring: { state: "at rest", says: [{ t: "expiring", at: 99 }], text: "abc\n", revision: 5, events: ["expiring"] },
  error: {
    state: "at rest",
    says: [{ t: "error", code: "x", message: "y" }],
    text: "abc\n",
    revision: 5,
    events: ["error"],
  },
  pong: { state: "buffered", says: [{ t: "pong" }], text: "XYabc\n", revision: 5 },
};

for (const [name, { state, says, text, revision, sends, events }] of Object.entries(CASES)) {
  test(`session ${state}: ${name}`, () => {
    const tab = new Tab(state);
    const before = tab.session.contents;
    const output = tab.say(...says);
    assert.equal(tab.text, text);
    assert.equal(tab.revision ?? -1, revision);
    assert.deepEqual(output.send, sends ?? []);
    assert.deepEqual(kinds(output.events), events ?? []);
    const after = output.change ? before.compose(output.change.delta) : before;
    assert.deepEqual(after.ops, tab.session.contents.ops, "the change told of is the change that happened");
  });
}
