"""Audits documents while people type in them: the order of reading is what keeps it from false alarms.

Snapshots, then the durable revision, then chunks, then where the log ends, then the stream. A snapshot is stored after
its entries, a chunk together with the durable revision, and the stream forgets only what the chunks hold. So what one
reading promises, a later one must find; and what is gone from the stream must be in the chunks by then.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from coscribe.names import FIRST_SECTION, SectionKey
from persistence.audit import (
    ChunkRow,
    Finding,
    LogEnd,
    SectionAudit,
    SnapshotRow,
    Unreadable,
    chain_findings,
)
from persistence.chunks import ChunkDamaged, unpack
from persistence.records import Durable, LogEntry

Read = Callable[[int], None]
"""Told how many more entries were read."""

BEFORE_ALL: Final = -(1 << 62)


class Stores(Protocol):
    """What is read; implemented by audit_stores.AuditStores."""

    async def sections(self, incarnation: str) -> list[str]: ...

    async def snapshots(self, key: SectionKey) -> list[SnapshotRow]: ...

    async def durable(self, key: SectionKey) -> Durable: ...

    async def chunks(self, key: SectionKey, after: int) -> list[ChunkRow]: ...

    async def chunks_with(self, key: SectionKey, first: int, last: int) -> list[tuple[int, bytes]]: ...

    async def log_end(self, key: SectionKey) -> LogEnd: ...

    async def stream(self, key: SectionKey, first: int) -> list[LogEntry | Unreadable]: ...


@dataclass(frozen=True, slots=True)
class DocumentAudit:
    """`unlisted` findings were made beyond those that are listed."""

    document: str
    sections: int
    entries: int
    snapshots: int
    findings: tuple[Finding, ...]
    unlisted: int


async def audit_document(stores: Stores, document: str, incarnation: str, read: Read) -> DocumentAudit:
    """What is found is read a second time: only what is of a kind that is found again counts. Raises Unavailable."""
    found = await _audit(stores, document, incarnation, read)
    if not found.findings:
        return found
    again = await _audit(stores, document, incarnation, lambda _: None)
    kinds = {(finding.section, finding.code) for finding in found.findings}
    stayed = tuple(finding for finding in again.findings if (finding.section, finding.code) in kinds)
    return DocumentAudit(document, again.sections, again.entries, again.snapshots, stayed, again.unlisted)


async def _audit(stores: Stores, document: str, incarnation: str, read: Read) -> DocumentAudit:
    sections = sorted({FIRST_SECTION, *await stores.sections(incarnation)})
    audits = [await audit_section(stores, SectionKey(document, incarnation, section), read) for section in sections]
    findings = [finding for audit in audits for finding in audit.findings]
    return DocumentAudit(
        document,
        len(audits),
        sum(audit.entries for audit in audits),
        sum(audit.snapshots for audit in audits),
        (*findings, *chain_findings(document, audits)),
        sum(audit.unlisted for audit in audits),
    )


async def audit_section(stores: Stores, key: SectionKey, read: Read) -> SectionAudit:
    snapshots = await stores.snapshots(key)
    audit = SectionAudit(key, snapshots, await stores.durable(key))
    chunks = _Chunks(stores, audit, read)
    await chunks.read_on()
    end = await stores.log_end(key)
    audit.log_ends(end)
    await _read_stream(stores, audit, chunks, end.head, read)
    audit.finish(await stores.durable(key), end.head)
    return audit


class _Chunks:
    def __init__(self, stores: Stores, audit: SectionAudit, read: Read) -> None:
        self._stores, self._audit, self._read = stores, audit, read
        self._after = BEFORE_ALL

    async def read_on(self) -> None:
        """All that are there by now and were not read yet."""
        while rows := await self._stores.chunks(self._audit.key, self._after):
            before = self._audit.entries
            for row in rows:
                self._audit.chunk(row)
            self._after = rows[-1].first
            self._read(self._audit.entries - before)


async def _read_stream(stores: Stores, audit: SectionAudit, chunks: _Chunks, head: int, read: Read) -> None:
    """As far as `head` at least: whoever types on does not keep this from ending."""
    first = 1
    while True:
        page = await stores.stream(audit.key, first)
        if page[0].revision > audit.revision + 1 if page else audit.revision < head:
            await chunks.read_on()
        before = audit.entries
        audit.stream(page, await _stored(stores, audit, page))
        read(audit.entries - before)
        if not page or page[-1].revision >= head or page[-1].revision == first:
            return
        first = page[-1].revision  # read again: if it is still there, so is what follows, but for a hole


async def _stored(stores: Stores, audit: SectionAudit, page: Sequence[LogEntry | Unreadable]) -> dict[int, LogEntry]:
    """What the chunks that were read hold of the page."""
    if not page or page[0].revision > audit.stored:
        return {}
    first, last = page[0].revision, min(page[-1].revision, audit.stored)
    found: dict[int, LogEntry] = {}
    for start, packed in await stores.chunks_with(audit.key, first, last):
        with contextlib.suppress(ChunkDamaged):  # found before
            found.update((entry.revision, entry) for entry in unpack(packed, start) if first <= entry.revision <= last)
    return found
