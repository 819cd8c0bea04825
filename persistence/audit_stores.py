"""What an audit reads of the two stores, a bounded piece at a time. It writes nothing: not even a migration."""

import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from coscribe.names import SectionKey
from persistence import keys
from persistence import store_sql as sql
from persistence.audit import ChunkRow, LogEnd, SnapshotRow, Unreadable
from persistence.live import decode_live
from persistence.postgres import TIMEOUT_S, session_settings, unavailable
from persistence.reader import decode_entries
from persistence.records import ConfigurationError, Durable, LogEntry
from persistence.redis_client import answering, execute, shared_client

DOCUMENTS_PAGE: Final = 500
STREAM_PAGE: Final = 1_000
CHUNKS_PAGE: Final = 500
CHUNKS_BYTES: Final = 4_000_000  # of one page, but for its last chunk

COUNT: Final = "SELECT count(*) FROM documents"

# An id may have had one life only, but nothing here relies on it.
DOCUMENTS: Final = """
SELECT id, incarnation FROM documents WHERE (id, incarnation) > ($1, $2) ORDER BY id, incarnation LIMIT $3
"""

DOCUMENT: Final = "SELECT id, incarnation FROM documents WHERE id = $1 ORDER BY incarnation"

SECTIONS: Final = """
SELECT section FROM sections WHERE incarnation = $1
UNION SELECT section FROM chunks WHERE incarnation = $1
UNION SELECT section FROM snapshots WHERE incarnation = $1
"""

# The length of a value is known without reading it.
CHUNKS: Final = """
SELECT first_rev, last_rev, entries FROM (
    SELECT first_rev, last_rev, entries,
           sum(octet_length(entries)) OVER (ORDER BY first_rev) - octet_length(entries) AS before
    FROM (
        SELECT first_rev, last_rev, entries FROM chunks
        WHERE incarnation = $1 AND section = $2 AND first_rev > $3 ORDER BY first_rev LIMIT $4
    ) AS page
) AS summed
WHERE before < $5 ORDER BY first_rev
"""


class AuditStores:
    """Every method raises Unavailable."""

    def __init__(self, client: Redis, connection: Any) -> None:
        self._client = client
        self._connection = connection

    async def count(self) -> int:
        with unavailable():
            return int(await self._connection.fetchval(COUNT))

    async def documents(self) -> AsyncIterator[tuple[str, str]]:
        """Id and incarnation of every document, deleted ones too."""
        after = ("", "")
        while True:
            with unavailable():
                rows = await self._connection.fetch(DOCUMENTS, *after, DOCUMENTS_PAGE)
            for row in rows:
                yield row["id"], row["incarnation"]
            if len(rows) < DOCUMENTS_PAGE:
                return
            after = (rows[-1]["id"], rows[-1]["incarnation"])

    async def document(self, document_id: str) -> list[tuple[str, str]]:
        with unavailable():
            rows = await self._connection.fetch(DOCUMENT, document_id)
        return [(row["id"], row["incarnation"]) for row in rows]

    async def sections(self, incarnation: str) -> list[str]:
        with unavailable():
            rows = await self._connection.fetch(SECTIONS, incarnation)
        return sorted(row["section"] for row in rows)

    async def snapshots(self, key: SectionKey) -> list[SnapshotRow]:
        with unavailable():
            rows = await self._connection.fetch(sql.SNAPSHOTS, key.incarnation, key.section)
        found = [SnapshotRow(row["rev"], row["epoch"], row["next"], row["sealed"], row["content"]) for row in rows]
        revision, state = await execute(self._client, "HMGET", keys.live(key), "rev", "state")
        return found if revision is None else [*found, _live_row(int(revision), state)]

    async def durable(self, key: SectionKey) -> Durable:
        with unavailable():
            row = await self._connection.fetchrow(sql.DURABLE, key.incarnation, key.section)
        return Durable(0, 0) if row is None else Durable(row["durable_rev"], row["epoch"])

    async def chunks(self, key: SectionKey, after: int) -> list[ChunkRow]:
        """Some that begin after this revision; none: there are no more."""
        with unavailable():
            rows = await self._connection.fetch(CHUNKS, key.incarnation, key.section, after, CHUNKS_PAGE, CHUNKS_BYTES)
        return [ChunkRow(row["first_rev"], row["last_rev"], row["entries"]) for row in rows]

    async def chunks_with(self, key: SectionKey, first: int, last: int) -> list[tuple[int, bytes]]:
        """First revision and entries of those that hold the entries from `first` to `last`."""
        with unavailable():
            rows = await self._connection.fetch(sql.CHUNKS, key.incarnation, key.section, first - 1, last)
        return [(row["first_rev"], row["entries"]) for row in rows]

    async def log_end(self, key: SectionKey) -> LogEnd:
        async with answering(self._client), self._client.pipeline(transaction=True) as pipeline:
            pipeline.execute_command(b"HGET", keys.meta(key), "rev")
            pipeline.execute_command(b"XREVRANGE", keys.stream(key), "+", "1-0", "COUNT", 1)
            revision, rows = await pipeline.execute()
        return LogEnd(None if revision is None else int(revision), _revision(rows[0][0]) if rows else None)

    async def stream(self, key: SectionKey, first: int) -> list[LogEntry | Unreadable]:
        """A page of it, from this revision on."""
        rows = await execute(self._client, "XRANGE", keys.stream(key), f"{first}-0", "+", "COUNT", STREAM_PAGE)
        return [_entry(row_id, fields) for row_id, fields in rows]


def _live_row(revision: int, state: bytes) -> SnapshotRow:
    """The log's live snapshot as if it were a row; without content where it cannot be read."""
    live = decode_live(state)
    if live is None:
        return SnapshotRow(revision, 0, None, None, b"")
    at = live.snapshot
    return SnapshotRow(at.revision, at.epoch, at.next, at.sealed, zlib.compress(at.content, 1))


def _revision(row_id: bytes) -> int:
    return int(row_id[: row_id.index(b"-")])


def _entry(row_id: bytes, fields: Sequence[bytes]) -> LogEntry | Unreadable:
    try:
        [entry] = decode_entries([(row_id, fields)])
    except ValueError as error:
        return Unreadable(_revision(row_id), f"entry {_revision(row_id)} of the stream cannot be read: {error}")
    return entry


@asynccontextmanager
async def open_stores(redis_url: str, postgres_url: str) -> AsyncIterator[AuditStores]:
    """Raises Unavailable, and ConfigurationError for servers that let nobody in or are not Coscribe's."""
    client, connection = await _redis(redis_url), None
    try:
        connection = await _postgres(postgres_url)
        yield AuditStores(client, connection)
    finally:
        await client.aclose()
        if connection is not None:
            try:
                await connection.close(timeout=TIMEOUT_S)
            except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection.terminate()


async def _redis(url: str) -> Redis:
    try:
        client = shared_client(url)
        await execute(client, "PING")
    except (RedisError, ValueError) as error:
        raise ConfigurationError(f"Redis: {error}") from error
    return client


async def _postgres(url: str) -> Any:
    settings = session_settings(TIMEOUT_S, "on") | {"default_transaction_read_only": "on"}
    try:
        with unavailable():
            connection = await asyncpg.connect(
                url, timeout=TIMEOUT_S, command_timeout=TIMEOUT_S * 1.2, server_settings=settings
            )
            known = await connection.fetchval("SELECT to_regclass('documents')")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise ConfigurationError(f"Postgres: {error}") from error
    if known is None:
        await connection.close(timeout=TIMEOUT_S)
        raise ConfigurationError("The database has no tables of Coscribe: nothing was ever stored in it.")
    return connection
