"""An operation that is far behind passes whole runs of entries by position maps: as if it had passed one by one."""

import random
from collections.abc import Callable

import pytest

from coscribe.ot import Delta, History
from coscribe.ot.delta import compose_all
from coscribe.ot.history import FAR, LONGEST, NO_MAP, PIECES, RUN
from tests.ot.cases import Cases, Document, units_of
from tests.ot.test_history import history_of, step_by_step

Life = tuple[list[Delta], list[int]]
"""Entries, and the length of the document before each and after the last."""


def plain_life(rng: random.Random, count: int, length: int = 40) -> Life:
    """Single inserts and deletes all over a short document, so that pieces meet and vanish."""
    cases = Cases(rng)
    entries, lengths = [], [length]
    for _ in range(count):
        entry = Delta.from_quill(cases.plain_change(lengths[-1]))
        if lengths[-1] + entry.by < 5:
            entry = Delta.replace(0, 0, "z" * 30)
        entries.append(entry)
        lengths.append(lengths[-1] + entry.by)
    return entries, lengths


def mixed_life(rng: random.Random, count: int) -> Life:
    """Every tenth entry has several components, with formats and embeds."""
    entries, lengths = plain_life(rng, count)
    cases = Cases(rng)
    for number in range(0, count, 10):
        length = lengths[number]
        document: Document = []
        while units_of(document) < length:
            document += cases.document()
        while units_of(document) > length:
            document.pop()
        operations, _ = cases.change(document, rest=0.1)
        entry = Delta.from_quill(operations)
        entries[number] = entry
        # What follows was made for another length: only those places that are there are used again.
        lengths[number + 1] = length + entry.length_change
        for later in range(number + 1, min(number + 10, count)):
            here = lengths[later]
            entries[later] = (
                Delta.replace(rng.randint(0, here), 0, "m")
                if rng.random() < 0.6 or here < 9
                else (Delta.replace(rng.randint(0, here - 4), rng.randint(1, 4), ""))
            )
            lengths[later + 1] = here + entries[later].by
    return entries, lengths


def late_deltas(length: int) -> list[Delta]:
    """A plain insert at every place, a plain delete of every range up to some length, and both at once."""
    late = [Delta.replace(at, 0, "new") for at in range(length + 1)]
    for size in (1, 2, 5, 17):
        late += [Delta.replace(at, size, text) for at in range(length - size + 1) for text in ("", "new")]
    return late


@pytest.mark.parametrize("make", [plain_life, mixed_life])
@pytest.mark.parametrize("count", [FAR, 100, LONGEST + 60, 2 * LONGEST + 30])
def test_every_position_goes_where_it_goes_step_by_step(make: Callable[[random.Random, int], Life], count: int) -> None:
    rng = random.Random(count)
    entries, lengths = make(rng, count)
    history = history_of(entries)
    for base in (0, 1, RUN, count - FAR):
        for delta in late_deltas(lengths[base]):
            rebased = history.rebase(delta, base)
            assert rebased == step_by_step(delta, entries[base:]), (base, delta)
            again = Delta(rebased.components)
            assert (rebased.at, rebased.by, rebased.typed) == (again.at, again.by, again.typed)


def test_any_operation_far_behind() -> None:
    """With formats, embeds, several inserts and deletes in any order."""
    for seed in range(60):
        rng = random.Random(seed)
        cases = Cases(rng)
        documents = [cases.document(most=60)]
        entries: list[Delta] = []
        while len(entries) < rng.choice([FAR, 90, 300]):
            operations, after = cases.change(documents[-1], rest=rng.choice([0.3, 0.7, 0.9]))
            if len(after) < 80:
                entries.append(Delta.from_quill(operations))
                documents.append(after)
        history = history_of(entries)
        for base in (0, 1, 5, RUN, len(entries) // 2, len(entries) - RUN):
            late = Delta.from_quill(cases.change(documents[base], rest=0.15)[0])
            assert history.rebase(late, base) == step_by_step(late, entries[base:]), (seed, base)


def test_composing_the_entries_would_not_do() -> None:
    """What came and went is forgotten in a composed delta, so this is not a test of two ways to say the same."""
    entries = [Delta.replace(3, 5, ""), Delta.replace(3, 0, "new")]
    late = Delta.replace(5, 0, "X")
    assert step_by_step(late, entries) == Delta.replace(3, 0, "X")
    assert compose_all(entries).transform(late, priority=False) == Delta.replace(6, 0, "X")


def test_maps_follow_a_window_that_moves_and_is_cut_short() -> None:
    rng = random.Random(3)
    history, entries, lengths, start = History(0), [], [60], 0
    for number in range(3_000):
        length = lengths[-1]
        grows = rng.random() < (0.6 if length < 80 else 0.4)
        entry = (
            Delta.replace(rng.randint(0, length), 0, "ab")
            if grows or length < 9
            else (Delta.replace(rng.randint(0, length - 3), rng.randint(1, 3), ""))
        )
        history.append(entry)
        entries.append(entry)
        lengths.append(length + entry.by)
        if number % 97 == 0:
            start = max(start, len(entries) - 700)
            history.drop_before(start)
        if number % 411 == 0:
            keep = max(start, len(entries) - rng.randint(1, 300))
            history.truncate(keep)
            del entries[keep:], lengths[keep + 1 :]
        if number % 5 == 0:
            base = rng.randint(start, len(entries))
            here = lengths[base]
            late = Delta.replace(rng.randint(0, here), 0, "late")
            if here > 9 and rng.random() < 0.4:
                late = Delta.replace(rng.randint(0, here - 9), rng.randint(1, 9), "")
            assert history.rebase(late, base) == step_by_step(late, entries[base:])


def test_entries_of_very_many_components_have_no_map() -> None:
    """Their maps would take more memory than the entries."""
    wide = Delta.from_quill([{"retain": 1}, {"delete": 1}] * (PIECES * RUN) + [{"insert": "end"}])
    length = wide.base_length
    back = Delta.replace(0, 0, "x" * -wide.length_change)
    narrow = [Delta.replace(7, 0, "a"), Delta.replace(9, 1, "")]
    entries = narrow * RUN + [wide, back] * RUN + narrow * (2 * RUN)
    history = history_of(entries)
    for at in range(0, length, 37):
        for late in (Delta.replace(at, 0, "late"), Delta.replace(at, 5, ""), Delta.replace(at, 3, "both")):
            assert history.rebase(late, 0) == step_by_step(late, entries)
    assert any(found is NO_MAP for maps in history._maps for found in maps)


def test_formats_alone_leave_places_as_they_are() -> None:
    entries = [Delta.from_quill([{"retain": 4, "attributes": {"bold": True}}])] * (FAR + RUN)
    history = history_of(entries)
    for at in range(6):
        late = Delta.replace(at, 0, "x")
        assert history.rebase(late, 0) is late
