"""The long-term store on a real server: broken connections, damaged rows, and mistakes that must surface."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from persistence.chunks import ChunkDamaged
from persistence.records import Durable, StoredSnapshot, Unavailable
from persistence.store import PostgresStore
from persistence.store_sql import KEPT_SNAPSHOTS
from tests.persistence.samples import KEY, OTHER, entries, entry
from tests.support.services import Postgres

pytestmark = pytest.mark.services

KILL_OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'coscribe'"


@asynccontextmanager
async def store_and_connection(url: str, timeout_s: float = 10.0) -> AsyncIterator[tuple[PostgresStore, Any]]:
    """A store, and a connection to look behind its back."""
    store = await PostgresStore.connect(url, timeout_s=timeout_s)
    connection = await asyncpg.connect(url)
    try:
        yield store, connection
    finally:
        await connection.close()
        await store.aclose()


async def ask_for_ever(store: PostgresStore) -> None:
    """The children of a server that was killed may answer a little longer."""
    while True:
        await store.durable(KEY)


async def test_a_server_that_is_away_is_unavailable_and_logs_no_traceback(
    own_postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    store = await PostgresStore.connect(own_postgres.url)
    try:
        await store.flush(KEY, entries(1, 2))
        own_postgres.kill()
        with pytest.raises(Unavailable):
            await ask_for_ever(store)
        for _ in range(10):  # a pool that tries by itself has had its turn, too
            with pytest.raises(Unavailable):
                await store.durable(KEY)
        assert not [record for record in caplog.records if record.name.startswith("asyncpg")]
        await own_postgres.start()
        assert await store.durable(KEY) == Durable(2, 1)
    finally:
        await store.aclose()


async def test_killed_connections_are_unavailable_at_most_then_it_recovers(postgres_url: str) -> None:
    async with store_and_connection(postgres_url) as (store, connection):
        await store.flush(KEY, entries(1, 2))
        await connection.execute(KILL_OTHERS)
        try:
            await store.flush(KEY, entries(3, 4))
        except Unavailable:
            await store.flush(KEY, entries(3, 4))
        assert await store.durable(KEY) == Durable(4, 1)


async def test_a_statement_killed_under_way_is_unavailable(postgres_url: str) -> None:
    async with store_and_connection(postgres_url) as (store, connection):
        await store.flush(KEY, entries(1, 2))
        async with connection.transaction():
            await connection.execute("LOCK TABLE sections")
            under_way = asyncio.create_task(store.flush(KEY, entries(3, 4)))
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            while not await connection.fetchval(waiting):
                pass
            await connection.execute(KILL_OTHERS)
            with pytest.raises(Unavailable):
                await under_way
        assert await store.durable(KEY) == Durable(2, 1)


async def test_a_statement_that_waits_too_long_is_unavailable(postgres_url: str) -> None:
    async with store_and_connection(postgres_url, timeout_s=0.2) as (store, connection):
        async with connection.transaction():
            await connection.execute("LOCK TABLE sections")
            with pytest.raises(Unavailable):
                await store.flush(KEY, entries(1, 2))
        assert await store.flush(KEY, entries(1, 2))


async def test_a_server_that_is_killed_and_comes_back(own_postgres: Postgres) -> None:
    store = await PostgresStore.connect(own_postgres.url, timeout_s=5)
    assert await store.flush(KEY, entries(1, 2))
    own_postgres.kill()
    with pytest.raises(Unavailable):
        await ask_for_ever(store)
    with pytest.raises(Unavailable):
        await PostgresStore.connect(own_postgres.url, timeout_s=5)
    await own_postgres.start()
    assert await store.durable(KEY) == Durable(2, 1)
    await store.aclose()


async def test_a_mistake_of_ours_surfaces(postgres_url: str) -> None:
    async with store_and_connection(postgres_url) as (store, _):
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await store.flush(KEY, [dataclasses.replace(entry(1), user="NUL \0 in text")])
        with pytest.raises(AssertionError):
            await store.flush(KEY, [entry(1), entry(3)])
        with pytest.raises(AssertionError):
            await store.flush(KEY, [entry(1, 2), entry(2, 1)])


async def test_a_store_that_was_closed_is_unavailable(postgres_url: str) -> None:
    store = await PostgresStore.connect(postgres_url)
    await store.aclose()
    with pytest.raises(Unavailable):
        await store.durable(KEY)


async def test_only_the_newest_snapshots_stay(postgres_url: str) -> None:
    async with store_and_connection(postgres_url) as (store, connection):
        await store.flush(KEY, entries(1, 9))
        await store.save_snapshot(OTHER, StoredSnapshot(0, 1, None, None, b"[]"))
        for revision in range(1, 10):
            await store.save_snapshot(KEY, StoredSnapshot(revision, 1, None, None, b"[]"))
        kept = await connection.fetch("SELECT rev FROM snapshots WHERE section = $1 ORDER BY rev", KEY.section)
        assert [row["rev"] for row in kept] == list(range(10 - KEPT_SNAPSHOTS, 10))
        assert await store.newest_snapshot(OTHER) is not None


async def test_a_damaged_snapshot_gives_way_to_an_older_one(postgres_url: str) -> None:
    async with store_and_connection(postgres_url) as (store, connection):
        await store.flush(KEY, entries(1, 9))
        older = StoredSnapshot(4, 1, None, None, b'["older\\n"]')
        await store.save_snapshot(KEY, older)
        await store.save_snapshot(KEY, dataclasses.replace(older, revision=9))
        await connection.execute("UPDATE snapshots SET content = set_byte(content, 9, 255) WHERE rev = 9")
        assert await store.newest_snapshot(KEY) == older


async def test_a_damaged_chunk_is_never_served(postgres_url: str) -> None:
    async with store_and_connection(postgres_url) as (store, connection):
        await store.flush(KEY, entries(1, 9))
        await connection.execute("UPDATE chunks SET entries = set_byte(entries, 20, 255)")
        with pytest.raises(ChunkDamaged):
            await store.entries(KEY, 0, 9)


async def test_a_missing_chunk_ends_the_run(postgres_url: str) -> None:
    async with store_and_connection(postgres_url) as (store, connection):
        for first in (1, 4, 7):
            await store.flush(KEY, entries(first, first + 2))
        await connection.execute("DELETE FROM chunks WHERE first_rev = 4")
        assert tuple(await store.entries(KEY, 0, 9)) == entries(1, 3)
        assert await store.entries(KEY, 4, 9) == []


async def test_rows_say_who_wrote_what_and_when(postgres_url: str) -> None:
    async with store_and_connection(postgres_url) as (store, connection):
        await store.flush(KEY, [entry(1), dataclasses.replace(entry(2), user="ann")])
        row = await connection.fetchrow("SELECT * FROM chunks")
        assert (row["document"], row["authors"], row["count"]) == ("notes", ["ann", "user one"], 2)
        assert (row["last_time"] - row["first_time"]).total_seconds() == 0.001


async def test_sessions_never_commit_without_waiting_for_the_disk(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    user = await connection.fetchval("SELECT current_user")
    try:
        for set_to, expected in (("off", "on"), ("local", "local")):
            await connection.execute(f"ALTER ROLE {user} SET synchronous_commit = {set_to}")
            store = await PostgresStore.connect(postgres_url)
            async with store._connection() as session:
                assert await session.fetchval("SHOW synchronous_commit") == expected
            await store.aclose()
    finally:
        await connection.execute(f"ALTER ROLE {user} RESET synchronous_commit")
        await connection.close()
