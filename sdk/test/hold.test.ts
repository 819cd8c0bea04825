import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Hold } from "../src/hold.ts";

function held(): { type(): void; ended: () => number; hold: Hold } {
  const root = new EventTarget();
  const ended = mock.fn();
  const hold = new Hold({ root: root as HTMLElement, composition: { isComposing: true } }, ended);
  return { type: () => void root.dispatchEvent(new Event("input")), ended: () => ended.mock.callCount(), hold };
}

test("hold: what waits is let in after three seconds without input, ten in all", () => {
  mock.timers.enable({ apis: ["setInterval", "Date"] });
  const quiet = held();
  quiet.hold.start();
  mock.timers.tick(2_900);
  quiet.type();
  mock.timers.tick(2_900);
  assert.equal(quiet.ended(), 0);
  mock.timers.tick(200);
  assert.equal(quiet.ended(), 1);
  quiet.hold.destroy();

  const busy = held();
  busy.hold.start();
  for (let count = 0; count < 55; count += 1) {
    mock.timers.tick(200);
    busy.type();
  }
  assert.equal(busy.ended(), 0, "not in the middle of a burst");
  mock.timers.tick(500);
  assert.ok(busy.ended() > 0);
  busy.hold.destroy();
  mock.timers.reset();
});
