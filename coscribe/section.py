"""The owner's state machine of one section: prepare, freeze, commit. Pure: no I/O, no clock, no randomness.

An operation is prepared (checked, transformed over what came since its base, numbered, applied) and waits; `freeze`
makes a batch of what waits; the shell appends the batch to the log and calls `committed`. The next operations are
prepared meanwhile, but whatever anyone else sees, snapshots and entries included, is committed state.

The checks of an operation and their order are the rule 3 of "Editing" in docs/sections.md; each keeps an edit from
being lost or doubled.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

from msgspec import Raw

from coscribe.batch import Author, Batch, BatchHeader, LogEntry, encode_batch, entries_message
from coscribe.names import SectionKey
from coscribe.ot import (
    OWN_LIMITS,
    Content,
    Delta,
    DeltaTooLarge,
    History,
    InvalidDelta,
    Limits,
    Mainline,
    compose_all,
    decode,
    encode,
)  # fmt: skip
from coscribe.protocol import CaughtUp, NackCode, Role, Snapshot, decode_op_entry, op_entry
from coscribe.protocol import encode as encode_message

BATCH_ENTRIES: Final = 500  # a commit script blocks Redis while it runs
BATCH_BYTES: Final = 512 * 1024


@dataclass(frozen=True, slots=True)
class WindowLimits:
    """How far back an operation may be based. Nothing younger than `min_age_ms` is dropped, but beyond `hard_entries`.

    `work` bounds what one operation may cost the owner: components that are read to pass the entries that it has not
    seen. Plain Python takes up to half a second for that many."""

    entries: int = 4096
    bytes: int = 8 * 1024 * 1024
    min_age_ms: int = 10_000
    hard_entries: int = 65_536
    work: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Submission:
    """An operation as it is offered. `delta` is the compact wire form, not yet looked at."""

    client: str
    cseq: int
    base: int
    user: str
    role: Role
    delta: bytes


@dataclass(frozen=True, slots=True)
class Prepared:
    """Accepted at `revision`, not yet durable. The published batch will be its acknowledgement."""

    revision: int


@dataclass(frozen=True, slots=True)
class Known:
    """A duplicate: the client's operation is in the log, or on its way there, at `revision`."""

    revision: int


@dataclass(frozen=True, slots=True)
class Refused:
    code: NackCode
    message: str


@dataclass(frozen=True, slots=True)
class Later:
    """Based on a revision that is on its way into the log: offer it again once the unanswered batch is answered."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Based on a revision that this owner has never heard of: there is a newer owner, or the client is wrong.

    The shell asks the log which of the two it is."""


Outcome = Prepared | Known | Refused | Later | Doubt


@dataclass(frozen=True, slots=True)
class SectionState:
    """Where a section starts from: content and the entries that led to it, as far back as operations may be based.

    `epoch` is that of the entry at `revision`. No entry will be given a time before that of the last recent one."""

    content: Content
    revision: int
    epoch: int
    next: str | None = None
    sealed: str | None = None
    recent: tuple[LogEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class ContentAt:
    """Committed content, as the compact delta of the wire. `epoch` is that of the entry at `revision`."""

    revision: int
    epoch: int
    content: bytes


def newborn() -> SectionState:
    """A document is born as one newline, at revision 0."""
    return SectionState(Content.from_delta(Delta.replace(0, 0, "\n")), 0, 0)


def replay(state: SectionState, entries: Iterator[LogEntry] | list[LogEntry], keep: int) -> SectionState:
    """The state after the entries, which must follow it without a gap. `keep` of them are remembered as recent."""
    content, revision, epoch = state.content, state.revision, state.epoch
    recent: deque[LogEntry] = deque(state.recent, maxlen=keep)
    for entry in entries:
        assert entry.revision == revision + 1, f"entry {entry.revision} does not follow revision {revision}"
        content.apply(decode(bytes(decode_op_entry(entry.entry).delta), OWN_LIMITS))
        revision, epoch = entry.revision, entry.epoch
        recent.append(entry)
    return SectionState(content, revision, epoch, state.next, state.sealed, tuple(recent))


@dataclass(slots=True)
class _Pending:
    """Prepared entries behind the last committed one, oldest first: those in the unanswered batch, then the rest; and
    the author of each."""

    entries: list[LogEntry] = field(default_factory=list)
    authors: list[Author] = field(default_factory=list)
    frozen: Batch | None = None


class Section:
    """One section, as its owner in one epoch knows it."""

    def __init__(self, key: SectionKey, epoch: int, state: SectionState, limits: Limits, window: WindowLimits) -> None:
        self.key, self.epoch = key, epoch
        self.next, self.sealed = state.next, state.sealed
        self.committed_revision, self.committed_epoch = state.revision, state.epoch
        self._limits, self._window_limits = limits, window
        self._window: deque[LogEntry] = deque()
        self._window_bytes = 0
        state.content.keeps_newline = state.next is None
        self._mainline = Mainline(state.content, History(state.revision - len(state.recent)))
        self._latest: dict[str, tuple[int, int]] = {}  # client -> (cseq, revision) of its last entry in the window
        self._pending = _Pending()
        self._last_time_ms = state.recent[-1].time_ms if state.recent else 0
        self._snapshot: ContentAt | None = None
        self._snapshot_wanted = False
        self._snapshot_frozen: bytes | None = None
        for entry in state.recent:
            op = decode_op_entry(entry.entry)
            self._mainline.history.append(decode(bytes(op.delta), OWN_LIMITS))
            self._remember(entry, op.client, op.cseq)

    # --- Prepare ---

    @property
    def revision(self) -> int:
        """The prepared revision; `committed_revision` is the one others may see."""
        return self._mainline.history.revision

    @property
    def window_start(self) -> int:
        """The earliest revision on which an operation may be based."""
        return self._mainline.history.start

    @property
    def unanswered(self) -> Batch | None:
        return self._pending.frozen

    def submit(self, op: Submission, now_ms: int) -> Outcome:
        """Prepare the operation, or say why not. Anything but `Prepared` has changed nothing."""
        if op.role == "reader":
            return Refused(NackCode.FORBIDDEN, "you may read this document but not write to it")
        if len(op.delta) > self._limits.op_bytes:
            return Refused(NackCode.TOO_LARGE, f"the operation has {len(op.delta)} bytes of {self._limits.op_bytes}")
        try:
            delta = decode(op.delta, self._limits)
        except DeltaTooLarge as error:
            return Refused(NackCode.TOO_LARGE, str(error))
        except InvalidDelta as error:
            return Refused(NackCode.INVALID, str(error))
        if op.base > self.committed_revision:
            return Later() if self._pending.frozen else Doubt()
        if self.sealed is not None:
            return Refused(NackCode.SEALED, f"the section went into section {self.sealed}")
        if op.base < self.window_start:
            return Refused(NackCode.STALE, f"revision {op.base} is before the history window")
        cseq, revision = self._latest.get(op.client, (0, 0))
        if cseq >= op.cseq and revision > op.base:
            return Known(revision)
        if op.base < self.revision and self._mainline.history.work(delta, op.base) > self._window_limits.work:
            return Refused(NackCode.STALE, f"transforming the operation from revision {op.base} would take too long")
        return self._prepare(op, delta, now_ms)

    def _prepare(self, op: Submission, delta: Delta, now_ms: int) -> Outcome:
        try:
            rebased = self._mainline.accept(delta, op.base, self._limits)
        except DeltaTooLarge as error:
            return Refused(NackCode.TOO_LARGE, str(error))
        except InvalidDelta as error:
            return Refused(NackCode.INVALID, str(error))
        self._last_time_ms = max(now_ms, self._last_time_ms)
        wire = op_entry(op.client, op.cseq, encode(rebased))
        entry = LogEntry(self.revision, self.epoch, self._last_time_ms, op.user, wire)
        self._remember(entry, op.client, op.cseq)
        self._pending.entries.append(entry)
        self._pending.authors.append(Author(op.client, op.cseq))
        return Prepared(entry.revision)

    def _remember(self, entry: LogEntry, client: str, cseq: int) -> None:
        self._window.append(entry)
        self._window_bytes += len(entry.entry)
        self._latest[client] = (cseq, entry.revision)
        self._trim_window(entry.time_ms)

    def _trim_window(self, now_ms: int) -> None:
        """Forget the oldest committed entries beyond the limits."""
        limits = self._window_limits
        while (count := len(self._window)) > 1 and self._window[0].revision <= self.committed_revision:
            oldest = self._window[0]
            young = now_ms - oldest.time_ms < limits.min_age_ms
            over = count > limits.entries or self._window_bytes > limits.bytes
            if count <= limits.hard_entries and (young or not over):
                return
            self._window.popleft()
            self._window_bytes -= len(oldest.entry)
            self._mainline.history.drop_before(oldest.revision)
            client = decode_op_entry(oldest.entry).client
            if self._latest.get(client, (0, 0))[1] == oldest.revision:
                del self._latest[client]

    # --- Commit ---

    def freeze(self, batch_id: str) -> Batch | None:
        """The next batch, or None while one is unanswered or nothing waits."""
        if self._pending.frozen is not None or not self._pending.entries:
            return None
        entries = tuple(self._next_entries())
        batch = self._batch(batch_id, entries, self._pending.authors[: len(entries)], self.committed_epoch)
        self._pending.frozen = batch
        if self._snapshot_wanted and batch.last == self.revision:
            self._snapshot_wanted, self._snapshot_frozen = False, self._mainline.content.encode()
        return batch

    def _batch(
        self, batch_id: str, entries: tuple[LogEntry, ...], authors: Sequence[Author], known_epoch: int
    ) -> Batch:
        """Entries of one epoch. Who reads what is published knows the epoch of the entry before them."""
        first, last = entries[0], entries[-1]
        header = BatchHeader(first.revision, last.revision, last.epoch, False, tuple(authors))
        new_epoch = last.epoch if known_epoch != last.epoch else None
        body = entries_message(self.key.section, first.revision, (entry.entry for entry in entries), new_epoch)
        return Batch(batch_id, first.revision - 1, self.epoch, entries, encode_batch(header, body))

    def _next_entries(self) -> Iterator[LogEntry]:
        size = 0
        first = self._pending.entries[0]
        for entry in islice(self._pending.entries, BATCH_ENTRIES):
            size += len(entry.entry)
            if entry is not first and (size > BATCH_BYTES or entry.epoch != first.epoch):
                return
            yield entry

    def committed(self) -> None:
        """The unanswered batch is in the log."""
        batch = self._pending.frozen
        assert batch is not None, "no batch is unanswered"
        self._pending.frozen = None
        del self._pending.entries[: len(batch.entries)]
        del self._pending.authors[: len(batch.entries)]
        self.committed_revision, self.committed_epoch = batch.last, batch.entries[-1].epoch
        if self._snapshot_frozen is not None:
            self._snapshot = ContentAt(self.committed_revision, self.committed_epoch, self._snapshot_frozen)
            self._snapshot_frozen = None
        self._trim_window(self._last_time_ms)

    # --- A log that lost its end ---

    def lost_after(self, head: int, epoch: int) -> list[LogEntry] | None:
        """What a log that ends at `head`, with an entry of `epoch`, has lost of what is committed here. None where it
        has another history, or its end is before the window."""
        if head > self.committed_revision or (head and self.epoch_at(head) != epoch):
            return None
        return self.entries_after(head, self.committed_revision - head)

    def reclaim(self, epoch: int) -> None:
        """This owner goes on under a new epoch. What is committed, or in a batch that may have been seen, keeps its
        own."""
        self.epoch = epoch
        pending = self._pending
        seen = 0
        if pending.frozen is not None:
            seen = len(pending.frozen.entries)
            pending.frozen = replace(pending.frozen, epoch=epoch)
        for index in range(seen, len(pending.entries)):
            renewed = replace(pending.entries[index], epoch=epoch)
            pending.entries[index] = renewed
            self._window[renewed.revision - self.window_start - 1] = renewed

    def batch_again(self, batch_id: str, entries: Sequence[LogEntry]) -> Batch:
        """The first of lost entries, of one epoch and as many as a batch takes, to be appended as they were."""
        count = size = 0
        for entry in entries[:BATCH_ENTRIES]:
            size += len(entry.entry)
            if count and (size > BATCH_BYTES or entry.epoch != entries[0].epoch):
                break
            count += 1
        ops = [decode_op_entry(entry.entry) for entry in entries[:count]]
        return self._batch(batch_id, tuple(entries[:count]), [Author(op.client, op.cseq) for op in ops], 0)

    # --- Read committed state ---

    def snapshot(self, least: int) -> ContentAt | None:
        """Committed content at revision `least` or later; None: ask again after the next commit, which makes one."""
        if self._snapshot is not None and self._snapshot.revision >= least:
            return self._snapshot
        if self.revision == self.committed_revision:
            self._snapshot = ContentAt(self.committed_revision, self.committed_epoch, self._mainline.content.encode())
            return self._snapshot
        self._snapshot_wanted = True
        return None

    def snapshot_message(self, found: ContentAt) -> bytes:
        """The wire message of a snapshot."""
        content = Raw(found.content)
        return encode_message(Snapshot(self.key.section, found.revision, found.epoch, self.next, self.sealed, content))

    def epoch_at(self, revision: int) -> int | None:
        """The epoch of the entry that led to a committed revision, None where the window does not reach."""
        if revision >= self.committed_revision:
            return self.committed_epoch if revision == self.committed_revision else None
        index = revision - self.window_start - 1
        return self._window[index].epoch if 0 <= index < len(self._window) else None

    def entries_after(self, after: int, limit: int) -> list[LogEntry] | None:
        """Committed entries after a revision, `limit` at most; None where the window does not reach back so far."""
        if after < self.window_start:
            return None
        start = after - self.window_start
        stop = min(self.committed_revision - self.window_start, start + limit)
        return list(islice(self._window, start, max(start, stop)))

    def composed_after(self, after: int) -> tuple[int, int, bytes] | None:
        """(revision, epoch, wire message) of the composed change since a revision; None before the window."""
        if after < self.window_start or after > self.committed_revision:
            return None
        composed = compose_all(self._mainline.history.between(after, self.committed_revision))
        message = CaughtUp(
            self.key.section, after, self.committed_revision, self.committed_epoch, Raw(encode(composed))
        )
        return self.committed_revision, self.committed_epoch, encode_message(message)

    def last_accepted(self, client: str) -> tuple[int, int]:
        """(cseq, revision) of the client's last committed operation in the window, (0, 0) if there is none."""
        cseq, revision = self._latest.get(client, (0, 0))
        if revision <= self.committed_revision:
            return cseq, revision
        for entry in reversed(self._window):
            op = decode_op_entry(entry.entry)
            if entry.revision <= self.committed_revision and op.client == client:
                return op.cseq, entry.revision
        return 0, 0
