"""After a fault: is every promise kept? Read from Postgres and Redis directly, past everything that serves clients."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.failover.crowd import Operation, Typist
from coscribe.batch import LogEntry
from coscribe.names import SectionKey
from coscribe.ot import OWN_LIMITS, Content, Delta, decode
from coscribe.protocol import decode_op_entry
from coscribe.section import newborn
from persistence.reader import RedisLogReader
from persistence.store import PostgresStore

PAGE_ENTRIES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """Operations that were acknowledged and are not in the log, and that are there twice; copies that differ."""

    acked_lost: int
    doubled: int
    diverged: int

    @property
    def whole(self) -> bool:
        return not (self.acked_lost or self.doubled or self.diverged)


async def audit(document: str, typists: Sequence[Typist], store: PostgresStore, log: RedisLogReader) -> Verdict:
    entries = await read_log(document, store, log)
    acked = {operation: revision for typist in typists for operation, revision in typist.acked.items()}
    return judge(entries, acked, [typist.client.content for typist in typists])


def judge(entries: Sequence[LogEntry], acked: Mapping[Operation, int], copies: Sequence[Delta]) -> Verdict:
    """The log of a document, beside what clients were told is in it at which revision, and what they have."""
    found: Counter[Operation] = Counter()
    at: dict[Operation, int] = {}
    content = Content(newborn().content.delta())
    for entry in entries:
        op = decode_op_entry(entry.entry)
        found[op.client, op.cseq] += 1
        at[op.client, op.cseq] = entry.revision
        content.apply(decode(bytes(op.delta), OWN_LIMITS))
    lost = sum(at.get(operation) != revision for operation, revision in acked.items())
    told = content.delta()
    diverged = sum(copy != told for copy in copies)
    if [entry.revision for entry in entries] != list(range(1, len(entries) + 1)):
        diverged = len(copies)  # a log with a gap is nobody's copy
    return Verdict(lost, sum(count > 1 for count in found.values()), diverged)


async def read_log(document: str, store: PostgresStore, log: RedisLogReader) -> list[LogEntry]:
    """All entries of a document of one section, from both stores."""
    row = await store.document(document)
    assert row is not None, f"document {document} is not in Postgres"
    key = SectionKey(document, row.incarnation, "0")
    durable = await store.durable(key)
    entries = list(await store.entries(key, 0, durable.revision))
    while page := await log.read(key, len(entries), PAGE_ENTRIES):
        if page[0].revision != len(entries) + 1:
            break
        entries.extend(page)
    return entries
