/** Make before break: which socket is opened and closed when, and what an app sees of it. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import Delta from "quill-delta";

import { Client } from "../src/index.ts";
import type { ClientOptions, CoscribeDocument } from "../src/index.ts";
import { moveWaitMs } from "../src/policy.ts";
import { ModelServer } from "./model.ts";
import { FakeSocket, tick, turns } from "./network.ts";

const WITHIN_S = 10;
/** Before the first try: chance is 1 in these tests. */
const WAIT_MS = moveWaitMs(WITHIN_S, 1);
const MOVE = { t: "move", within_s: WITHIN_S };

let server: ModelServer;
let doc: CoscribeDocument;
let told: unknown[];

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  FakeSocket.all.length = 0;
  server = new ModelServer([new Delta().insert("abc\n")]);
  told = [];
});

afterEach(() => {
  doc.close();
  mock.timers.reset();
});

/** A document on a first socket, which asks to move. What an app sees from then on is told. */
async function askedToMove(options: ClientOptions = {}): Promise<FakeSocket> {
  const webSocket = FakeSocket as unknown as typeof WebSocket;
  doc = new Client({ url: "https://example.org", webSocket, random: () => 1, ...options }).open("d-1");
  await turns();
  const old = await connect();
  doc.on("status", (status) => told.push(status));
  doc.on("synced", () => told.push("synced"));
  doc.on("pending", (pending) => told.push(pending));
  doc.on("closed", ({ code }) => told.push(code));
  old.say(MOVE);
  return old;
}

async function connect(): Promise<FakeSocket> {
  const socket = FakeSocket.last.open(server);
  await turns();
  return socket;
}

const count = () => FakeSocket.all.length;
const text = () => doc.contents.ops.map(({ insert }) => insert).join("");
const type = (at: number, what: string) => doc.apply(new Delta().retain(at).insert(what));

test("the new socket is welcomed before the old one is closed, and nobody sees it", async () => {
  const old = await askedToMove();
  await tick(WAIT_MS - 1);
  assert.equal(count(), 1);
  await tick(1);
  assert.equal(count(), 2);
  const next = FakeSocket.last;
  type(0, "X");
  assert.equal(old.said.at(-1)?.t, "op");
  await turns();
  assert.ok(!doc.hasPending, "the old one serves");
  assert.equal(old.closedWith, null);
  await connect();
  assert.equal(old.closedWith, 1000);
  type(0, "Y");
  assert.equal(next.said.at(-1)?.t, "op");
  await turns();
  assert.deepEqual(server.contents.ops, [{ insert: "YXabc\n" }]);
  assert.equal(text(), "YXabc\n");
  assert.deepEqual(told, [true, false, true, false]);
  await tick(60_000);
  assert.equal(count(), 2);
});

test("what is in flight is sent again on the new socket, and what was said on the old one since is not read", async () => {
  const old = await askedToMove();
  await tick(WAIT_MS);
  const next = FakeSocket.last;
  const resume = { incarnation: server.incarnation, sections: { "0": [0, 1] } };
  assert.deepEqual(next.open(server).said.at(-1), { t: "hello", v: 1, client: doc.clientId, resume });
  old.link = null; // the operation is lost with its router
  type(0, "X");
  type(1, "Y");
  await turns();
  assert.deepEqual(
    next.said.filter(({ t }) => t === "op").map(({ cseq, base }) => [cseq, base]),
    [
      [1, 0],
      [2, 1],
    ],
  );
  const read = text();
  old.readyState = 1;
  old.say({ s: "0", rev: 3, e: [["you-client", 1, ["late"]]] });
  assert.equal(text(), read);
  assert.equal(doc.hasPending, false);
  assert.deepEqual(told, [true, false]);
});

test("presence is said on the new socket before the old one is closed", async () => {
  const old = await askedToMove();
  const state = { cursor: { index: 1, length: 0 } };
  doc.presence.set(state);
  await tick(WAIT_MS);
  const next = FakeSocket.last;
  let closedFirst: boolean | null = null;
  const send = next.send.bind(next);
  next.send = (sent) => {
    if (sent.includes('"presence"')) closedFirst = old.closedWith !== null;
    send(sent);
  };
  await connect();
  assert.equal(closedFirst, false);
  assert.deepEqual(next.said.at(-1), { t: "presence", s: "0", rev: 0, state });
  assert.ok(!old.said.some(({ t, state: last }) => t === "presence" && last === null));
});

for (const code of [1001, 1006, 1012, 1013, 4429, 4508]) {
  test(`refused with ${code} the old socket serves, and another try is made`, async () => {
    const old = await askedToMove();
    await tick(WAIT_MS);
    FakeSocket.last.open().drop(code, '{"retry_after_s":1}');
    await tick(1249);
    assert.equal(count(), 2);
    await tick(1);
    assert.equal(count(), 3);
    FakeSocket.last.drop();
    await tick(500);
    assert.equal(old.closedWith, null);
    await connect();
    assert.equal(old.closedWith, 1000);
    assert.deepEqual(told, []);
  });
}

test("each socket has a ticket of its own; refused, another is asked for, again and again", async () => {
  let tickets = 0;
  const reasons: string[] = [];
  const authenticate = async (reason: string) => {
    reasons.push(reason);
    return { ticket: `t${(tickets += 1)}` };
  };
  const old = await askedToMove({ authenticate });
  await tick(WAIT_MS);
  for (const wait of [0, 250, 500]) {
    FakeSocket.last.open().drop(4401);
    await tick(wait);
  }
  assert.deepEqual(reasons, ["connect", "connect", "rejected", "connect", "connect"]);
  assert.match(FakeSocket.last.url, /ticket=t5$/);
  await connect();
  assert.equal(old.closedWith, 1000);
  assert.deepEqual(told, []);
});

test("authenticate that fails is told of, and the old socket serves", async () => {
  let fails = 0;
  const old = await askedToMove({ authenticate: async () => assert.ok((fails += 1) !== 2, "offline") });
  const errors: string[] = [];
  doc.on("error", ({ message }) => errors.push(message));
  await tick(WAIT_MS);
  assert.deepEqual([errors, count()], [["offline"], 1]);
  await tick(250);
  await connect();
  assert.equal(old.closedWith, 1000);
  assert.deepEqual(told, []);
});

test("another user cannot take over: the document is connected anew under another client id", async () => {
  let newUser = false;
  const old = await askedToMove({ authenticate: async () => ({ newUser }) });
  const before = doc.clientId;
  newUser = true;
  await tick(WAIT_MS);
  assert.equal(old.closedWith, 1000);
  newUser = false;
  await connect();
  await tick(2000);
  assert.notEqual(doc.clientId, before);
  assert.deepEqual(told, ["reconnecting", "connected", "synced"]);
});

for (const code of [1000, 4400, 4403, 4404, 4410, 4413]) {
  test(`${code} on the new socket is for good`, async () => {
    const old = await askedToMove();
    await tick(WAIT_MS);
    FakeSocket.last.open().drop(code);
    assert.equal(old.closedWith, 1000);
    assert.deepEqual(told, ["disconnected", code]);
    await tick(60_000);
    assert.equal(count(), 2);
  });
}

test("a fork on the new socket joins anew, edits kept aside", async () => {
  const old = await askedToMove();
  old.muted = true;
  type(0, "X");
  await tick(WAIT_MS);
  FakeSocket.last.open().drop(4409);
  assert.equal(old.closedWith, 1000);
  assert.equal(doc.parked[0]?.code, "fork");
  await tick(250);
  assert.equal((await connect()).said[0]?.["resume"], undefined);
  assert.deepEqual([text(), doc.hasPending, count()], ["abc\n", false, 3]);
});

test("another incarnation in the welcome does as well", async () => {
  const old = await askedToMove();
  await tick(WAIT_MS);
  server = new ModelServer([new Delta().insert("new\n")], "another");
  await connect();
  assert.equal(old.closedWith, 1000);
  assert.equal(FakeSocket.last.closedWith, 1000);
  await tick(250);
  await connect();
  assert.equal(text(), "new\n");
});

test("a fork on the old socket during a move ends the move", async () => {
  const old = await askedToMove();
  await tick(WAIT_MS);
  const next = FakeSocket.last.open();
  old.say({ t: "head", s: "0", rev: 0, epoch: 9 });
  assert.deepEqual([old.closedWith, next.closedWith], [1000, 1000]);
  await tick(250);
  await connect();
  assert.deepEqual([text(), doc.status, count()], ["abc\n", "connected", 3]);
});

test("when the time is over the old socket serves, and its close is an ordinary one", async () => {
  const old = await askedToMove();
  await tick(WAIT_MS);
  const next = FakeSocket.last.open(); // and no welcome
  await tick(WITHIN_S * 1000 - WAIT_MS);
  assert.equal(next.closedWith, 1000);
  type(0, "X");
  await turns();
  await tick(15_000);
  assert.deepEqual([count(), told], [2, [true, false]]);
  old.drop(1012);
  assert.equal(doc.status, "reconnecting");
  await tick(250);
  await connect();
  await tick(2000);
  assert.deepEqual(told.slice(2), ["reconnecting", "connected", "synced"]);
});

test("asked again while it moves it moves once, and later once more", async () => {
  const old = await askedToMove();
  await tick(WAIT_MS / 2);
  old.say(MOVE);
  await tick(WAIT_MS / 2);
  old.say(MOVE);
  const next = await connect();
  await tick(WITHIN_S * 1000);
  assert.equal(count(), 2);
  next.say(MOVE);
  await tick(WAIT_MS);
  await connect();
  assert.deepEqual([next.closedWith, count(), told], [1000, 3, []]);
});

test("before the document is here it does not move", async () => {
  const webSocket = FakeSocket as unknown as typeof WebSocket;
  doc = new Client({ url: "https://example.org", webSocket, random: () => 1 }).open("d-1");
  await turns();
  const old = FakeSocket.last.open();
  const said: object[] = [];
  server.connect((message) => said.push(message)).read({ t: "hello", v: 1, client: doc.clientId });
  old.say(said[0] as object, MOVE);
  await tick(WAIT_MS);
  assert.equal(count(), 1);
  old.say(...said.slice(1));
  assert.ok(doc.joined);
  await tick(250);
  assert.equal(count(), 2);
});

test("an old socket that breaks leaves the rest to the new one", async () => {
  const old = await askedToMove();
  await tick(WAIT_MS);
  const next = FakeSocket.last.open(server);
  type(0, "X");
  old.drop();
  assert.equal(doc.status, "reconnecting");
  await turns();
  await tick(WITHIN_S * 1000);
  assert.equal(doc.status, "connected");
  assert.equal(text(), "Xabc\n");
  assert.deepEqual([count(), doc.hasPending, next.closedWith], [2, false, null]);
});

test("an old socket that breaks between two tries is a lost connection", async () => {
  const old = await askedToMove();
  await tick(1);
  old.drop();
  await tick(249);
  assert.equal(count(), 1);
  await tick(1);
  await connect();
  await tick(WITHIN_S * 1000);
  assert.deepEqual([count(), told], [2, ["reconnecting", "connected", "synced"]]);
});

test("closed here during a move it leaves both", async () => {
  const old = await askedToMove();
  await tick(WAIT_MS);
  const next = FakeSocket.last.open();
  doc.close();
  assert.deepEqual([old.closedWith, next.closedWith], [1000, 1000]);
  await tick(60_000);
  assert.equal(count(), 2);
});
