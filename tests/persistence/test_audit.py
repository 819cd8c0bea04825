"""Every way in which a stored section may not be whole, and what the audit says of it."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from coscribe.names import SectionKey
from coscribe.protocol import op_entry
from persistence.audit import (
    LISTED_MOST,
    ChunkRow,
    LogEnd,
    SectionAudit,
    SnapshotRow,
    Unreadable,
    chain_findings,
)
from persistence.auditor import audit_document, audit_section
from persistence.chunks import pack
from persistence.records import Durable, LogEntry

KEY = SectionKey("notes", "life1", "0")


def entry(revision: int, *, epoch: int = 1, client: str = "ann", cseq: int = 0, delta: str = '["a"]') -> LogEntry:
    return LogEntry(revision, epoch, 1_700_000_000_000, "user", op_entry(client, cseq or revision, delta.encode()))


def entries(first: int, last: int) -> list[LogEntry]:
    return [entry(revision) for revision in range(first, last + 1)]


def chunk(*run: LogEntry) -> ChunkRow:
    return ChunkRow(run[0].revision, run[-1].revision, pack(run))


def snapshot(revision: int, content: str | None = None, *, epoch: int = 1, next_: str | None = None) -> SnapshotRow:
    text = "a" * revision + "\\n" if content is None else content
    return SnapshotRow(revision, epoch, next_, None, zlib.compress(f'["{text}"]'.encode()))


@dataclass
class Stored:
    """One section as the stores hold it: entries 1 to 8 in two chunks, 7 to 10 in the stream. Implements Stores."""

    durable_: Durable = field(default_factory=lambda: Durable(8, 1))
    chunks_: list[ChunkRow] = field(default_factory=lambda: [chunk(*entries(1, 4)), chunk(*entries(5, 8))])
    snapshots_: list[SnapshotRow] = field(default_factory=lambda: [snapshot(8), snapshot(6), snapshot(0)])
    stream_: list[LogEntry | Unreadable] = field(default_factory=lambda: [*entries(7, 10)])
    end: LogEnd = field(default_factory=lambda: LogEnd(10, 10))
    page: int = 3
    reads: list[str] = field(default_factory=list)

    async def sections(self, incarnation: str) -> list[str]:
        return ["0"]

    async def snapshots(self, key: SectionKey) -> list[SnapshotRow]:
        self.reads.append("snapshots")
        return self.snapshots_

    async def durable(self, key: SectionKey) -> Durable:
        return self.durable_

    async def chunks(self, key: SectionKey, after: int) -> list[ChunkRow]:
        self.reads.append("chunks")
        return [row for row in self.chunks_ if row.first > after][:1]

    async def chunks_with(self, key: SectionKey, first: int, last: int) -> list[tuple[int, bytes]]:
        return [(row.first, row.entries) for row in self.chunks_ if row.first <= last and row.last >= first]

    async def log_end(self, key: SectionKey) -> LogEnd:
        return self.end

    async def stream(self, key: SectionKey, first: int) -> list[LogEntry | Unreadable]:
        self.reads.append("stream")
        return [entry for entry in self.stream_ if entry.revision >= first][: self.page]


async def audited(stored: Stored) -> SectionAudit:
    return await audit_section(stored, KEY, lambda _: None)


async def test_a_whole_section() -> None:
    audit = await audited(Stored())
    assert audit.findings == []
    assert (audit.revision, audit.entries, audit.snapshots) == (10, 10, 3)


async def test_nothing_stored_yet() -> None:
    audit = await audited(Stored(Durable(0, 0), [], [], [], LogEnd(None, None)))
    assert audit.findings == []


async def test_a_log_that_expired_or_lost_its_tail_which_the_chunks_hold() -> None:
    assert (await audited(Stored(stream_=[], end=LogEnd(None, None)))).findings == []
    assert (await audited(Stored(stream_=[*entries(5, 6)], end=LogEnd(6, 6)))).findings == []
    assert (await audited(Stored(stream_=[], end=LogEnd(8, None)))).findings == []


Damage = Callable[[Stored], None]


def stream(*run: LogEntry | Unreadable) -> Damage:
    def damage(stored: Stored) -> None:
        stored.stream_ = list(run)

    return damage


def chunks(*rows: ChunkRow) -> Damage:
    def damage(stored: Stored) -> None:
        stored.chunks_ = list(rows)

    return damage


def snapshots(*rows: SnapshotRow) -> Damage:
    def damage(stored: Stored) -> None:
        stored.snapshots_ = list(rows)

    return damage


def durable(revision: int, epoch: int = 1) -> Damage:
    def damage(stored: Stored) -> None:
        stored.durable_ = Durable(revision, epoch)

    return damage


def end(revision: int | None, last: int | None) -> Damage:
    def damage(stored: Stored) -> None:
        stored.end = LogEnd(revision, last)

    return damage


FIRST, SECOND = chunk(*entries(1, 4)), chunk(*entries(5, 8))
LATE = [entry(9, cseq=20), entry(10, cseq=19)]
DAMAGES: list[tuple[str, Sequence[Damage], list[tuple[str, int]]]] = [
    ("a chunk is missing in the middle", [chunks(FIRST, chunk(*entries(6, 8)))], [("gap", 5)]),
    ("the first chunk is missing", [chunks(SECOND)], [("gap", 1)]),
    ("the last chunk is missing, and the stream was trimmed", [chunks(FIRST)], [("gap", 5), ("durable", 8)]),
    ("the stream lacks an entry", [stream(*entries(7, 8), entry(10))], [("gap", 9)]),
    ("the stream lacks an entry that Postgres has", [stream(entry(6), *entries(8, 10))], [("gap", 7)]),
    ("the stream lacks an entry where a page ends", [stream(*entries(5, 7), *entries(9, 10))], [("gap", 8)]),
    ("the stream lost its end", [stream(*entries(7, 9)), end(10, 9)], [("head", 10), ("gap", 10)]),
    ("the stream is gone", [stream(), end(10, None)], [("gap", 9)]),
    ("two chunks hold an entry", [chunks(FIRST, chunk(*entries(4, 8)))], [("overlap", 4)]),
    ("the stream holds another entry", [stream(entry(7), entry(8, delta='["b"]'), *entries(9, 10))], [("differs", 8)]),
    ("the stream holds another epoch", [stream(entry(8, epoch=0), *entries(9, 10))], [("differs", 8)]),
    ("a chunk is damaged", [chunks(FIRST, replace(SECOND, entries=b"\1\1...."))], [("damaged", 5)]),
    ("a chunk lacks its last entry", [chunks(FIRST, replace(SECOND, entries=pack(entries(5, 7))))], [("damaged", 5)]),
    ("an entry of the stream is damaged", [stream(entry(8), Unreadable(9, "?"), entry(10))], [("damaged", 9)]),
    ("an epoch falls", [stream(entry(8), entry(9, epoch=2), entry(10))], [("epoch", 10)]),
    ("the row says another epoch", [durable(8, 3)], [("epoch", 8)]),
    ("a cseq twice", [stream(entry(8), entry(9), entry(10, cseq=3))], [("doubled", 10)]),
    ("a late cseq", [stream(entry(8), *LATE)], [("cseq", 10)]),
    ("a late cseq twice", [stream(entry(8), *LATE, entry(11, cseq=19)), end(11, 11)], [("cseq", 10), ("doubled", 11)]),
    ("no operation", [stream(entry(8), entry(9, delta="{"), entry(10))], [("entry", 9)]),
    ("does not fit", [stream(entry(8), entry(9, delta="[50,-1]"), entry(10))], [("entry", 9)]),
    ("the durable revision is ahead of the chunks", [durable(9)], [("durable", 9)]),
    ("the durable revision is behind the chunks", [durable(4)], [("durable", 4)]),
    ("the log says less than its stream", [end(9, 10)], [("head", 9)]),
    ("a snapshot that is not the replay", [snapshots(snapshot(6, "aaabaa\\n"), snapshot(8))], [("snapshot", 6)]),
    ("a snapshot under another epoch", [snapshots(snapshot(6, epoch=2))], [("epoch", 6)]),
    ("a first snapshot that is not one newline", [snapshots(snapshot(0, "a\\n"))], [("snapshot", 0)]),
    ("a snapshot that cannot be read", [snapshots(replace(snapshot(6), content=b"?"))], [("damaged", 6)]),
    ("a snapshot ahead of the entries", [snapshots(snapshot(12))], [("snapshot", 12)]),
    ("no final newline", [stream(entry(8), entry(9, delta="[8,-1]"), entry(10))], [("newline", 10)]),
    ("a snapshot says that a section follows", [snapshots(snapshot(8, next_="7"))], [("chain", 10)]),
]


@pytest.mark.parametrize(("damages", "expected"), [pytest.param(*row[1:], id=row[0]) for row in DAMAGES])
async def test_damage_is_found(damages: Sequence[Damage], expected: list[tuple[str, int]]) -> None:
    stored = Stored()
    for damage in damages:
        damage(stored)
    found = await audit_document(stored, "notes", "life1", lambda _: None)
    assert [(finding.code, finding.revision) for finding in found.findings] == expected
    assert all(finding.words and finding.document == "notes" for finding in found.findings)


async def test_after_a_hole_the_next_snapshot_goes_on() -> None:
    wrong = snapshot(8, "aaaabaaa\\n")
    audit = await audited(Stored(chunks_=[SECOND], snapshots_=[snapshot(4), wrong]))
    assert [finding.code for finding in audit.findings] == ["gap", "snapshot"]


async def test_a_client_leaves_cseqs_out() -> None:
    run = [entry(9, cseq=12), entry(10, cseq=15), entry(11, client="bob", cseq=15)]
    assert (await audited(Stored(stream_=[entry(8), *run], end=LogEnd(11, 11)))).findings == []


async def test_of_many_findings_some_are_listed() -> None:
    run = [entry(revision, cseq=1) for revision in range(1, LISTED_MOST + 12)]
    stored = Stored(Durable(len(run), 1), [chunk(*run)], [], [], LogEnd(None, None))
    found = await audit_document(stored, "notes", "life1", lambda _: None)
    assert (len(found.findings), found.unlisted) == (LISTED_MOST, 10)


# --- While people type ---


class Moving(Stored):
    """When the stream is read for the first time, it has just been flushed up to 10 and trimmed."""

    async def stream(self, key: SectionKey, first: int) -> list[LogEntry | Unreadable]:
        if "stream" not in self.reads:
            self.durable_ = Durable(10, 1)
            self.chunks_ = [*self.chunks_, chunk(*entries(9, 10))]
            self.stream_ = [*entries(11, 12)]
        return await super().stream(key, first)


async def test_a_flush_and_a_trim_between_two_reads() -> None:
    stored = Moving()
    audit = await audited(stored)
    assert audit.findings == []
    assert audit.revision == 12
    assert stored.reads.index("stream") < len(stored.reads) - 1 - stored.reads[::-1].index("chunks")


class Endless(Stored):
    """Somebody types faster than anyone reads."""

    async def stream(self, key: SectionKey, first: int) -> list[LogEntry | Unreadable]:
        return [*entries(first, first + 2)] if first > 6 else [*entries(7, 9)]


async def test_typing_does_not_keep_it_from_ending() -> None:
    audit = await audited(Endless())
    assert audit.findings == []
    assert 10 <= audit.revision <= 12


class Passing(Stored):
    """What is wrong at the first reading only."""

    async def log_end(self, key: SectionKey) -> LogEnd:
        return LogEnd(10, 10) if self.reads.count("snapshots") > 1 else LogEnd(11, 10)


async def test_what_a_second_reading_does_not_find_is_nothing() -> None:
    assert [finding.code for finding in (await audited(Passing())).findings] == ["head", "gap"]
    assert (await audit_document(Passing(), "notes", "life1", lambda _: None)).findings == ()


# --- The chain of sections ---


def section(name: str, next_: str | None = None, sealed: str | None = None) -> SectionAudit:
    row = SnapshotRow(0, 0, next_, sealed, zlib.compress(b'["\\n"]'))
    return SectionAudit(KEY._replace(section=name), [row], Durable(0, 0))


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ([section("0")], []),
        ([section("0", "7"), section("7", "3"), section("3")], []),
        ([section("0"), section("7", sealed="0")], []),
        ([section("0", "7")], [("0", "is followed by section 7, which is not there")]),
        ([section("0", "7"), section("7", "0")], [("7", "leads back to section 0")]),
        ([section("0"), section("7")], [("7", "is reached from no other")]),
        ([section("7", sealed="3")], [("0", "the first section is not there")]),
    ],
)
def test_the_chain(sections: list[SectionAudit], expected: list[tuple[str, str]]) -> None:
    found = chain_findings("notes", sections)
    assert [finding.section for finding in found] == [name for name, _ in expected]
    assert all(words in finding.words for finding, (_, words) in zip(found, expected, strict=True))
