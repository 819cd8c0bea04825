"""Measures our engine in the build that is imported; a process of its own, started by `benchmarks.engine`.

Its last line is one JSON object: seconds an operation under the names that the peers use too, and what proves that
both did the same work.
"""

import gc
import hashlib
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.engine.workloads import AT_ONCE, BEHIND, MERGES, SIZES, TRACES, read_lines
from coscribe.names import SectionKey
from coscribe.ot import DEFAULT_LIMITS, OWN_LIMITS, Content, Delta, History, Mainline, compose_all, decode
from coscribe.ot.build import ENGINE
from coscribe.section import Prepared, Section, SectionState, Submission, WindowLimits

WINDOW: Final = WindowLimits().entries
BATCH: Final = 20  # operations a commit, as under load
TRIM: Final = 64  # entries after which the window is cut down to its size again
NEWLINE: Final = Delta.replace(0, 0, "\n")
CHECKED: Final = 200  # merges after which our text is compared with that of quill-delta


def submit_all(raws: list[bytes], content: Content) -> None:
    """What an owner's engine does with an operation made on the newest revision: decode, check, apply, remember."""
    history = History(0)
    mainline = Mainline(content, history)
    for base, raw in enumerate(raws):
        mainline.accept(decode(raw, DEFAULT_LIMITS), base, DEFAULT_LIMITS)
        if base % TRIM == 0 and base >= WINDOW:
            history.drop_before(base - WINDOW)


def apply_all(deltas: list[Delta], content: Content) -> None:
    """What quill-delta's compose is to one who has the deltas at hand: here with every check."""
    for delta in deltas:
        content.apply(delta, DEFAULT_LIMITS)


def merge_all(deltas: list[Delta], behind: int, content: Content, remember: bool) -> float:
    """Seconds to merge operations that have not seen `behind` entries, the first of `deltas`: transform, check, apply.
    If they are remembered each is an entry for the next, and the oldest is forgotten."""
    history = History(0)
    mainline = Mainline(content, history)
    for base, delta in enumerate(deltas[:behind]):
        mainline.accept(delta, base)
    started = time.perf_counter()
    if remember:
        for base, delta in enumerate(deltas[behind:]):
            mainline.accept(delta, base, DEFAULT_LIMITS)
            history.drop_before(base)
    else:
        for delta in deltas[behind:]:
            content.apply(history.rebase(delta, 0), DEFAULT_LIMITS)
    return time.perf_counter() - started


def at_once(raws: list[bytes], seen_of_the_other: list[tuple[int, int]], content: Content) -> None:
    """Two authors, each on what it had seen. For each there is a window of what the other wrote and it had not seen, as
    that reads after all of its own: there it is rebased, and the window is taken on over it."""
    windows = [History(0), History(0)]
    for raw, (author, seen) in zip(raws, seen_of_the_other, strict=True):
        made = decode(raw, DEFAULT_LIMITS)
        window = windows[author]
        window.drop_before(seen)
        unseen = window.between(seen, window.revision)
        rebased = window.rebase(made, seen)
        window.truncate(seen)
        for entry in unseen:
            window.append(made.transform(entry, priority=True))
            made = entry.transform(made, priority=False)
        content.apply(rebased, DEFAULT_LIMITS)
        windows[1 - author].append(rebased)


def through_a_section(raws: list[bytes], text: Delta) -> None:
    """All that an owner does with operations of many clients but for the log and the sockets: each was made on what is
    committed, and BATCH of them are committed at once."""
    state = SectionState(Content(text.concat(NEWLINE)), 0, 0)
    section = Section(SectionKey("bench", "bench", "0"), 1, state, DEFAULT_LIMITS, WindowLimits())
    for number, raw in enumerate(raws, start=1):
        submission = Submission(f"c{number}", 1, section.committed_revision, "u", "writer", raw)
        outcome = section.submit(submission, number)
        assert isinstance(outcome, Prepared), outcome
        if number % BATCH == 0:
            section.freeze(str(number))
            section.committed()


def stepwise(mine: list[Delta], theirs: list[Delta]) -> list[Delta]:
    """The branch `mine`, rebased over the branch `theirs` one operation at a time."""
    rebased = []
    for delta in mine:
        after = []
        for other in theirs:
            after.append(delta.transform(other, priority=True))
            delta = other.transform(delta, priority=False)
        theirs = after
        rebased.append(delta)
    return rebased


def timed(run: Callable[[], object]) -> float:
    gc.collect()
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def speeds(folder: Path) -> tuple[dict[str, float], dict[str, str]]:
    seconds: dict[str, float] = {}
    proofs: dict[str, str] = {}
    for name in TRACES:
        raws = read_lines(folder / f"{name}.ops")
        content = Content(NEWLINE)
        content.keeps_newline = True
        seconds[f"submit {name}"] = timed(lambda raws=raws, content=content: submit_all(raws, content)) / len(raws)  # type: ignore[misc]
        assert content.delta() == decode((folder / f"{name}.end").read_bytes(), OWN_LIMITS).concat(NEWLINE), name
        content = Content(NEWLINE)
        deltas = [decode(raw) for raw in raws]
        seconds[f"apply {name}"] = timed(lambda deltas=deltas, content=content: apply_all(deltas, content)) / len(raws)  # type: ignore[misc]
    raws = read_lines(folder / "merge-100000.ops")
    text = Delta.replace(0, 0, (folder / "text-100000.txt").read_text())
    seconds["section"] = timed(lambda: through_a_section(raws, text)) / len(raws)
    raws = read_lines(folder / f"{AT_ONCE}.ops")
    seen = [tuple(pair) for pair in json.loads((folder / f"{AT_ONCE}.seen").read_text())]
    content = Content()
    seconds["at once"] = timed(lambda: at_once(raws, seen, content)) / len(raws)
    assert content.encode() == (folder / f"{AT_ONCE}.end").read_bytes(), AT_ONCE
    for size in SIZES:
        text = Delta.replace(0, 0, (folder / f"text-{size}.txt").read_text())
        deltas = [decode(raw) for raw in read_lines(folder / f"merge-{size}.ops")]
        for behind in BEHIND if size == 100_000 else BEHIND[:1]:
            for what, remember in (("merge", False), ("merge and remember", True)):
                name = f"{what} {size} {behind}"
                gc.collect()
                spent = merge_all(deltas[: behind + MERGES], behind, Content(text), remember)
                seconds[name] = spent / MERGES
                checked = Content(text)
                merge_all(deltas[: behind + CHECKED], behind, checked, remember)
                proofs[name] = hashlib.sha256(checked.text().encode()).hexdigest()
    mine, theirs = ([decode(raw) for raw in read_lines(folder / f"offline-{side}.ops")] for side in (1, 2))
    seconds["offline composed"] = timed(lambda: compose_all(theirs).transform(compose_all(mine), priority=False))
    seconds["offline stepwise"] = timed(lambda: stepwise(mine, theirs))
    return seconds, proofs


def memory(folder: Path) -> dict[str, float]:
    """Bytes, as Python's own allocator counts them: the content after all edits, and an entry remembered."""
    found: dict[str, float] = {}
    for name in TRACES:
        raws = read_lines(folder / f"{name}.ops")
        content = Content()
        tracemalloc.start()
        for raw in raws:
            content.apply(decode(raw, OWN_LIMITS))
        gc.collect()
        found[name] = tracemalloc.get_traced_memory()[0] / content.length
        tracemalloc.stop()
    raws = read_lines(folder / "automerge-paper.ops")[:50_000]
    history = History(0)
    tracemalloc.start()
    for raw in raws:
        history.append(decode(raw))
    gc.collect()
    found["entry"] = tracemalloc.get_traced_memory()[0] / len(raws)
    tracemalloc.stop()
    return found


def main() -> None:
    folder = Path(sys.argv[2])
    if sys.argv[1] == "memory":
        print(json.dumps({"engine": ENGINE, "memory": memory(folder)}))
    else:
        seconds, proofs = speeds(folder)
        print(json.dumps({"engine": ENGINE, "seconds": seconds, "proofs": proofs}))


if __name__ == "__main__":
    main()
