"""Rebasing through the window is transforming over each entry in turn; the integers only make it fast."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coscribe.ot import Content, Delta, History
from tests.ot.cases import Cases, units_of

randoms = st.randoms(use_true_random=False)


def step_by_step(delta: Delta, entries: list[Delta]) -> Delta:
    for entry in entries:
        delta = entry.transform(delta, priority=False)
    return delta


def history_of(entries: list[Delta], start: int = 0) -> History:
    history = History(start)
    for entry in entries:
        history.append(entry)
    return history


def test_every_plain_operation_at_every_position() -> None:
    rng = random.Random(11)
    cases = Cases(rng)
    for _ in range(60):
        length, entries = 8, []
        for _ in range(rng.randint(1, 6)):
            entries.append(Delta.from_quill(cases.plain_change(length)))
            length += entries[-1].by
        history = history_of(entries)
        late = [Delta.replace(at, 0, "new") for at in range(9)]
        late += [Delta.replace(at, size, "") for at in range(8) for size in range(1, 9 - at)]
        late += [Delta.replace(at, 1, "new") for at in range(8)]
        for delta in late:
            assert history.rebase(delta, 0) == step_by_step(delta, entries)


@given(randoms)
def test_any_operation_over_any_entries(rng: random.Random) -> None:
    cases = Cases(rng)
    document = cases.document()
    late = Delta.from_quill(cases.change(document)[0])
    entries = []
    for _ in range(rng.randint(0, 8)):
        operations, document = cases.change(document)
        entries.append(Delta.from_quill(operations))
    start = rng.randint(0, 5)
    history = history_of([Delta.replace(0, 0, "before")] * 3 + entries, start)
    rebased = history.rebase(late, start + 3)
    assert rebased == step_by_step(late, entries)
    # What it says of itself must be right too, for the next one is rebased over it.
    assert (rebased.at, rebased.by) == (Delta(rebased.components).at, Delta(rebased.components).by)


@given(randoms)
def test_plain_and_other_entries_in_turn(rng: random.Random) -> None:
    cases = Cases(rng)
    document = cases.document()
    late = Delta.from_quill(cases.plain_change(units_of(document)))
    length, entries = units_of(document), []
    for _ in range(rng.randint(1, 10)):
        if rng.random() < 0.7:
            entry = Delta.from_quill(cases.plain_change(length))
        else:
            at = rng.randint(0, length)
            entry = Delta.replace(at, rng.randint(0, length - at), "two")
        length += entry.length_change
        entries.append(entry)
    assert history_of(entries).rebase(late, 0) == step_by_step(late, entries)


@given(randoms)
def test_the_window_is_a_run_of_entries(rng: random.Random) -> None:
    """Against a plain list, through appends, trims and truncations."""
    history, entries, start = History(4), [], 4
    for number in range(rng.randint(1, 30)):
        verb = rng.random()
        if verb < 0.7:
            entries.append(Delta.replace(number, 0, "x"))
            history.append(entries[-1])
        elif verb < 0.9:
            revision = rng.randint(0, start + len(entries) + 2)
            history.drop_before(revision)
            gone = min(max(0, revision - start), len(entries))
            start, entries = start + gone, entries[gone:]
        else:
            revision = rng.randint(start, start + len(entries))
            history.truncate(revision)
            entries = entries[: revision - start]
        assert (history.start, history.revision) == (start, start + len(entries))
        after = rng.randint(start, history.revision)
        through = rng.randint(after, history.revision)
        assert history.between(after, through) == entries[after - start : through - start]
        late = Delta.replace(2, 0, "late")
        assert history.rebase(late, after) == step_by_step(late, entries[after - start :])


def test_dropped_entries_are_given_up() -> None:
    history = History(0)
    for number in range(5_000):
        history.append(Delta.replace(number, 0, "x"))
        history.drop_before(history.revision - 100)
    assert (history.start, history.revision) == (4_900, 5_000)
    assert len(history._bys) < 1_000
    assert history.rebase(Delta.replace(0, 0, "y"), 4_950) == Delta.replace(0, 0, "y")


@pytest.mark.parametrize("base", [9, 12])
def test_a_base_outside_the_window_is_our_own_mistake(base: int) -> None:
    history = history_of([Delta.replace(0, 0, "x")], start=10)
    with pytest.raises(AssertionError):
        history.rebase(Delta.replace(0, 0, "y"), base)


def test_the_later_operation_goes_left() -> None:
    history = history_of([Delta.replace(3, 0, "first")])
    assert history.rebase(Delta.replace(3, 0, "later"), 0) == Delta.replace(3, 0, "later")


class Typist:
    """A client of the Jupiter kind: one operation in flight, what is typed meanwhile in a buffer."""

    def __init__(self) -> None:
        self.revision = self.cursor = 0
        self.in_flight = self.buffer = Delta()

    def type(self, letter: str) -> None:
        self.buffer = self.buffer.compose(Delta.replace(self.cursor, 0, letter))
        self.cursor += 1

    def submit(self) -> Delta:
        self.in_flight, self.buffer = self.buffer, Delta()
        return self.in_flight

    def read(self, entry: Delta, own: bool) -> None:
        self.revision += 1
        if own:
            self.in_flight = Delta()
            return
        after_in_flight = self.in_flight.transform(entry, priority=True)
        self.in_flight = entry.transform(self.in_flight, priority=False)
        after_all = self.buffer.transform(after_in_flight, priority=True)
        self.buffer = after_in_flight.transform(self.buffer, priority=False)
        self.cursor = after_all.transform_position(self.cursor, priority=True)


@pytest.mark.parametrize("late", range(1, 7))
@pytest.mark.parametrize("head_start", range(3))
def test_two_typists_at_one_place_keep_their_words_whole(late: int, head_start: int) -> None:
    """Everything takes `late` strokes to arrive, either way; the second begins `head_start` strokes after the first."""
    words = {"ann": "hello", "bob": " " * head_start + "world"}
    typists = {name: Typist() for name in words}
    history, content, authors = History(0), Content(), []
    on_the_way: list[tuple[int, str, int, Delta]] = []
    for now in range(40 * late):
        for name, typist in typists.items():
            if now < len(words[name]) and words[name][now] != " ":
                typist.type(words[name][now])
            if typist.buffer and not typist.in_flight:
                on_the_way.append((now + late, name, typist.revision, typist.submit()))
        while on_the_way and on_the_way[0][0] <= now:
            _, author, base, delta = on_the_way.pop(0)
            history.append(history.rebase(delta, base))
            content.apply(history.between(history.revision - 1, history.revision)[0])
            authors.append((now + late, author))
        for name, typist in typists.items():
            while typist.revision < len(authors) and authors[typist.revision][0] <= now:
                entry = history.between(typist.revision, typist.revision + 1)[0]
                typist.read(entry, own=authors[typist.revision][1] == name)
    assert sorted([content.text()[:5], content.text()[5:]]) == ["hello", "world"]
