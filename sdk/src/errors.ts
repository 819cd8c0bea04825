/** The peer broke the protocol. Nothing of the message that says so has been taken over. */
export class ProtocolError extends Error {
  override name = "ProtocolError";
}

/** The connection is over for good; `code` is the WebSocket close code. */
export class ClosedError extends Error {
  override name = "ClosedError";
  readonly code: number;

  constructor(code: number, reason: string) {
    super(reason || `the connection was closed with code ${code}`);
    this.code = code;
  }
}
