"""Play seeds of the simulation: one with its whole story, or many with the seeds that fail."""

import argparse
import random
import sys
import time

from tests.simulation.plan import draw_plan
from tests.simulation.shrink import shrink
from tests.simulation.world import Outcome, play


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seeds", nargs="?", metavar="SEED or FROM:TO", help="one seed, or many: 0:1000")
    parser.add_argument("--seed", type=int, help="one seed")
    parser.add_argument("--shrink", action="store_true", help="look for a smaller run that fails too, and tell that")
    parser.add_argument("--frames", action="store_true", help="tell of each frame of a connection, and of each poll")
    given = parser.parse_args(arguments)
    wanted = str(given.seed) if given.seed is not None else given.seeds
    if wanted is None:
        parser.error("which seed?")
    if ":" in wanted:
        return _many(*map(int, wanted.split(":")))
    outcome = play(int(wanted))
    return _one(shrink(outcome) if given.shrink and outcome.violation else outcome, given.frames)


def _one(outcome: Outcome, frames: bool) -> int:
    print("\n".join(outcome.lines if frames else outcome.story))
    if outcome.plan != draw_plan(random.Random(f"{outcome.seed}/plan")):
        print(f"shrunk to {outcome.plan}")
    print(f"seed {outcome.seed}: {outcome.violation or 'well'} ({outcome.digest}, {outcome.entries} entries)")
    return int(outcome.violation is not None)


def _many(start: int, stop: int) -> int:
    failed = []
    began = time.monotonic()
    for seed in range(start, stop):
        outcome = play(seed)
        if outcome.violation:
            failed.append(seed)
            print(f"seed {seed}: {outcome.violation}", flush=True)
    took = time.monotonic() - began
    print(f"{stop - start} seeds, {len(failed)} failed: {failed}; {(stop - start) / took:.1f} seeds a second")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
