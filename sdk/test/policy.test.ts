import assert from "node:assert/strict";
import { test } from "node:test";

import { afterClose, backoffMs, moveWaitMs, retryAfterMs } from "../src/policy.ts";

test("policy: each close code has its step", () => {
  const steps = {
    reconnect: [1001, 1005, 1006, 1011, 1012, 1013, 4429, 4508, 3000],
    stop: [1000, 4400, 4403, 4404, 4410, 4413, 4499],
  };
  for (const code of steps.reconnect) assert.equal(afterClose(code), "reconnect", String(code));
  for (const code of steps.stop) assert.equal(afterClose(code), "stop", String(code));
  assert.equal(afterClose(4401), "renew");
  assert.equal(afterClose(4409), "rejoin");
});

test("policy: full jitter below a cap, and the wait that the server names", () => {
  assert.deepEqual(
    [0, 1, 2, 6, 50].map((attempt) => backoffMs(attempt, 1)),
    [250, 500, 1000, 15_000, 15_000],
  );
  assert.equal(backoffMs(3, 0), 0);
  assert.equal(retryAfterMs('{"retry_after_s":2.5}'), 2500);
  for (const reason of ["", "no", "5", "null", '{"retry_after_s":"x"}']) assert.equal(retryAfterMs(reason), 0);
});

test("policy: the wait before a move is full jitter of a part of the time", () => {
  assert.deepEqual([moveWaitMs(10, 0), moveWaitMs(10, 0.5), moveWaitMs(10, 1)], [0, 2500, 5000]);
});
