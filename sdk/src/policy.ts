/** What a client does after a close, and how long it waits. Pure: chance is an argument. */

const BASE_MS = 250;
const CAP_MS = 15_000;

export type Step = "stop" | "reconnect" | "renew" | "rejoin";

/** Without an entry: 44xx is final, everything else is tried again. */
const STEPS: Record<number, Step> = {
  1000: "stop",
  4401: "renew",
  4409: "rejoin",
  4429: "reconnect",
};

export function afterClose(code: number): Step {
  return STEPS[code] ?? (code >= 4400 && code < 4500 ? "stop" : "reconnect");
}

/** Full jitter: a uniform wait, so that clients which lost a router together do not come back together. */
export function backoffMs(attempt: number, chance: number): number {
  return chance * Math.min(CAP_MS, BASE_MS * 2 ** attempt);
}

/** Of the time for a move: over the first half clients spread, the second is for those that must try again. */
const MOVE_SPREAD = 0.5;

/** Full jitter before the first try of a move: a router asks all its clients at once. */
export function moveWaitMs(withinS: number, chance: number): number {
  return chance * withinS * 1000 * MOVE_SPREAD;
}

/** A busy server names the wait in the close reason. */
export function retryAfterMs(reason: string): number {
  try {
    const seconds: unknown = JSON.parse(reason)?.retry_after_s;
    return typeof seconds === "number" && seconds >= 0 ? seconds * 1000 : 0;
  } catch {
    return 0;
  }
}
