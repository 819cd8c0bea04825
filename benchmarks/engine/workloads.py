"""What every engine is given: deltas in the compact wire form, one a line, made once a run and read by all.

Recorded histories where there are any, seeded random edits for the merges. Everything is kept in one folder.
"""

import json
import random
from pathlib import Path
from typing import Final

from coscribe.ot import Delta, encode
from loadtests.traces import Trace, read_trace

TRACES: Final = ("automerge-paper", "sveltecomponent", "friendsforever_flat", "rich-json-crdt-blog-post")
AT_ONCE: Final = "friendsforever"

# A merge is measured on this many entries that the operation has not seen …
BEHIND: Final = (10, 100, 1_000)
# … in documents of this many units: all three in the middle one, ten entries in the others.
SIZES: Final = (10_000, 100_000, 1_000_000)
MERGES: Final = 4_000
OFFLINE: Final = 1_000


def write(traces: Path, folder: Path) -> None:
    for name in TRACES:
        trace = read_trace(traces / f"{name}.json.gz")
        _lines(folder / f"{name}.ops", [encode(step.plain()) for step in trace.steps])
        (folder / f"{name}.end").write_bytes(encode(_end(trace)))
    at_once = read_trace(traces / f"{AT_ONCE}.json.gz")
    _lines(folder / f"{AT_ONCE}.ops", [encode(step.plain()) for step in at_once.steps])
    seen = [(step.author, step.seen[1 - step.author]) for step in at_once.steps]
    (folder / f"{AT_ONCE}.seen").write_text(json.dumps(seen))
    (folder / f"{AT_ONCE}.end").write_bytes(encode(_end(at_once)))
    for size in SIZES:
        (folder / f"text-{size}.txt").write_text(_text(random.Random(size), size))
        edits = _scattered(random.Random(1), size, MERGES + max(BEHIND))
        _lines(folder / f"merge-{size}.ops", [encode(edit) for edit in edits])
    for side in (1, 2):
        edits = _bursts(random.Random(side), 100_000, OFFLINE)
        _lines(folder / f"offline-{side}.ops", [encode(edit) for edit in edits])


def read_lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def _lines(path: Path, deltas: list[bytes]) -> None:
    path.write_bytes(b"\n".join(deltas))


def _end(trace: Trace) -> Delta:
    """The final document of a trace, without the newline that the product puts at its end."""
    return trace.end.slice(0, trace.end.length - 1)


def _text(rng: random.Random, size: int) -> str:
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(500)]
    text = ""
    while len(text) < size:
        text += " ".join(rng.choices(words, k=2_000)) + "\n"
    return text[:size]


def _scattered(rng: random.Random, size: int, count: int) -> list[Delta]:
    """Single edits of many people, anywhere in a document of `size` units: four inserts of a unit to one delete of up
    to five. All lie in its first nine tenths, so each can be made on any revision on the way."""
    edits = []
    for _ in range(count):
        at = rng.randrange(size * 9 // 10)
        edits.append(Delta.replace(at, rng.randint(1, 5), "") if rng.random() < 0.2 else Delta.replace(at, 0, "x"))
    return edits


def _bursts(rng: random.Random, size: int, count: int) -> list[Delta]:
    """One person's edits in a row: some twenty characters at a place, now and then one taken back, then elsewhere."""
    edits: list[Delta] = []
    while len(edits) < count:
        at = rng.randrange(size * 9 // 10)
        for _ in range(rng.randint(5, 35)):
            if rng.random() < 0.1 and at:
                at -= 1
                edits.append(Delta.replace(at, 1, ""))
            else:
                edits.append(Delta.replace(at, 0, rng.choice("abcdefgh ")))
                at += 1
    return edits[:count]
