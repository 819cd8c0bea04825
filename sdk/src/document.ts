/**
 * A document on the network: the session's shell. It owns sockets and timers, hands everything to the session and does
 * what comes out. Edits are taken at any time once the document has been read; they are sent when there is a way.
 */

import Delta from "quill-delta";

import { Connector } from "./connector.ts";
import type { Settings } from "./connector.ts";
import { Emitter } from "./emitter.ts";
import type { ClosedError } from "./errors.ts";
import type { PresenceState, Role, User } from "./messages.ts";
import type { ChangeSource, Output, Parked, SessionEvent } from "./output.ts";
import type { Peer } from "./roster.ts";
import { Session } from "./session.ts";

export type Status = "connecting" | "connected" | "reconnecting" | "disconnected";

export interface DocumentEvents {
  status: [status: Status];
  /** Everything that was missed has been read. */
  synced: [];
  /** Whether there are edits that the server has not acknowledged. */
  pending: [hasPending: boolean];
  /** `origin` is what `apply` was given. */
  change: [delta: Delta, source: ChangeSource | "local", origin: unknown];
  presence: [];
  role: [role: Role];
  /** An edit was refused for good and taken back. */
  parked: [edit: Parked];
  error: [error: Error];
  /** For good. */
  closed: [error: ClosedError];
}

export class CoscribeDocument extends Emitter<DocumentEvents> {
  readonly id: string;
  readonly parked: Parked[] = [];
  status: Status = "connecting";
  closed: ClosedError | null = null;
  private readonly session: Session;
  private readonly connector: Connector;
  private wasPending = false;
  private presenceState: PresenceState | null = null;
  private dueTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(id: string, settings: Settings) {
    super();
    this.id = id;
    this.session = new Session(settings.newClientId());
    this.connector = new Connector(id, settings, {
      hello: () => this.session.hello(settings.newClientId()),
      frame: (text) => this.act(this.session.receive(text, Date.now())),
      movable: () => this.session.movable,
      helloBeside: () => this.session.helloBeside(),
      switched: (text) => this.act(this.session.switched(text, Date.now())),
      lost: () => this.lost(),
      newUser: () => this.act(this.session.newUser(Date.now())),
      forked: () => this.act(this.session.fork(Date.now())),
      failed: (error) => this.emit("error", error),
      ended: (error) => this.ended(error),
    });
    void this.connector.open("connect");
  }

  /** As it reads here, pending edits included. */
  get contents(): Delta {
    return this.session.contents;
  }

  /** The document has been read and may be edited, with or without a connection. */
  get joined(): boolean {
    return this.session.joined;
  }

  get synced(): boolean {
    return this.session.synced;
  }

  get hasPending(): boolean {
    return this.session.hasPending;
  }

  get revisions(): Record<string, number> {
    return this.session.revisions;
  }

  get clientId(): string {
    return this.session.client;
  }

  get role(): Role | null {
    return this.session.welcome?.role ?? null;
  }

  get user(): User | null {
    return this.session.welcome?.user ?? null;
  }

  readonly presence = {
    set: (state: PresenceState | null): void => {
      this.presenceState = state;
      this.act(this.session.setPresence(state, Date.now()));
    },
    get: (): PresenceState | null => this.presenceState,
    others: (): Peer[] => this.session.others,
  };

  /** Raises RangeError for a change that does not fit the document; then nothing has happened. */
  apply(delta: Delta, origin?: unknown): void {
    if (this.closed) throw this.closed;
    if (this.role === "reader") throw new Error("this document is read only");
    const edit = this.session.edit(delta, Date.now());
    this.emit("change", edit.delta, "local", origin);
    this.act(edit.output);
  }

  whenSynced(): Promise<void> {
    return this.when("synced", () => this.synced);
  }

  /** Until everything typed here is acknowledged, durably. */
  whenSettled(): Promise<void> {
    return this.when("pending", () => this.joined && !this.hasPending);
  }

  close(): void {
    this.connector.end(1000, "closed here");
  }

  private when(event: "synced" | "pending", isSo: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      if (isSo()) return resolve();
      if (this.closed) return reject(this.closed);
      const ends = [
        this.on(event, () => isSo() && done(resolve)),
        this.on("synced", () => isSo() && done(resolve)),
        this.on("closed", (error) => done(() => reject(error))),
      ];
      const done = (settle: () => void) => {
        ends.forEach((end) => end());
        settle();
      };
    });
  }

  private lost(): void {
    this.session.lost();
    this.setStatus("reconnecting");
  }

  private ended(error: ClosedError): void {
    this.closed = error;
    this.session.lost();
    clearTimeout(this.dueTimer);
    this.setStatus("disconnected");
    this.emit("closed", error);
  }

  private act(output: Output): void {
    for (const message of output.send) this.connector.send(message);
    if (output.change) this.emit("change", output.change.delta, output.change.source, undefined);
    for (const event of output.events) this.tell(event);
    if (this.wasPending !== this.hasPending) this.emit("pending", (this.wasPending = this.hasPending));
    clearTimeout(this.dueTimer);
    const { wakeAtMs } = this.session;
    if (wakeAtMs === null || this.closed) return;
    this.dueTimer = setTimeout(() => this.act(this.session.due(Date.now())), Math.max(0, wakeAtMs - Date.now()));
  }

  private tell(event: SessionEvent): void {
    switch (event.kind) {
      case "welcome":
        this.connector.welcomed(event.welcome.heartbeat_s);
        this.emit("role", event.welcome.role);
        return this.setStatus("connected");
      case "synced":
        this.connector.settled();
        return this.emit("synced");
      case "presence":
        return this.emit("presence");
      case "parked":
        this.parked.push(event.edit);
        return this.emit("parked", event.edit);
      case "rejoin":
        this.setStatus("reconnecting");
        return this.connector.rejoin();
      case "move":
        return this.connector.move(event.within_s);
      case "expiring":
        return void this.connector.renew();
      case "error":
        return this.emit("error", new Error(`${event.code}: ${event.message}`));
      case "broken":
        this.emit("error", event.error);
        return this.connector.end(4400, event.error.message);
    }
  }

  private setStatus(status: Status): void {
    if (status === this.status) return;
    this.status = status;
    this.emit("status", status);
  }
}
