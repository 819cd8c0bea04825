/**
 * A stand-in for the router and all that is behind it, to look at the page while working on it: documents live in
 * memory. `npm run dev`, then open the address it prints. Never shipped.
 */

import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

import Delta from "quill-delta";
// @ts-expect-error ws carries no types
import { WebSocketServer } from "ws";

import { ModelServer } from "../test/model.ts";

const STATIC = fileURLToPath(new URL("../../router/static", import.meta.url));
const TYPES: Record<string, string> = { ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: https:; object-src 'none'";

interface Peer {
  send(text: string): void;
  close(code: number, reason?: string): void;
  on(event: "message" | "close", listener: (data: Buffer) => void): void;
}

class Room {
  readonly server = new ModelServer([new Delta().insert("\n")], randomUUID());
  readonly presence: Record<string, unknown> = {};
  readonly peers = new Set<Peer>();

  tell(message: object): void {
    for (const peer of this.peers) peer.send(JSON.stringify(message));
  }
}

const rooms = new Map<string, Room>();

function enter(id: string, peer: Peer, user: { id: string; name: string }): void {
  const room = rooms.get(id) ?? new Room();
  rooms.set(id, room);
  room.peers.add(peer);
  const session = room.server.connect((message) =>
    peer.send(JSON.stringify("user" in message ? { ...message, user } : message)),
  );
  let client = "";
  peer.on("message", (data) => {
    const message = JSON.parse(String(data));
    if (message.t === "hello") client = message.client;
    if (message.t === "presence")
      room.tell({ t: "presence", p: { [client]: (room.presence[client] = { ...message, user }) } });
    else session.read(message);
    if (message.t === "hello") peer.send(JSON.stringify({ t: "presence", p: room.presence }));
  });
  peer.on("close", () => {
    room.peers.delete(peer);
    room.server.disconnect(session);
    delete room.presence[client];
    room.tell({ t: "presence", p: { [client]: null } });
  });
}

function guestOf(request: IncomingMessage): { id: string; name: string } | null {
  const found = /guest=([^;]+)/.exec(request.headers.cookie ?? "")?.[1];
  return found ? JSON.parse(decodeURIComponent(found)) : null;
}

async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = new URL(request.url ?? "/", "http://x").pathname;
  if (path === "/v1/auth/guest") {
    let body = "";
    for await (const chunk of request) body += chunk;
    const guest = encodeURIComponent(JSON.stringify({ id: randomUUID(), name: JSON.parse(body).name }));
    response.writeHead(201, { "Set-Cookie": `guest=${guest}; Path=/; HttpOnly; SameSite=Strict` }).end("{}");
  } else if (path === "/") {
    response.writeHead(302, { Location: `/d/${randomUUID()}` }).end();
  } else {
    const file = path.startsWith("/static/") ? normalize(path.slice(8)) : "index.html";
    const type = TYPES[extname(file)] ?? "text/html; charset=utf-8";
    const body = await readFile(join(STATIC, file)).catch(() => null);
    response.writeHead(body ? 200 : 404, { "Content-Type": type, "Content-Security-Policy": POLICY }).end(body);
  }
}

const port = Number(process.env["PORT"] ?? 8765);
const http = createServer((request, response) => void serve(request, response));
const sockets = new WebSocketServer({ server: http, handleProtocols: () => "coscribe.v1" });
sockets.on("connection", (peer: Peer, request: IncomingMessage) => {
  const user = guestOf(request);
  const id = /^\/v1\/documents\/([\w-]+)\/socket/.exec(request.url ?? "")?.[1];
  if (!user) peer.close(4401);
  else if (!id) peer.close(4404);
  else enter(id, peer, user);
});
http.listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${port}/ (process ${process.pid})`));
