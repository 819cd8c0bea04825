/** The shell: what it does about sockets, closes and silence. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import Delta from "quill-delta";

import { Client, ClosedError } from "../src/index.ts";
import type { ClientOptions, CoscribeDocument, Reason } from "../src/index.ts";
import { ModelServer } from "./model.ts";
import { FakeSocket, tick, turns } from "./network.ts";

let server: ModelServer;
let docs: CoscribeDocument[];

beforeEach(() => {
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  FakeSocket.all.length = 0;
  server = new ModelServer([new Delta().insert("abc\n")]);
  docs = [];
});

afterEach(() => {
  docs.forEach((doc) => doc.close());
  mock.timers.reset();
});

async function open(options: ClientOptions = {}): Promise<CoscribeDocument> {
  const webSocket = FakeSocket as unknown as typeof WebSocket;
  const doc = new Client({ url: "https://example.org/base/", webSocket, random: () => 1, ...options }).open("d-1");
  docs.push(doc);
  await turns();
  return doc;
}

/** The handshake of the newest socket succeeds, and what is said then is said. */
async function connect(): Promise<FakeSocket> {
  const socket = FakeSocket.last.open(server);
  await turns();
  return socket;
}

const text = (doc: CoscribeDocument) => doc.contents.ops.map(({ insert }) => insert).join("");
const type = (doc: CoscribeDocument, at: number, what: string) => doc.apply(new Delta().retain(at).insert(what));

test("it joins, tells what it reads, sends what is typed, and says when that is safe", async () => {
  const doc = await open();
  const told: unknown[] = [];
  doc.on("status", (status) => told.push(status));
  doc.on("synced", () => told.push("synced"));
  doc.on("pending", (pending) => told.push(pending));
  doc.on("change", ({ ops }, source, origin) => told.push([source, ops.length, origin]));
  assert.equal(FakeSocket.last.url, "wss://example.org/base/v1/documents/d-1/socket");
  assert.deepEqual(FakeSocket.last.protocols, ["coscribe.v1"]);
  assert.throws(() => type(doc, 0, "X"));
  await connect();
  await doc.whenSynced();
  assert.equal(text(doc), "abc\n");
  doc.apply(new Delta().retain(3).insert("!"), "me");
  await doc.whenSettled();
  assert.equal(server.section("0").revision, 1);
  assert.deepEqual(told, ["connected", ["reset", 1, undefined], "synced", ["local", 2, "me"], true, false]);
});

test("a lost connection is made again with growing waits, and what was typed meanwhile arrives", async () => {
  const doc = await open();
  await connect();
  FakeSocket.last.muted = true;
  type(doc, 0, "X");
  FakeSocket.last.drop();
  assert.equal(doc.status, "reconnecting");
  type(doc, 4, "Y");
  for (const wait of [250, 500, 1000]) {
    const count = FakeSocket.all.length;
    await tick(wait - 1);
    assert.equal(FakeSocket.all.length, count);
    await tick(1);
    assert.equal(FakeSocket.all.length, count + 1);
    if (wait < 1000) FakeSocket.last.drop();
  }
  await connect();
  await doc.whenSettled();
  assert.equal(text(doc), "XabcY\n");
  assert.deepEqual(server.contents.ops, [{ insert: "XabcY\n" }]);
  FakeSocket.last.drop();
  const count = FakeSocket.all.length;
  await tick(250);
  assert.equal(FakeSocket.all.length, count + 1, "after a resume the waits are short again");
});

test("a server that is full names the wait", async () => {
  await open();
  FakeSocket.last.open().drop(1013, '{"retry_after_s":4}');
  await tick(4249);
  assert.equal(FakeSocket.all.length, 1);
  await tick(1);
  assert.equal(FakeSocket.all.length, 2);
});

test("no identity: asked for once, a second refusal is final", async () => {
  const reasons: Reason[] = [];
  const doc = await open({ authenticate: async (reason) => void reasons.push(reason) });
  FakeSocket.last.open().drop(4401);
  await turns();
  assert.deepEqual(reasons, ["connect", "rejected"]);
  await connect();
  FakeSocket.last.drop(4401);
  await turns();
  assert.equal(reasons.length, 3, "it was let in between: asked again");
  FakeSocket.last.open().drop(4401, "no");
  await turns();
  assert.equal(doc.closed?.code, 4401);
  assert.equal(doc.status, "disconnected");
});

test("a ticket goes into the address, and onto the open socket when identity runs out", async () => {
  let count = 0;
  await open({ authenticate: async () => ({ ticket: `t/${(count += 1)}` }) });
  assert.match(FakeSocket.last.url, /\?ticket=t%2F1$/);
  (await connect()).say({ t: "expiring", at: 5 });
  await turns();
  assert.deepEqual(FakeSocket.last.said.at(-1), { t: "auth", ticket: "t/2" });
});

test("another user comes under another client id", async () => {
  const ids = ["first-id", "second-id", "third-id"];
  const doc = await open({
    newClientId: () => ids.shift() as string,
    authenticate: async (reason) => (reason === "rejected" ? { newUser: true } : undefined),
  });
  await connect();
  FakeSocket.last.drop(4401);
  await turns();
  await connect();
  await tick(2000);
  assert.ok(!["first-id", undefined].includes(FakeSocket.last.said[0]?.["client"] as string));
  assert.ok(doc.synced);
});

test("authenticate that fails is told of and tried again", async () => {
  let fails = 1;
  const doc = await open({ authenticate: async () => assert.ok(fails-- <= 0, "offline") });
  assert.equal(FakeSocket.all.length, 0);
  await tick(250);
  await connect();
  assert.ok(doc.synced);
});

for (const code of [1000, 4400, 4403, 4404, 4410, 4413]) {
  test(`close ${code} is for good`, async () => {
    const doc = await open();
    await connect();
    const settled = (type(doc, 0, "X"), doc.whenSettled());
    FakeSocket.last.muted = true;
    type(doc, 0, "Y");
    const rejected = assert.rejects(doc.whenSettled(), ClosedError);
    FakeSocket.last.drop(code, "so it is");
    await settled.catch(() => {});
    await rejected;
    await tick(60_000);
    assert.equal(FakeSocket.all.length, 1);
    assert.throws(() => type(doc, 0, "Z"), ClosedError);
  });
}

test("a fork joins anew and tells of the edit that is kept aside", async () => {
  const doc = await open();
  await connect();
  FakeSocket.last.muted = true;
  type(doc, 0, "X");
  FakeSocket.last.drop(4409);
  assert.equal(doc.parked[0]?.code, "fork");
  await tick(250);
  await connect();
  assert.deepEqual([text(doc), doc.hasPending], ["abc\n", false]);
});

test("silence is asked about, twice that silence ends the connection", async () => {
  const doc = await open();
  const socket = await connect();
  await tick(20_000);
  assert.equal(socket.said.filter(({ t }) => t === "ping").length, 1);
  assert.equal(doc.status, "connected");
  socket.muted = true;
  await tick(39_000);
  assert.equal(doc.status, "connected");
  await tick(3_000);
  assert.equal(doc.status, "reconnecting");
});

test("who only listens still says something", async () => {
  await open();
  const socket = await connect();
  for (let second = 0; second < 25; second += 1) {
    socket.say({ t: "presence", p: {} });
    await tick(1000);
  }
  assert.equal(socket.said.filter(({ t }) => t === "ping").length, 1);
});

test("a handshake without an end is given up, and so is a server that does not welcome", async () => {
  await open();
  await tick(20_000);
  await tick(250);
  const silent = FakeSocket.last.open();
  assert.equal(FakeSocket.all.length, 2);
  await tick(20_000);
  await tick(500);
  assert.equal(FakeSocket.all.length, 3);
  assert.deepEqual(
    silent.said.map(({ t }) => t),
    ["hello"],
  );
});

test("a server that breaks the protocol is left", async () => {
  const doc = await open();
  const errors: string[] = [];
  doc.on("error", ({ message }) => errors.push(message));
  (await connect()).say({ s: "0", rev: 1, e: [{ split: 2, into: "1" }] });
  assert.equal(doc.closed?.code, 4400);
  assert.match(errors[0] ?? "", /not supported/);
});

test("an edit inside a listener comes after what it answers", async () => {
  const [one, two] = [await open(), await open()];
  FakeSocket.all.forEach((socket) => socket.open(server));
  await turns();
  one.on("change", (_, source) => source === "remote" && text(one).length < 8 && type(one, 0, "1"));
  type(two, 0, "2");
  await Promise.all([one.whenSettled(), two.whenSettled()]);
  assert.equal(text(one), text(two));
  assert.equal(text(one), "12abc\n");
});
