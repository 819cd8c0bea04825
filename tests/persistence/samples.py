"""Sections, entries and batches for tests of the stores."""

from coscribe.names import SectionKey
from persistence.records import Batch, Durable, LogEntry

KEY = SectionKey("notes", "life1", "0")
OTHER = SectionKey("notes", "life1", "7")
NEW = Durable(0, 0)


def entry(revision: int, epoch: int = 1, text: str = "") -> LogEntry:
    return LogEntry(revision, epoch, 1_700_000_000_000 + revision, "user one", f'["c",{revision},"{text}"]'.encode())


def entries(first: int, last: int, epoch: int = 1) -> tuple[LogEntry, ...]:
    return tuple(entry(revision, epoch) for revision in range(first, last + 1))


def batch(base: int, last: int, epoch: int, batch_id: str | None = None) -> Batch:
    name = batch_id or f"{epoch}-{base}-{last}"
    return Batch(name, base, epoch, entries(base + 1, last, epoch), f"published {name}".encode())
