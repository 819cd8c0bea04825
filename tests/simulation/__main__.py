"""python -m tests.simulation SEED          play one seed and print what happened
python -m tests.simulation FROM:TO      play many and print the seeds that fail
"""

import sys
import time

from tests.simulation.world import play


def main(wanted: str) -> int:
    if ":" not in wanted:
        outcome = play(int(wanted))
        print("\n".join(outcome.lines))
        print(f"seed {outcome.seed}: {outcome.violation or 'well'} ({outcome.digest}, {outcome.entries} entries)")
        return int(outcome.violation is not None)
    failed = []
    start, stop = map(int, wanted.split(":"))
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
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
