"""Whether what is stored of a section is whole: checks over what was read, in the order of revisions. Pure.

Whoever reads hands over chunks, then the stream, each a piece at a time; nothing is kept of them but the content and,
for each client, which of its operations were seen. After a hole the content is unknown until a stored snapshot says it.
"""

import zlib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal

from coscribe.names import FIRST_SECTION, SectionKey
from coscribe.ot import OWN_LIMITS, Content, DeltaTooLarge, InvalidDelta, decode
from coscribe.protocol import BadMessage, decode_op_entry
from coscribe.section import newborn
from persistence.chunks import ChunkDamaged, unpack
from persistence.records import Durable, LogEntry

LISTED_MOST: Final = 100  # findings of a section; further ones are counted

Code = Literal[
    "gap", "overlap", "differs", "damaged", "epoch", "doubled", "cseq", "entry", "durable", "head", "snapshot",
    "newline", "chain",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it must be, at or right before a revision."""

    document: str
    section: str
    revision: int
    code: Code
    words: str


@dataclass(frozen=True, slots=True)
class ChunkRow:
    first: int
    last: int
    entries: bytes


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """As it is stored: `content` is compressed."""

    revision: int
    epoch: int
    next: str | None
    sealed: str | None
    content: bytes


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An entry of the stream that is not what the owner wrote."""

    revision: int
    words: str


@dataclass(frozen=True, slots=True)
class LogEnd:
    """`revision` stands beside the stream, `last` is that of its last entry; None where there is none."""

    revision: int | None
    last: int | None

    @property
    def head(self) -> int:
        return max(self.revision or 0, self.last or 0)


@dataclass(slots=True)
class _Seen:
    """Which operations were seen. A client counts them, so they are few runs: first, last, first, last …"""

    runs: dict[str, list[int]] = field(default_factory=dict)
    late: set[tuple[str, int]] = field(default_factory=set)

    def add(self, client: str, cseq: int) -> Literal["new", "late", "again"]:
        runs = self.runs.setdefault(client, [cseq, cseq - 1])
        if cseq == runs[-1] + 1:
            runs[-1] = cseq
            return "new"
        if cseq > runs[-1]:
            runs += (cseq, cseq)
            return "new"
        place = bisect_left(runs, cseq)
        if place % 2 or runs[place] == cseq or (client, cseq) in self.late:
            return "again"
        self.late.add((client, cseq))
        return "late"


class SectionAudit:
    """One section. `snapshots` were read before `durable`, and that before any chunk."""

    def __init__(self, key: SectionKey, snapshots: Sequence[SnapshotRow], durable: Durable) -> None:
        self.key = key
        self.revision = 0
        self.stored = 0
        """The last revision that the chunks hold."""
        self.entries = 0
        self.snapshots = len(snapshots)
        self.findings: list[Finding] = []
        self.unlisted = 0
        newest = max(snapshots, key=lambda row: row.revision, default=None)
        self.next = newest.next if newest else None
        self.sealed = newest.sealed if newest else None
        self._durable = durable
        self._epoch = 0
        self._content: Content | None = newborn().content
        self._seen = _Seen()
        self._snapshots = sorted(snapshots, key=lambda row: -row.revision)
        self._compare_snapshot()

    # --- What is read, in this order ---

    def chunk(self, row: ChunkRow) -> None:
        """Chunks in the order of their first revisions."""
        if row.first <= self.stored:
            self._find("overlap", row.first, f"two chunks hold entry {row.first}")
        try:
            entries = unpack(row.entries, row.first)
        except ChunkDamaged as error:
            self._find("damaged", row.first, str(error))
            entries = []
        else:
            if len(entries) != row.last - row.first + 1:
                self._find(
                    "damaged",
                    row.first,
                    f"the chunk of entries {row.first} to {row.last} holds {len(entries)} entries",
                )
        for entry in entries:
            if self.revision < entry.revision <= row.last:
                self._entry(entry)
        if self.revision < row.last:  # said already
            self._lose(row.last)
        self.stored = max(self.stored, row.last)

    def log_ends(self, end: LogEnd) -> None:
        if end.revision is not None and end.last is not None and end.revision != end.last:
            self._find("head", end.revision, f"the log says revision {end.revision}, and its stream ends at {end.last}")

    def stream(self, page: Sequence[LogEntry | Unreadable], stored: Mapping[int, LogEntry]) -> None:
        """A run of the stream as one command read it; `stored` is what the chunks have of it."""
        for before, after in pairwise(page):
            if before.revision + 1 < after.revision <= self.revision + 1:
                self._find("gap", before.revision + 1, f"the stream lacks {_run(before.revision, after.revision)}")
        for entry in page:
            if isinstance(entry, Unreadable):
                self._find("damaged", entry.revision, entry.words)
                if entry.revision > self.revision:
                    self._lose(entry.revision)
                continue
            twin = stored.get(entry.revision)
            if twin is not None and twin != entry:
                self._find("differs", entry.revision, f"entry {entry.revision}: {_difference(twin, entry)}")
            if entry.revision > self.revision:
                self._entry(entry)

    def finish(self, durable: Durable, head: int) -> None:
        """`durable` as it is after the chunks were read, `head` the last revision that the log spoke of."""
        if self.revision < head:
            self._find(
                "gap",
                self.revision + 1,
                f"{_run(self.revision, head + 1)} {_are(head - self.revision)} neither in Postgres nor in the stream",
            )
            self._content = None
        if not self._durable.revision <= self.stored <= durable.revision:
            said = durable.revision if self.stored > durable.revision else self._durable.revision
            self._find("durable", said, f"the durable revision is {said}, and the chunks end at {self.stored}")
        for row in self._snapshots:
            self._find("snapshot", row.revision, f"the snapshot of revision {row.revision} is ahead of its entries")
        last = self.next is None and self.sealed is None
        if last and self._content is not None and not self._content.ends_with_newline:
            self._find("newline", self.revision, "the content does not end with a newline")

    # --- Entries ---

    def _entry(self, entry: LogEntry) -> None:
        if entry.revision != self.revision + 1:
            self._find("gap", self.revision + 1, f"{_run(self.revision, entry.revision)} {_is_missing(self, entry)}")
            self._lose(entry.revision - 1)
        if entry.epoch < self._epoch:
            self._find(
                "epoch", entry.revision, f"entry {entry.revision} has epoch {entry.epoch}, the one before {self._epoch}"
            )
        if entry.revision == self._durable.revision and entry.epoch != self._durable.epoch:
            self._find(
                "epoch",
                entry.revision,
                f"entry {entry.revision} has epoch {entry.epoch}, its section's row says {self._durable.epoch}",
            )
        self.revision, self._epoch = entry.revision, entry.epoch
        self.entries += 1
        self._operation(entry)
        self._compare_snapshot()

    def _operation(self, entry: LogEntry) -> None:
        try:
            op = decode_op_entry(entry.entry)
        except BadMessage as error:
            self._find("entry", entry.revision, f"entry {entry.revision} is no operation: {error}")
            self._content = None
            return
        seen = self._seen.add(op.client, op.cseq)
        if seen == "again":
            self._find("doubled", entry.revision, f"cseq {op.cseq} of client {op.client} is there a second time")
        elif seen == "late":
            self._find("cseq", entry.revision, f"cseq {op.cseq} of client {op.client} comes after a higher one")
        if self._content is None:
            return
        try:
            self._content.apply(decode(bytes(op.delta), OWN_LIMITS))
        except (InvalidDelta, DeltaTooLarge) as error:
            self._find("entry", entry.revision, f"entry {entry.revision} does not fit the content: {error}")
            self._content = None

    def _lose(self, revision: int) -> None:
        """Go on after entries that are not there."""
        self._content = None
        self.revision = revision
        self._compare_snapshot()

    # --- Snapshots ---

    def _compare_snapshot(self) -> None:
        while self._snapshots and self._snapshots[-1].revision <= self.revision:
            row = self._snapshots.pop()
            name = f"the snapshot of revision {row.revision}"
            try:
                found = zlib.decompress(row.content)
                content = Content.from_delta(decode(found, OWN_LIMITS))
            except (zlib.error, InvalidDelta, DeltaTooLarge) as error:
                self._find("damaged", row.revision, f"{name} cannot be read: {error}")
                continue
            if row.revision != self.revision:
                continue  # within entries that are missing
            if self.entries and self._content is not None and row.epoch != self._epoch:
                self._find("epoch", row.revision, f"{name} has epoch {row.epoch}, its entry {self._epoch}")
            if self._content is None:
                self._content = content
            elif (replayed := self._content.encode()) not in (found, content.encode()):
                self._find(
                    "snapshot", row.revision, f"{name} is not what the entries lead to {_sizes(found, replayed)}"
                )

    def _find(self, code: Code, revision: int, words: str) -> None:
        if len(self.findings) < LISTED_MOST:
            self.findings.append(Finding(self.key.document, self.key.section, revision, code, words))
        else:
            self.unlisted += 1


def chain_findings(document: str, sections: Sequence[SectionAudit]) -> list[Finding]:
    """From the first section along `next` to the last: each there, each once, and none beside but merged ones."""
    known = {audit.key.section: audit for audit in sections}
    found: list[Finding] = []
    seen: set[str] = set()
    section, at = FIRST_SECTION, known.get(FIRST_SECTION)
    while at is not None:
        seen.add(section)
        if at.next is None:
            break
        if at.next in seen or at.next not in known:
            trouble = "leads back to" if at.next in seen else "is followed by"
            missing = "" if at.next in seen else ", which is not there"
            words = f"section {section} {trouble} section {at.next}{missing}"
            found.append(Finding(document, section, at.revision, "chain", words))
            break
        section, at = at.next, known[at.next]
    if FIRST_SECTION not in known:
        found.append(Finding(document, FIRST_SECTION, 0, "chain", "the first section is not there"))
    for name, audit in known.items():
        if name not in seen and audit.sealed is None:
            words = f"section {name} is reached from no other"
            found.append(Finding(document, name, audit.revision, "chain", words))
    return found


def _run(after: int, before: int) -> str:
    first, last = after + 1, before - 1
    return f"entry {first}" if first == last else f"entries {first} to {last}"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _is_missing(audit: SectionAudit, entry: LogEntry) -> str:
    return f"{_are(entry.revision - audit.revision - 1)} missing"


def _difference(stored: LogEntry, streamed: LogEntry) -> str:
    if stored.entry != streamed.entry:
        return "Postgres and the stream hold different operations"
    return f"Postgres has epoch {stored.epoch}, time {stored.time_ms}, the stream {streamed.epoch}, {streamed.time_ms}"


def _sizes(found: bytes, replayed: bytes) -> str:
    return f"({len(found):,} bytes, {len(replayed):,} expected)"
