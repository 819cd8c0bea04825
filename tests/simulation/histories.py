"""What a section's log ever accepted: the line of entries that counts, and what was on lines that a failover voided.

A log that lost its tail goes on from an earlier revision, so one revision may have had several contents, each under an
epoch of its own. What an owner still has of the lost entries is a debt: it must append them again if it can.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from coscribe.ot import OWN_LIMITS, Content, Delta, decode
from coscribe.protocol import decode_op_entry
from persistence.records import LogEntry

Operation = tuple[str, int]
"""Client and cseq."""


def operation_of(entry: LogEntry) -> Operation:
    op = decode_op_entry(entry.entry)
    return op.client, op.cseq


def delta_of(entry: LogEntry) -> Delta:
    return decode(bytes(decode_op_entry(entry.entry).delta), OWN_LIMITS)


@dataclass(frozen=True, slots=True)
class Owner:
    """Who has what a log lost. `excused(revision)`: it cannot append from there on, for it is gone, lost its lease,
    handed off or does not remember so much."""

    who: str
    excused: Callable[[int], bool]


@dataclass(slots=True)
class Debt:
    """Lost entries that their owner still has. `tried`: it has asked the log to commit since, so it knows."""

    owner: Owner
    entries: list[LogEntry]
    tried: bool = False


@dataclass(slots=True)
class History:
    """`entries` is the line that counts; `contents[r]` is the content at its revision r."""

    entries: list[LogEntry] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    content: Content = field(default_factory=lambda: Content(Delta.replace(0, 0, "\n")))
    cseqs: dict[str, int] = field(default_factory=dict)  # client -> its last cseq
    epoch: int = 0  # of the newest activation that the log knows of
    newest: int = 0  # of the newest activation there ever was
    writers: dict[int, str] = field(default_factory=dict)  # epoch -> who activated it
    stored: int = 0  # revisions that Postgres holds
    kept: int = 0  # the stream begins after this revision
    seen: dict[tuple[int, int], bytes] = field(default_factory=dict)  # of every line: (revision, epoch) -> content
    void: dict[tuple[int, int], LogEntry] = field(default_factory=dict)  # what logs have lost
    stood: dict[Operation, set[int]] = field(default_factory=dict)  # of every line: where each operation was
    acknowledged: dict[Operation, None] = field(default_factory=dict)
    forgiven: set[Operation] = field(default_factory=set)  # they may be lost: nobody was left who had them
    failovers: int = 0
    went_back: bool = False  # after one of them the log was not what it had been
    debt: Debt | None = None

    def __post_init__(self) -> None:
        self.contents.append(self.content.encode())
        self.seen[(0, 0)] = self.contents[0]

    @property
    def head(self) -> tuple[int, int]:
        """Revision and epoch of the last entry."""
        return len(self.entries), self.epoch_at(len(self.entries))

    def epoch_at(self, revision: int) -> int:
        return self.entries[revision - 1].epoch if revision else 0

    def append(self, entry: LogEntry, delta: Delta) -> None:
        client, cseq = operation = operation_of(entry)
        self.cseqs[client] = cseq
        self.content.apply(delta)
        self.entries.append(entry)
        self.contents.append(self.content.encode())
        self.seen[self.head] = self.contents[-1]
        self.stood.setdefault(operation, set()).add(entry.revision)

    def truncate(self, revision: int) -> Sequence[LogEntry]:
        """The log ends at a revision now; returns what came after it."""
        lost = self.entries[revision:]
        if lost:
            del self.entries[revision:], self.contents[revision + 1 :]
            self.content = self.content_at(revision)
            self.cseqs = dict(operation_of(entry) for entry in self.entries)
            self.kept = min(self.kept, revision)
        return lost

    def content_at(self, revision: int) -> Content:
        return Content.from_delta(decode(self.contents[revision], OWN_LIMITS))
