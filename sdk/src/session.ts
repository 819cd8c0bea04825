/**
 * The client's side of a document: a state machine without I/O, timers or randomness. What happens goes in as calls
 * with the time in milliseconds; what is to be sent, shown and told comes out as data. An entry is skipped by itself:
 * at or below the revision of its section it was read before, one further on shows a gap.
 */

import Delta from "quill-delta";

import { Chain } from "./chain.ts";
import { checked, difference, shifted } from "./delta.ts";
import { ProtocolError } from "./errors.ts";
import { decodeFrame, SPOKEN, VERSION } from "./messages.ts";
import type { Hello, PresenceState, ServerMessage, Snapshot, Welcome } from "./messages.ts";
import { Output } from "./output.ts";
import { Roster } from "./roster.ts";
import type { Peer } from "./roster.ts";
import type { Section, Turn } from "./section.ts";

interface SessionTurn extends Turn {
  readonly output: Output;
}

/** A resume that missed nothing may be answered by nothing; the heads that follow a ping end it. */
const QUIET_RESUME_MS = 2_000;

export class Session {
  client: string;
  welcome: Welcome | null = null;
  /** On this connection, everything that was missed has been read. */
  synced = false;
  private readonly chain = new Chain();
  private readonly roster = new Roster();
  private cseq = 0;
  private incarnation: string | null = null;
  private live = false;
  private needsNewId = false;
  /** This connection is given up; what still comes from it is not read. */
  private left = false;
  private pingAtMs: number | null = null;
  private presence: PresenceState | null = null;
  private shown = new Delta();

  constructor(client: string) {
    this.client = client;
  }

  /** The document as it reads here, pending edits included. After a fork the old one, until a new one has come. */
  get contents(): Delta {
    return this.joined ? this.chain.contents : this.shown;
  }

  get joined(): boolean {
    return this.chain.complete;
  }

  get hasPending(): boolean {
    return this.chain.all.some(({ copy }) => copy.hasPending);
  }

  get revisions(): Record<string, number> {
    return Object.fromEntries(this.chain.all.map(({ copy }) => [copy.id, copy.revision]));
  }

  get others(): Peer[] {
    return this.roster.others(this.client, this.chain.copies);
  }

  /** When `due` will have something to do; null if never, as things stand. */
  get wakeAtMs(): number | null {
    const times = [this.pingAtMs, ...this.chain.all.map(({ wakeAtMs }) => wakeAtMs)].filter((time) => time !== null);
    return this.live && times.length > 0 ? Math.min(...times) : null;
  }

  /** The first message on a new connection. `spareId` is used where the client id turned out not to be ours alone. */
  hello(spareId: string): Hello {
    this.left = false;
    if (this.needsNewId) {
      this.client = spareId;
      this.cseq = 0;
      this.needsNewId = false;
    }
    return this.greeting();
  }

  /**
   * Whether a second connection can resume beside this one. Until every section is here it could not: it would be sent
   * them all from the start, by another server that has its own to do.
   */
  get movable(): boolean {
    return this.live && this.joined && !this.needsNewId;
  }

  /** The hello for a second connection. Nothing changes: this one goes on until `switched`. */
  helloBeside(): Hello {
    return this.greeting();
  }

  private greeting(): Hello {
    const hello: Hello = { t: "hello", v: VERSION, client: this.client };
    if (this.incarnation === null || !this.joined) return hello;
    const stands = ({ copy }: Section): [string, [number, number]] => [copy.id, [copy.revision, copy.epochs.latest]];
    return {
      ...hello,
      resume: { incarnation: this.incarnation, sections: Object.fromEntries(this.chain.all.map(stands)) },
    };
  }

  /**
   * The second connection has welcomed us by this frame: from here on there is only that one. It sends all that follows
   * its hello. So what was read here since then is skipped when it comes again, what was asked for here is not asked
   * again, and what is in flight, acknowledged there or not, is sent again. Nobody sees it: what was synced is synced.
   */
  switched(frame: string, nowMs: number): Output {
    return this.turn(nowMs, (turn) => {
      const [welcome, ...rest] = decodeFrame(frame);
      if (welcome?.t !== "welcome") throw new ProtocolError("a second connection begins with a welcome");
      this.readWelcome(welcome, turn, true);
      for (const message of rest) if (!this.left) this.read(message, turn);
    });
  }

  /** The connection is gone. What is in flight stays so: it may have been accepted. */
  lost(): void {
    this.live = this.synced = false;
  }

  receive(frame: string, nowMs: number): Output {
    return this.turn(nowMs, (turn) => {
      for (const message of decodeFrame(frame)) if (!this.left) this.read(message, turn);
    });
  }

  /** Raises RangeError for a change that the server would refuse; then nothing has happened. */
  edit(delta: Delta, nowMs: number): { output: Output; delta: Delta } {
    if (!this.joined) throw new Error("the document has not been read yet");
    const tidy = checked(delta, this.contents);
    this.chain.edit(tidy);
    return { output: this.turn(nowMs, () => {}), delta: tidy };
  }

  /** `null` leaves: the others are told that nobody is here. */
  setPresence(state: PresenceState | null, nowMs: number): Output {
    this.presence = state;
    return this.turn(nowMs, (turn) => this.say(turn));
  }

  due(nowMs: number): Output {
    return this.turn(nowMs, (turn) => {
      if (!this.live) return;
      for (const section of this.chain.all) section.due(turn);
      if (this.pingAtMs !== null && this.pingAtMs <= nowMs) {
        this.pingAtMs = nowMs + QUIET_RESUME_MS;
        turn.send({ t: "ping" });
      }
    });
  }

  /** The server says that the history read here is not its own: edits are kept aside, the document is read anew. */
  fork(nowMs: number): Output {
    return this.turn(nowMs, (turn) => turn.forked());
  }

  /** We come as another user from now on, to whom the client id does not belong. */
  newUser(nowMs: number): Output {
    return this.turn(nowMs, (turn) => {
      this.needsNewId = true;
      // What is in flight may have been accepted, and cannot be asked about any more.
      if (this.chain.all.some(({ copy }) => copy.inFlight)) this.setAside(turn);
    });
  }

  private read(message: ServerMessage, turn: SessionTurn): void {
    const section = "s" in message ? this.chain.get(message.s) : undefined;
    switch (message.t) {
      case "welcome":
        return this.readWelcome(message, turn);
      case "snapshot":
        return this.readSnapshot(message, turn);
      case "entries":
        return section?.read(message, turn);
      case "catchup":
        return section?.readCaughtUp(message, turn);
      case "head":
        return section?.readHead(message, turn);
      case "acked":
        return section ? section.readAcked(message, turn) : turn.seenCseq(message.cseq);
      case "nack":
        return section?.readNack(message, turn);
      case "lagging":
        return section?.readLagging(message.rev, turn);
      case "pong":
        return this.chain.all.forEach((each) => each.readPong());
      case "presence":
        this.roster.merge(message.p, this.client, this.chain);
        return void turn.output.events.push({ kind: "presence" });
      case "move":
        return void turn.output.events.push({ kind: "move", within_s: message.within_s });
      case "expiring":
        return void turn.output.events.push({ kind: "expiring", at: message.at });
      case "error":
        return void turn.output.events.push({ kind: "error", code: message.code, message: message.message });
    }
  }

  private readWelcome(welcome: Welcome, turn: SessionTurn, beside = false): void {
    if (!SPOKEN.includes(welcome.v)) throw new ProtocolError(`version ${welcome.v} of the protocol is not known here`);
    if (this.incarnation !== null && this.incarnation !== welcome.incarnation) return turn.forked();
    if (!this.joined) this.chain.clear();
    this.incarnation = welcome.incarnation;
    this.welcome = welcome;
    this.live = true;
    this.synced &&= beside;
    this.roster.expectAll();
    this.chain.expect(welcome.sections);
    turn.output.events.push({ kind: "welcome", welcome });
    for (const section of this.chain.all) section.resume(turn, beside);
    if (!this.synced) this.pingAtMs = turn.nowMs + QUIET_RESUME_MS;
    this.roster.unsay(this.client);
    this.say(turn);
  }

  private readSnapshot(message: Snapshot, turn: SessionTurn): void {
    const before = this.contents;
    if (!this.chain.take(message, turn)) return;
    this.roster.restart(message.s, message.rev);
    if (this.joined) turn.output.compose(difference(before, this.contents), "reset");
  }

  /** Says where we are, unless the others know it already: our own typing moves our cursor there too. */
  private say(turn: SessionTurn): void {
    if (!this.synced || !this.welcome) return;
    const message = this.roster.say(this.client, this.welcome.user, this.presence, this.chain);
    if (message) turn.send(message);
  }

  /** Pending edits cannot be sent any more; they are told of, and the document is read anew. */
  private setAside(turn: SessionTurn): void {
    if (this.joined) {
      if (this.hasPending) {
        const [delta, contents] = [this.chain.pending, this.chain.committed];
        const edit = { delta, contents, code: "fork", message: "the document went on without this edit" };
        turn.output.events.push({ kind: "parked", edit });
      }
      this.shown = this.chain.contents;
    }
    this.chain.clear();
    this.incarnation = null;
  }

  private leave(turn: SessionTurn): void {
    this.lost();
    this.left = true;
    turn.output.events.push({ kind: "rejoin" });
  }

  /** Runs one event to its end: what it made possible is sent, what it came to is returned. */
  private turn(nowMs: number, work: (turn: SessionTurn) => void): Output {
    const turn = this.newTurn(nowMs, new Output());
    try {
      work(turn);
      this.settle(turn);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.lost();
      turn.output.events.push({ kind: "broken", error });
    }
    return turn.output;
  }

  private settle(turn: SessionTurn): void {
    if (!this.live || !this.joined) return;
    if (!this.synced && this.chain.all.every(({ heard }) => heard)) {
      this.synced = true;
      this.pingAtMs = null;
      turn.output.events.push({ kind: "synced" });
      this.say(turn);
    }
    for (const section of this.chain.all) section.flush(turn);
  }

  private newTurn(nowMs: number, output: Output): SessionTurn {
    const turn: SessionTurn = {
      nowMs,
      output,
      client: this.client,
      maxOpBytes: this.welcome?.limits.op_bytes ?? Infinity,
      nextCseq: () => (this.cseq += 1),
      seenCseq: (cseq) => void (this.cseq = Math.max(this.cseq, cseq)),
      send: (message) => void output.send.push(message),
      advanced: ({ copy }, delta, author) => this.roster.advance(copy.id, copy.revision, delta, author),
      changed: (section, delta, source) => {
        if (this.joined) output.compose(shifted(delta, this.chain.before(section)), source);
      },
      parked: ({ copy }, refused, { code, message }) => {
        const edit = { delta: refused, contents: copy.committed, code, message };
        output.events.push({ kind: "parked", edit });
      },
      forked: () => {
        this.setAside(turn);
        this.leave(turn);
      },
      shared: (section) => {
        this.needsNewId = true;
        // The fate of what other sections have in flight is not known, and they cannot ask under another id.
        if (this.chain.all.some((other) => other !== section && other.copy.inFlight)) this.setAside(turn);
        if (!this.left) this.leave(turn);
      },
    };
    return turn;
  }
}
