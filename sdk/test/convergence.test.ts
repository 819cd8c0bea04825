/**
 * Random histories of several clients on one server, over connections that delay, double, drop and reorder what the
 * server says, that break, and from which they move to others. At rest everybody must read the log's content. A failure names its seed.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import Delta from "quill-delta";

import { equal } from "../src/copy.ts";
import { decodeFrame } from "../src/messages.ts";
import type { ClientMessage } from "../src/messages.ts";
import type { Output } from "../src/output.ts";
import { Session } from "../src/session.ts";
import { ModelServer } from "./model.ts";
import type { ServerSession, Verdict } from "./model.ts";
import { Random } from "./random.ts";

const SEEDS = Number(process.env["COSCRIBE_SEEDS"] ?? 300);

class Person {
  readonly session: Session;
  readonly parked: Delta[] = [];
  editor = new Delta();
  inbox: string[] = [];
  outbox: ClientMessage[] = [];
  link: ServerSession | null = null;
  /** A second connection that has not said yet that it is welcome. */
  beside: { link: ServerSession; inbox: string[] } | null = null;
  moves = 0;
  private readonly server: ModelServer;

  constructor(name: string, server: ModelServer) {
    this.session = new Session(name);
    this.server = server;
  }

  connect(): void {
    this.link = this.server.connect((message) => this.inbox.push(JSON.stringify(message)));
    this.outbox = [this.session.hello("spare-id")];
    this.inbox = [];
  }

  cut(): void {
    if (this.link) this.server.disconnect(this.link);
    if (this.beside) this.server.disconnect(this.beside.link);
    this.link = this.beside = null;
    this.session.lost();
  }

  move(): void {
    if (this.beside || !this.session.movable) return;
    const inbox: string[] = [];
    const link = this.server.connect((message) => inbox.push(JSON.stringify(message)));
    link.read(this.session.helloBeside());
    this.beside = { link, inbox };
  }

  /** What is still on its way on the old connection is lost. */
  switch(nowMs: number): void {
    if (!this.link || !this.beside) return;
    this.server.disconnect(this.link);
    const { link, inbox } = this.beside;
    [this.link, this.inbox, this.outbox, this.beside] = [link, inbox, [], null];
    this.take(this.session.switched(inbox.shift() as string, nowMs));
    this.moves += 1;
  }

  take(output: Output): void {
    this.outbox.push(...output.send.map((message) => JSON.parse(JSON.stringify(message))));
    if (output.change) this.editor = this.editor.compose(output.change.delta);
    for (const event of output.events) {
      if (event.kind === "parked") this.parked.push(event.edit.delta);
      assert.ok(!["broken", "rejoin"].includes(event.kind), JSON.stringify(event));
    }
  }

  deliver(random: Random, nowMs: number, faults: boolean): void {
    if (!this.link || this.inbox.length === 0) return;
    // What comes before welcome, and welcome itself, the socket keeps in order.
    const index = faults && this.session.synced && random.chance(0.1) ? random.integer(0, this.inbox.length - 1) : 0;
    const frame = this.inbox[index] as string;
    const steady = !faults || !this.session.synced || !("s" in (decodeFrame(frame)[0] ?? {}));
    if (steady || !random.chance(0.1)) this.inbox.splice(index, 1);
    if (steady || !random.chance(0.06)) this.take(this.session.receive(frame, nowMs));
  }

  transmit(): void {
    const message = this.outbox.shift();
    if (message) this.link?.read(message);
  }
}

const LETTERS = ["x", "ab", "\n", "😀", "é", "ウ", "w w"];
const FORMATS = [{ bold: true }, { bold: null }, { italic: true }, { header: 1 }, { link: "https://example.org" }];

function randomEdit(random: Random, contents: Delta): Delta {
  const end = contents.length() - 1;
  const at = random.integer(0, end);
  const span = random.integer(0, Math.min(6, end - at));
  const delta = new Delta().retain(at);
  const kind = random.next();
  if (kind < 0.55) return delta.insert(random.choice(LETTERS), random.chance(0.2) ? { bold: true } : null);
  if (kind < 0.6) return delta.insert({ image: `https://example.org/${random.integer(0, 9)}` });
  if (kind < 0.8) return delta.delete(span);
  if (kind < 0.9) return delta.insert(random.choice(LETTERS)).delete(span);
  return delta.retain(span, random.choice(FORMATS));
}

function randomVerdict(random: Random): Verdict {
  if (random.chance(0.04)) return { before: { code: "invalid", retry: "never" } };
  if (random.chance(0.04)) return { before: { code: "rate", retry: "later", retry_after_s: 0.1 } };
  if (random.chance(0.04)) return { after: { code: "unavailable", retry: "later", retry_after_s: 0.1 } };
  return "accept";
}

class Run {
  private readonly random: Random;
  private readonly server: ModelServer;
  private readonly people: Person[];
  private nowMs = 0;
  edits = 0;

  get moves(): number {
    return this.people.reduce((sum, { moves }) => sum + moves, 0);
  }

  constructor(seed: number) {
    this.random = new Random(seed);
    const parts = ["one\ntwo\n", "three 😀\n", "four\n"].slice(0, this.random.choice([1, 1, 2, 3]));
    this.server = new ModelServer(parts.map((text) => new Delta().insert(text)));
    this.server.window = this.random.choice([3, 10, Infinity]);
    this.server.opBytes = this.random.choice([40, 65_536]);
    this.server.verdict = () => randomVerdict(this.random);
    this.people = ["anna-tab", "bert-tab", "cleo-tab"].map((name) => new Person(name, this.server));
  }

  step(faults: boolean): void {
    this.nowMs += this.random.integer(0, 60);
    const person = this.random.choice(this.people);
    if (!person.link) {
      if (!faults || this.random.chance(0.15)) person.connect();
    } else if (faults && this.random.chance(0.01)) {
      person.cut();
    }
    if (faults && this.random.chance(0.02)) person.move();
    if (this.random.chance(0.1)) person.switch(this.nowMs);
    const luck = this.random.next();
    if (faults && luck < 0.3 && person.session.joined) this.edit(person);
    else if (luck < 0.75) person.deliver(this.random, this.nowMs, faults);
    else if (luck < 0.95) person.transmit();
    else if (luck < 0.96) this.server.takeOver(this.random.choice([...this.server.sections.keys()]));
    else person.take(person.session.due(this.nowMs));
  }

  private edit(person: Person): void {
    try {
      const { output, delta } = person.session.edit(randomEdit(this.random, person.session.contents), this.nowMs);
      person.editor = person.editor.compose(delta);
      person.take(output);
      this.edits += 1;
    } catch (error) {
      assert.ok(error instanceof RangeError, String(error)); // it would have cut a pair
    }
  }

  play(): void {
    for (let count = 0; count < 500; count += 1) this.step(true);
    this.server.window = Infinity;
    this.server.verdict = () => "accept";
    for (let patience = 400; !this.atRest(); patience -= 1) {
      assert.ok(patience > 0, "the system must come to rest");
      this.nowMs += 1000;
      for (const person of this.people) if (person.link) person.outbox.push({ t: "ping" });
      for (let count = 0; count < 200; count += 1) this.step(false);
    }
    for (const person of this.people) this.check(person);
  }

  private atRest(): boolean {
    const quiet = ({ session, inbox, outbox }: Person) =>
      session.synced && !session.hasPending && inbox.length === 0 && outbox.length === 0;
    const read = ({ session }: Person) =>
      [...this.server.sections.values()].every(({ id, revision }) => session.revisions[id] === revision);
    return this.people.every((person) => quiet(person) && read(person));
  }

  private check({ session, editor }: Person): void {
    const tidy = (delta: Delta) => new Delta().compose(delta).ops;
    assert.deepEqual(tidy(session.contents), tidy(this.server.contents), `${session.client} differs from the log`);
    assert.ok(equal(tidy(editor), tidy(session.contents)), "the changes told of do not lead to the content");
    for (const { log } of this.server.sections.values()) {
      const names = log.map(({ client, cseq }) => `${client} ${cseq}`);
      assert.equal(new Set(names).size, names.length, "an operation was accepted twice");
    }
  }
}

test(`clients converge in ${SEEDS} random histories`, () => {
  let [edits, moves] = [0, 0];
  for (let seed = 0; seed < SEEDS; seed += 1) {
    const run = new Run(seed);
    try {
      run.play();
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
    edits += run.edits;
    moves += run.moves;
  }
  assert.ok(edits > SEEDS * 20, `only ${edits} edits were made`);
  assert.ok(moves > SEEDS, `only ${moves} moves were made`);
});
