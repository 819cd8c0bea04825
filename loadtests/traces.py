"""Recorded editing histories, as steps that a client can type. Formats: docs/load-testing.md, "Traces".

A linear history is one author's, or several authors' in one order. A concurrent one says for each transaction which
others its author had seen; positions are relative to the merge of those.
"""

import gzip
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from coscribe.ot import Delta

Patches = list[tuple[int, int, str]]
"""(position, units deleted, text inserted), each against the text that the one before it left."""


class TraceError(ValueError):
    """Not a trace. The text says why."""


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction. `seen[author]` counts the transactions of each author that its own author had seen.

    A plain step has patches in code points, a rich one its delta."""

    author: int
    seen: tuple[int, ...]
    time_s: float
    patches: Patches
    delta: Delta | None

    def against(self, text: str) -> Delta:
        """The step as a delta of the text it was typed into (code points); needed where a character is not a unit."""
        if self.delta is not None:
            return self.delta
        delta = Delta()
        for position, deleted, inserted in self.patches:
            before, gone = text[:position], text[position : position + deleted]
            delta = delta.compose(Delta.replace(_units(before), _units(gone), inserted))
            text = before + inserted + text[position + deleted :]
        return delta

    def plain(self) -> Delta:
        """The same where every character is one unit."""
        if self.delta is not None:
            return self.delta
        delta = Delta()
        for position, deleted, inserted in self.patches:
            delta = delta.compose(Delta.replace(position, deleted, inserted))
        return delta


@dataclass(frozen=True, slots=True)
class Trace:
    """`end` is the final document, its own newline included. `at_once`: the authors typed at one time.
    `astral`: positions are not units everywhere."""

    name: str
    authors: int
    at_once: bool
    steps: tuple[Step, ...]
    end: Delta
    astral: bool


def read_trace(path: Path) -> Trace:
    """Read a `.json` or `.json.gz` trace. Raises TraceError."""
    name = path.name.removesuffix(".gz").removesuffix(".json")
    try:
        raw = path.read_bytes()
        found = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
        return _trace(name, found)
    except OSError as error:
        raise TraceError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise TraceError(f"{path} is not a trace: {type(error).__name__} {error}") from None


def _trace(name: str, found: dict[str, Any]) -> Trace:
    if "end" in found:
        newline = Delta.replace(0, 0, "\n")
        steps = tuple(
            Step(0, (index,), index * PACE_S, [], Delta.from_quill(operations))
            for index, operations in enumerate(found["txns"])
        )
        return Trace(name, 1, False, steps, newline.compose(Delta.from_quill(found["end"])), astral=False)
    text = found["endContent"]
    concurrent = found.get("kind") == "concurrent"
    steps = tuple(_concurrent_steps(found) if concurrent else _linear_steps(found))
    astral = not all(_is_plain(inserted) for step in steps for _, _, inserted in step.patches)
    authors = int(found["numAgents"]) if concurrent else 1
    return Trace(name, authors, concurrent, steps, Delta.replace(0, 0, text + "\n"), astral)


PACE_S: Final = 0.125
"""Between two transactions of a history without times: a fast typist's eight characters a second."""


def _linear_steps(found: dict[str, Any]) -> list[Step]:
    steps = []
    start = found.get("startContent", "")
    if start:
        steps.append(Step(0, (0,), 0.0, [(0, 0, start)], None))
    times = [_time_s(transaction.get("time")) for transaction in found["txns"]]
    timed = len(set(times)) > 1
    for index, transaction in enumerate(found["txns"]):
        time_s = times[index] - times[0] if timed else index * PACE_S
        patches = [(position, deleted, text) for position, deleted, text in transaction["patches"]]
        steps.append(Step(0, (len(steps),), time_s, patches, None))
    return steps


def _concurrent_steps(found: dict[str, Any]) -> list[Step]:
    authors = int(found["numAgents"])
    if authors > 2:
        raise TraceError(f"{authors} authors at once: only histories of two can be replayed as they were typed")
    clocks: list[tuple[int, ...]] = []  # of each transaction, itself included
    typed = [0] * authors
    steps = []
    for transaction in found["txns"]:
        author = transaction["agent"]
        parents = [clocks[parent] for parent in transaction["parents"]] or [(0,) * authors]
        seen = tuple(max(column) for column in zip(*parents, strict=True))
        if seen[author] != typed[author]:
            raise TraceError(f"author {author} typed without having seen their own last transaction")
        patches = [(position, deleted, text) for position, deleted, text in transaction["patches"]]
        steps.append(Step(author, seen, typed[author] * PACE_S, patches, None))
        typed[author] += 1
        clocks.append(tuple(count + (index == author) for index, count in enumerate(seen)))
    return steps


def _time_s(time: str | None) -> float:
    return datetime.fromisoformat(time).timestamp() if time else 0.0


def _units(text: str) -> int:
    return len(text) + sum(character > "\uffff" for character in text)


def _is_plain(text: str) -> bool:
    return text.isascii() or max(text) <= "\uffff"
