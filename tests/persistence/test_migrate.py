"""Migrations: from empty, twice, at once, and the databases that are refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from persistence.migrate import Migration, known_migrations, migrate
from persistence.records import ConfigurationError
from persistence.store import PostgresStore

pytestmark = pytest.mark.services

ONE = Migration(1, "one", "CREATE TABLE one (id int)")
TWO = Migration(2, "two", "CREATE TABLE two (id int); INSERT INTO one VALUES (2)")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


def test_known_migrations_are_numbered_without_a_gap() -> None:
    known = known_migrations()
    assert [migration.version for migration in known] == list(range(1, len(known) + 1))


async def test_from_empty_and_again(postgres_url: str) -> None:
    async with connected(postgres_url) as connection:
        assert await migrate(connection) == len(known_migrations())
        assert await migrate(connection) == len(known_migrations())
        assert await connection.fetchval("SELECT count(*) FROM schema_migrations") == len(known_migrations())


async def test_only_what_is_missing_is_applied(postgres_url: str) -> None:
    async with connected(postgres_url) as connection:
        await migrate(connection, [ONE])
        assert await migrate(connection, [ONE, TWO]) == 2
        assert await connection.fetch("SELECT id FROM one") == [(2,)]


async def test_many_who_start_at_once_apply_it_once(postgres_url: str) -> None:
    stores = await asyncio.gather(*(PostgresStore.connect(postgres_url) for _ in range(8)))
    await asyncio.gather(*(store.aclose() for store in stores))


async def test_a_migration_that_fails_leaves_nothing(postgres_url: str) -> None:
    broken = Migration(2, "two", "CREATE TABLE two (id int); SELECT 1 / 0")
    async with connected(postgres_url) as connection:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await migrate(connection, [ONE, broken])
        assert await connection.fetchval("SELECT to_regclass('one')") is None
        assert await migrate(connection, [ONE, TWO]) == 2


async def test_a_newer_database_is_refused(postgres_url: str) -> None:
    async with connected(postgres_url) as connection:
        await migrate(connection)
        await connection.execute("INSERT INTO schema_migrations (version, name, checksum) VALUES (999, 'future', '')")
    with pytest.raises(ConfigurationError, match="prepared by a newer Coscribe: its schema has version 999"):
        await PostgresStore.connect(postgres_url)


async def test_a_migration_that_was_changed_afterwards_is_refused(postgres_url: str) -> None:
    async with connected(postgres_url) as connection:
        await migrate(connection, [ONE])
        with pytest.raises(ConfigurationError, match="not the one that this database was made with"):
            await migrate(connection, [Migration(1, "one", ONE.sql + " "), TWO])
        assert await connection.fetchval("SELECT to_regclass('two')") is None


async def test_a_role_that_may_only_use_the_tables_gets_along(postgres_url: str) -> None:
    async with connected(postgres_url) as connection:
        await migrate(connection)
        await connection.execute("DROP ROLE IF EXISTS writer; CREATE ROLE writer")
        await connection.execute("GRANT SELECT ON schema_migrations TO writer; GRANT USAGE ON SCHEMA public TO writer")
        await connection.execute("SET ROLE writer")
        assert await migrate(connection) == len(known_migrations())
        await connection.execute("RESET ROLE; DROP OWNED BY writer; DROP ROLE writer")
