"""Sections, operations and what can be seen of them, for tests of the owner's state machine."""

import json
from copy import deepcopy
from typing import Any

from coscribe.batch import Batch, LogEntry
from coscribe.names import SectionKey
from coscribe.ot import Content, Delta, Limits, decode
from coscribe.protocol import NackCode, Role, decode_op_entry, op_entry
from coscribe.section import Outcome, Prepared, Refused, Section, SectionState, Submission, WindowLimits

KEY = SectionKey("notes", "life1", "0")
EPOCH = 7
ANN, BOB, CAT = "client-ann", "client-bob", "client-cat"


def section(
    text: str | list[Any] = "\n",
    revision: int = 0,
    *,
    limits: Limits | None = None,
    window: WindowLimits | None = None,
    right: str | None = None,
    sealed: str | None = None,
    recent: tuple[LogEntry, ...] = (),
) -> Section:
    components = [text] if isinstance(text, str) else text
    content = Content.from_delta(decode(json.dumps(components).encode()))
    epoch = recent[-1].epoch if recent else EPOCH - 1 if revision else 0
    state = SectionState(content, revision, epoch, right, sealed, recent)
    return Section(KEY, EPOCH, state, limits or Limits(), window or WindowLimits())


def op(delta: list[Any] | bytes, base: int = 0, cseq: int = 1, client: str = ANN, role: Role = "writer") -> Submission:
    raw = delta if isinstance(delta, bytes) else json.dumps(delta).encode()
    return Submission(client, cseq, base, f"user of {client}", role, raw)


def entry(revision: int, delta: list[Any], cseq: int, client: str = ANN, epoch: int = EPOCH - 1) -> LogEntry:
    return LogEntry(revision, epoch, 1000 + revision, "user", op_entry(client, cseq, json.dumps(delta).encode()))


def accept(of: Section, *ops: Submission, now_ms: int = 0) -> None:
    """Submit operations that must be accepted."""
    for each in ops:
        outcome = of.submit(each, now_ms)
        assert isinstance(outcome, Prepared), outcome


def commit(of: Section, batch_id: str = "b") -> Batch:
    batch = of.freeze(batch_id)
    assert batch is not None, "nothing waits"
    of.committed()
    return batch


def settle(of: Section) -> None:
    """Commit whatever is prepared."""
    if of.unanswered:
        of.committed()
    while of.freeze("settled"):
        of.committed()


def committed(of: Section) -> tuple[int, int, bytes]:
    """Committed content, with revision and epoch, of a section with nothing under way."""
    found = of.snapshot(of.committed_revision)
    assert found is not None, "something is under way"
    return found.revision, found.epoch, found.content


def prepared(of: Section) -> str:
    """The text with everything prepared."""
    copy = deepcopy(of)
    settle(copy)
    return decode(committed(copy)[2]).text()


def fingerprint(of: Section) -> tuple[object, ...]:
    """Everything that submitting may change, looked at without changing it."""
    copy = deepcopy(of)
    clients = (ANN, BOB, CAT)
    before = (copy.revision, copy.committed_revision, copy.committed_epoch, copy.window_start, copy.unanswered)
    accepted = tuple(copy.last_accepted(client) for client in clients)
    entries = copy.entries_after(copy.window_start, 1_000_000)
    settle(copy)
    after = (copy.entries_after(copy.window_start, 1_000_000), committed(copy))
    return before, accepted, entries, after, tuple(copy.last_accepted(client) for client in clients)


def code(outcome: Outcome) -> NackCode:
    assert isinstance(outcome, Refused), outcome
    assert outcome.message
    return outcome.code


def deltas(entries: list[LogEntry] | None) -> list[Delta]:
    assert entries is not None, "before the window"
    return [decode(bytes(decode_op_entry(each.entry).delta)) for each in entries]
