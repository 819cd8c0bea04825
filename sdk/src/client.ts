/** The way in: `new Client({ url }).open(documentId)`. */

import { CoscribeDocument } from "./document.ts";
import type { Credentials, Reason } from "./connector.ts";

export interface ClientOptions {
  /** Where the router is: http(s) or ws(s), with a path if it is not at the root. Default: where the page came from. */
  url?: string;
  /** Called before each connection, when the identity runs out, and once after a refusal. Without it: the cookie. */
  authenticate?: (reason: Reason, documentId: string) => Promise<Credentials | void>;
  /** 8 to 64 of A-Z, a-z, 0-9, _ and -: one editor session. By default a random one for each document opened. */
  newClientId?: () => string;
  webSocket?: typeof WebSocket;
  random?: () => number;
}

export class Client {
  private readonly options: ClientOptions;
  private readonly documents = new Set<CoscribeDocument>();

  constructor(options: ClientOptions = {}) {
    this.options = options;
  }

  open(id: string): CoscribeDocument {
    const { authenticate, webSocket, random, newClientId } = this.options;
    const document = new CoscribeDocument(id, {
      socketUrl: this.socketUrl(id),
      authenticate: authenticate ?? cookieOnly,
      webSocket: webSocket ?? WebSocket,
      random: random ?? Math.random,
      newClientId: newClientId ?? randomClientId,
    });
    this.documents.add(document);
    document.on("closed", () => this.documents.delete(document));
    return document;
  }

  destroy(): void {
    for (const document of this.documents) document.close();
  }

  private socketUrl(id: string): string {
    const url = new URL(this.options.url ?? globalThis.location.origin);
    url.protocol = url.protocol.replace("http", "ws");
    url.pathname = `${url.pathname.replace(/\/$/, "")}/v1/documents/${encodeURIComponent(id)}/socket`;
    return url.href;
  }
}

/** A cookie that was refused is not better the second time. */
async function cookieOnly(): Promise<void> {}

function randomClientId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(36).padStart(2, "0")).join("");
}
