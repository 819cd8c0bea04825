"""Fuzzes the decoder of deltas, or the owner of a section.

    python -m tests.fuzz decode --seconds 3600
    python -m tests.fuzz submit --runs 100000 --seed 7
    python -m tests.fuzz decode --replay .fuzz/decode/crashes/crash-…

It begins with the corpus in tests/fuzz/corpus, and goes on with what it found before, in the folder .fuzz.
"""

import argparse
import importlib.util
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.fuzz.plants import PLANTS, planted
from tests.fuzz.targets import TARGETS

HOME: Final = Path(__file__).parent
ROOT: Final = HOME.parents[1]
SEEDS: Final = HOME / "corpus"
LONGEST: Final = {"decode": 4_096, "submit": 1_024}
# Of one input. What takes longer is reported like a crash.
SECONDS_AN_INPUT: Final = 20


def files_of(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(found for found in path.rglob("*") if found.is_file()) if path.is_dir() else [path]


def replay(target: str, paths: list[Path], plant: str | None = None) -> list[Path]:
    """Gives the target each file, without atheris; the files that it fails on."""
    failed = []
    with planted(plant):
        for path in files_of(paths):
            try:
                TARGETS[target](path.read_bytes())
            except Exception:  # whatever comes out of a target is what is looked for
                print(f"{path}:\n{traceback.format_exc()}")
                failed.append(path)
    return failed


def fuzz(
    target: str, folder: Path, limit: str, seed: int, seeds: Path, plant: str | None = None
) -> tuple[int, list[Path]]:
    """The fuzzer's exit code, and the crash files that it wrote."""
    found, crashes = folder / target / "corpus", folder / target / "crashes"
    for made in (found, crashes):
        made.mkdir(parents=True, exist_ok=True)
    before = set(crashes.iterdir())
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.fuzz.engine", target, plant or ""),
            *(limit, f"-seed={seed}", f"-max_len={LONGEST[target]}", f"-timeout={SECONDS_AN_INPUT}"),
            *(f"-dict={HOME / 'delta.dict'}", f"-artifact_prefix={crashes}/", "-print_final_stats=1"),
            *(str(found), str(seeds)),
        ],
        cwd=ROOT,
        check=False,
    )
    return done.returncode, sorted(set(crashes.iterdir()) - before)


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", choices=sorted(TARGETS))
    how_long = parser.add_mutually_exclusive_group()
    how_long.add_argument("--seconds", type=int, default=60, help="fuzz for so long (default: %(default)s)")
    how_long.add_argument("--runs", type=int, help="fuzz so many inputs instead")
    how_long.add_argument("--replay", type=Path, nargs="+", help="only run these files or folders, once, unfuzzed")
    parser.add_argument("--seed", type=int, default=0, help="0, the default: another one each time")
    parser.add_argument("--folder", type=Path, default=Path(".fuzz"), help="where finds go (default: %(default)s)")
    parser.add_argument("--seeds", type=Path, help="a corpus to begin with, instead of the committed one")
    parser.add_argument("--plant", choices=sorted(PLANTS), help="with this bug planted: to see the fuzzer find it")
    given = parser.parse_args()
    seeds = given.seeds or SEEDS / given.target
    if given.replay or importlib.util.find_spec("atheris") is None:
        if not given.replay:
            print("atheris cannot be imported here: this only runs the corpus.")
        paths = given.replay or [seeds]
        started = time.monotonic()
        failed = replay(given.target, paths, given.plant)
        count = sum(1 for _ in files_of(paths))
        print(f"{count} files in {time.monotonic() - started:.1f} s, {len(failed)} of them fail")
        raise SystemExit(bool(failed))
    limit = f"-max_total_time={given.seconds}" if given.runs is None else f"-runs={given.runs}"
    code, crashes = fuzz(given.target, given.folder.absolute(), limit, given.seed, seeds.absolute(), given.plant)
    for crash in crashes:
        print(f"Found: {crash}\n  to run it again: python -m tests.fuzz {given.target} --replay {crash}")
    if code and not crashes:
        print("The fuzzer itself has failed.")
    raise SystemExit(1 if crashes else code)


if __name__ == "__main__":
    main()
