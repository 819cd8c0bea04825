"""The long-term store: documents, the log of operations in packed chunks, and snapshots, in Postgres.

Every write is safe to repeat after an unknown outcome: a flush compares before it sets, the rest writes what is there
already. The comparison locks the section's row, so of two flushers that overlap one gets False.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import structlog

from coscribe.names import SectionKey
from persistence import store_sql as sql
from persistence.chunks import pack, unpack
from persistence.migrate import migrate
from persistence.postgres import POOL_CONNECTIONS, TIMEOUT_S, open_pool, unavailable
from persistence.records import Document, Durable, LogEntry, StoredSnapshot

NOTHING: Final = Durable(0, 0)
THREAD_FROM_BYTES: Final = 64_000  # compressing more than this (some ms) leaves the event loop
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)

log_event = structlog.get_logger("store")


class PostgresStore:
    """Implements records.Store."""

    def __init__(self, pool: Any, timeout_s: float) -> None:
        self._pool = pool
        self._timeout_s = timeout_s

    @classmethod
    async def connect(
        cls, url: str, *, connections: int = POOL_CONNECTIONS, timeout_s: float = TIMEOUT_S
    ) -> "PostgresStore":
        """Bring the schema up to date and open the pool. Raises Unavailable and ConfigurationError."""
        with unavailable():
            connection = await asyncpg.connect(url, timeout=timeout_s)
            try:
                await migrate(connection)
                synchronous_commit = await connection.fetchval("SHOW synchronous_commit")
            finally:
                await connection.close(timeout=timeout_s)
        return cls(await open_pool(url, connections, timeout_s, synchronous_commit), timeout_s)

    async def aclose(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._pool.close()
        except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self._pool.terminate()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        with unavailable():
            async with self._pool.acquire(timeout=self._timeout_s) as connection:
                try:
                    yield connection
                except asyncpg.InternalClientError:
                    connection.terminate()
                    raise

    async def create_document(self, document: Document) -> Document:
        async with self._connection() as connection:
            await connection.execute(
                sql.CREATE_DOCUMENT,
                *(document.id, document.incarnation, document.organisation, document.created_by),
                _time(document.created_ms),
            )
            row = await connection.fetchrow(sql.DOCUMENT, document.id)
        assert row is not None, "it was just created, or was there"
        return _document(row)

    async def document(self, document_id: str) -> Document | None:
        async with self._connection() as connection:
            row = await connection.fetchrow(sql.DOCUMENT, document_id)
        return None if row is None else _document(row)

    async def delete_document(self, document_id: str, now_ms: int) -> Document | None:
        """Mark the document as deleted; what it held stays. Returns it as it is now, None if there was none."""
        async with self._connection() as connection:
            await connection.execute(sql.DELETE_DOCUMENT, document_id, _time(now_ms))
            row = await connection.fetchrow(sql.DOCUMENT, document_id)
        return None if row is None else _document(row)

    async def durable(self, key: SectionKey) -> Durable:
        async with self._connection() as connection:
            row = await connection.fetchrow(sql.DURABLE, key.incarnation, key.section)
        return NOTHING if row is None else Durable(row["durable_rev"], row["epoch"])

    async def flush(self, key: SectionKey, entries: Sequence[LogEntry]) -> bool:
        first, last = entries[0], entries[-1]
        assert last.revision - first.revision + 1 == len(entries), "a run has no gap"
        assert first.revision > 0, "the first entry leads to revision 1"
        assert first.epoch <= last.epoch, "epochs only grow"
        size = sum(len(entry.entry) for entry in entries)
        chunk = await asyncio.to_thread(pack, entries) if size > THREAD_FROM_BYTES else pack(entries)
        async with self._connection() as connection:
            done: str = await connection.execute(
                sql.FLUSH,
                *(key.incarnation, key.section, key.document),
                *(first.revision, last.revision, first.epoch, last.epoch),
                *(_time(first.time_ms), _time(last.time_ms)),
                *(sorted({entry.user for entry in entries}), len(entries), chunk),
            )
        return done == "INSERT 0 1"

    async def entries(self, key: SectionKey, after: int, through: int) -> Sequence[LogEntry]:
        async with self._connection() as connection:
            rows = await connection.fetch(sql.CHUNKS, key.incarnation, key.section, after, through)
        found: list[LogEntry] = []
        for first, chunk in rows:
            if found and first != found[-1].revision + 1:
                break
            found += unpack(chunk, first)
        run = [entry for entry in found if after < entry.revision <= through]
        return run if run and run[0].revision == after + 1 else []

    async def save_snapshot(self, key: SectionKey, snapshot: StoredSnapshot) -> None:
        large = len(snapshot.content) > THREAD_FROM_BYTES
        content = await asyncio.to_thread(_squeeze, snapshot.content) if large else _squeeze(snapshot.content)
        async with self._connection() as connection, connection.transaction():
            row = await connection.fetchrow(sql.DURABLE, key.incarnation, key.section)
            durable = 0 if row is None else row["durable_rev"]
            assert snapshot.revision <= durable, "a snapshot is never ahead of the entries that lead to it"
            await connection.execute(
                sql.SAVE_SNAPSHOT,
                *(key.incarnation, key.section, snapshot.revision, key.document),
                *(snapshot.epoch, snapshot.next, snapshot.sealed, content),
            )
            await connection.execute(sql.DROP_SNAPSHOTS, key.incarnation, key.section, sql.KEPT_SNAPSHOTS)

    async def newest_snapshot(self, key: SectionKey) -> StoredSnapshot | None:
        async with self._connection() as connection:
            rows = await connection.fetch(sql.SNAPSHOTS, key.incarnation, key.section)
        for row in rows:
            try:
                content = zlib.decompress(row["content"])
            except zlib.error as error:
                # An older one leads to the same content by more entries: all of them are kept.
                log_event.error(
                    "snapshot damaged",
                    document=key.document,
                    section=key.section,
                    revision=row["rev"],
                    error=str(error),
                )
                continue
            return StoredSnapshot(row["rev"], row["epoch"], row["next"], row["sealed"], content)
        return None


def _squeeze(content: bytes) -> bytes:
    return zlib.compress(content, 1)


def _time(ms: int) -> datetime:
    return _EPOCH + ms * _MS


def _document(row: Any) -> Document:
    return Document(
        row["id"],
        row["incarnation"],
        row["organisation"],
        row["created_by"],
        (row["created_at"] - _EPOCH) // _MS,
        row["deleted_at"] is not None,
    )
