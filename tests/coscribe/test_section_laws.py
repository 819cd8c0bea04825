"""What holds for a section whatever is submitted, committed and asked in whichever order.

A random history runs beside a model that is too simple to be wrong: the list of what is in the log, and the content
after each of it."""

import json
import random
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from coscribe.batch import LogEntry
from coscribe.ot import Content, Delta, InvalidDelta, Limits, decode
from coscribe.protocol import CaughtUp, decode_op_entry, decode_server_frame
from coscribe.section import Outcome, Prepared, Section, WindowLimits, newborn, replay
from tests.coscribe.sections import ANN, BOB, CAT, EPOCH, KEY, commit, committed, fingerprint, op, settle
from tests.ot.cases import Cases

CLIENTS = (ANN, BOB, CAT)
LIMITS = Limits(document_units=40)
WINDOW = WindowLimits(entries=6, min_age_ms=3)


@dataclass
class Run:
    """A section and its model. `contents[r]` is the content at revision r, as far as it is in the log."""

    rng: random.Random
    of: Section = field(default_factory=lambda: Section(KEY, EPOCH, newborn(), LIMITS, WINDOW))
    log: list[LogEntry] = field(default_factory=list)
    contents: list[Delta] = field(default_factory=lambda: [Delta.replace(0, 0, "\n")])
    cseqs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CLIENTS, 0))
    wanted: bool = False

    def step(self) -> None:
        kind = self.rng.random()
        if kind < 0.6:
            self.submit()
        elif kind < 0.75:
            self.of.freeze(f"batch {len(self.log)}")
        elif self.of.unanswered:
            batch = self.of.unanswered
            assert batch.base == len(self.log)
            self.of.committed()
            self.log += batch.entries
            for entry in batch.entries:
                delta = decode(bytes(decode_op_entry(entry.entry).delta))
                self.contents.append(self.contents[-1].compose(delta))
        self.look()

    def submit(self) -> None:
        client = self.rng.choice(CLIENTS)
        base = self.rng.randint(max(0, len(self.log) - 9), len(self.log) + 1)
        cseq = self.cseqs[client] + self.rng.choice([-2, -1, 0, 1, 1, 1])
        before = fingerprint(self.of)
        outcome = self.of.submit(op(self.delta(base), base, max(1, cseq), client), self.rng.randint(0, 20))
        if isinstance(outcome, Prepared):
            assert outcome.revision == self.of.revision
            self.cseqs[client] = max(1, cseq)
        else:
            assert fingerprint(self.of) == before, outcome

    def delta(self, base: int) -> list[Any]:
        if base > len(self.log) or self.rng.random() < 0.2:
            return [self.rng.randint(1, 9), self.rng.choice(["x", "y\n", -1, -3])]
        length = self.contents[base].length
        at = self.rng.randint(0, length - 1)
        part = self.rng.choice(["x", "\U0001f600", "é\n", -1, -2, {"retain": 1, "attributes": {"bold": True}}])
        return [at, part] if at else [part]

    def look(self) -> None:
        of = self.of
        assert of.committed_revision == len(self.log) <= of.revision
        assert of.window_start <= of.committed_revision
        after = self.rng.randint(of.window_start, len(self.log))
        assert of.entries_after(after, 99) == self.log[after:]
        composed = of.composed_after(after)
        assert composed is not None
        (message,) = decode_server_frame(composed[2])
        assert isinstance(message, CaughtUp)
        assert self.contents[after].compose(decode(bytes(message.delta))) == self.contents[-1]
        least = self.rng.randint(0, len(self.log))
        found = of.snapshot(least)
        if found is not None:
            assert least <= found.revision <= len(self.log)
            assert decode(found.content) == self.contents[found.revision]
        for client in CLIENTS:
            mine = [
                (decode_op_entry(entry.entry).cseq, entry.revision)
                for entry in self.log[of.window_start :]
                if decode_op_entry(entry.entry).client == client
            ]
            assert of.last_accepted(client) == (mine[-1] if mine else (0, 0))


@settings(max_examples=60)
@given(st.randoms(use_true_random=False))
def test_what_it_shows_is_what_is_in_the_log(rng: random.Random) -> None:
    run = Run(rng)
    for _ in range(25):
        run.step()
    settle(run.of)


@settings(max_examples=60)
@given(st.randoms(use_true_random=False))
def test_replaying_the_log_leads_to_its_content(rng: random.Random) -> None:
    run = Run(rng)
    for _ in range(25):
        run.step()
    entries, state = run.log, newborn()
    middle = rng.randint(0, len(entries))
    state = replay(replay(state, entries[:middle], 5), iter(entries[middle:]), 5)
    assert (state.revision, state.epoch) == (len(entries), EPOCH if entries else 0)
    assert state.content.delta() == run.contents[-1]
    assert state.recent == tuple(entries[-5:])
    times = [entry.time_ms for entry in entries]
    assert times == sorted(times)
    heir = Section(KEY, EPOCH + 1, state, LIMITS, WINDOW)
    assert committed(heir)[2] == state.content.encode()
    for client in CLIENTS:
        recent = [op for op in (decode_op_entry(entry.entry) for entry in state.recent) if op.client == client]
        assert heir.last_accepted(client)[0] == (recent[-1].cseq if recent else 0)


@given(st.randoms(use_true_random=False))
def test_rich_edits_from_any_base_are_rebased_step_by_step(rng: random.Random) -> None:
    """What is accepted is the operation transformed over each entry since its base, the later one going left."""
    cases = Cases(rng)
    of = Section(KEY, EPOCH, newborn(), Limits(), WindowLimits())
    documents, entries = [Delta.replace(0, 0, "\n")], list[Delta]()
    for number in range(6):
        base = rng.randint(0, len(entries))
        delta = _change(cases, documents[base])
        expected = delta
        for entry in entries[base:]:
            expected = entry.transform(expected, False)
        outcome: Outcome = of.submit(op(json.dumps(delta.to_quill()).encode(), base, 1, f"client-{number}"), 0)
        if not isinstance(outcome, Prepared):
            continue
        (logged,) = commit(of).entries
        accepted = decode(bytes(decode_op_entry(logged.entry).delta))
        assert accepted == expected
        entries.append(accepted)
        documents.append(documents[-1].compose(accepted))
        assert decode(committed(of)[2]) == documents[-1]


def _change(cases: Cases, document: Delta) -> Delta:
    """A random change that leaves the last unit alone."""
    while True:
        operations = cases.change([])[0]
        insert = Delta.from_quill(operations)
        at = cases.rng.randint(0, document.length - 1)
        delta = insert.shifted(at)
        if cases.rng.random() < 0.5 and at < document.length - 1:
            delta = Delta.replace(at, cases.rng.randint(1, document.length - 1 - at), "")
        elif cases.rng.random() < 0.3:
            delta = Delta.format(at, document.length - at, cases.attributes(0.4))
        try:
            Content.from_delta(document).check(delta)
        except InvalidDelta:
            continue
        return delta
