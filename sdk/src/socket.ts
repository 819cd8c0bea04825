/** One WebSocket from its opening to its close, watched: silence is asked about, and twice that silence ends it. */

import { SUBPROTOCOLS } from "./messages.ts";
import type { ClientMessage } from "./messages.ts";

const OPENING_TIMEOUT_MS = 20_000;
const ABNORMAL = 1006;

export interface SocketListener {
  opened(): void;
  frame(text: string): void;
  /** Once at most, and last. */
  closed(code: number, reason: string): void;
}

export class Socket {
  private readonly socket: WebSocket;
  private readonly listener: SocketListener;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private heartbeatMs = OPENING_TIMEOUT_MS / 2;
  private heardAtMs: number;
  private saidAtMs: number;
  /** Before the welcome a server takes hello and nothing else. */
  private welcomed = false;
  private over = false;

  constructor(url: string, webSocket: typeof WebSocket, listener: SocketListener) {
    this.listener = listener;
    this.heardAtMs = this.saidAtMs = Date.now();
    this.socket = new webSocket(url, SUBPROTOCOLS);
    this.socket.onopen = () => {
      this.heardAtMs = Date.now();
      if (!this.over) listener.opened();
    };
    this.socket.onmessage = ({ data }) => {
      this.heardAtMs = Date.now();
      if (!this.over) listener.frame(String(data));
    };
    this.socket.onclose = ({ code, reason }) => this.end(code, reason);
    this.watch();
  }

  send(message: ClientMessage): void {
    if (this.socket.readyState !== 1) return;
    this.saidAtMs = Date.now();
    this.socket.send(JSON.stringify(message));
  }

  welcome(heartbeatS: number): void {
    this.heartbeatMs = heartbeatS * 1000;
    this.welcomed = true;
    this.watch();
  }

  /** Asks whether the other side is still there, after a sleep or a change of the network. */
  probe(): void {
    this.send({ t: "ping" });
  }

  /** Nothing is heard of it any more. */
  close(): void {
    this.over = true;
    clearTimeout(this.timer);
    this.socket.close(1000);
  }

  private end(code: number, reason: string): void {
    clearTimeout(this.timer);
    if (this.over) return;
    this.over = true;
    this.listener.closed(code, reason);
  }

  /** The server, too, closes on silence: who only listens must still say something. */
  private watch(): void {
    clearTimeout(this.timer);
    const nowMs = Date.now();
    if (nowMs - this.heardAtMs >= 2 * this.heartbeatMs) {
      this.socket.close();
      this.end(ABNORMAL, "the server is silent");
      return;
    }
    if (this.welcomed && nowMs - Math.min(this.heardAtMs, this.saidAtMs) >= this.heartbeatMs) this.probe();
    const next = Math.min(this.heartbeatMs - (nowMs - this.saidAtMs), 2 * this.heartbeatMs - (nowMs - this.heardAtMs));
    this.timer = setTimeout(() => this.watch(), Math.max(next, this.heartbeatMs / 8));
  }
}
