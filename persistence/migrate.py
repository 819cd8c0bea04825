"""Forward-only migrations: numbered SQL files, applied once each, in one transaction under an advisory lock.

A file that was applied is never changed: its checksum is kept. A database that is newer than the code is refused, for
this code does not know what the tables mean there.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from persistence.records import ConfigurationError

_LOCK: Final = 0x636F7363_72696265  # "coscribe": any number that nobody else takes
_LOCK_TIMEOUT_S: Final = 120  # another process may be migrating a large table
_FILE: Final = re.compile(r"(\d{4})_(\w+)\.sql")

_TABLE: Final = """
CREATE TABLE schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


@dataclass(frozen=True, slots=True)
class Migration:
    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def known_migrations() -> Sequence[Migration]:
    """Those that come with this code, numbered from 1 without a gap."""
    found = [
        Migration(int(match[1]), match[2], resource.read_text("utf-8"))
        for resource in (files("persistence") / "migrations").iterdir()
        if (match := _FILE.fullmatch(resource.name))
    ]
    found.sort(key=lambda migration: migration.version)
    assert [migration.version for migration in found] == list(range(1, len(found) + 1)), "migrations have a gap"
    return found


async def migrate(connection: Any, migrations: Sequence[Migration] | None = None) -> int:
    """Bring the schema up to date; returns its version. Raises ConfigurationError."""
    migrations = known_migrations() if migrations is None else migrations
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT_S}s'")
        await connection.execute(f"SET LOCAL statement_timeout = '{_LOCK_TIMEOUT_S}s'")
        timeout_s = _LOCK_TIMEOUT_S * 1.2
        await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})", timeout=timeout_s)
        # Asked first: a role that may only read and write rows gets along while there is nothing to do.
        if not await connection.fetchval("SELECT to_regclass('schema_migrations') IS NOT NULL"):
            await connection.execute(_TABLE)
        rows = await connection.fetch("SELECT version, checksum FROM schema_migrations")
        applied = {row["version"]: row["checksum"] for row in rows}
        _check(applied, migrations)
        for migration in migrations:
            if migration.version not in applied:
                await connection.execute(migration.sql, timeout=timeout_s)
                await connection.execute(
                    "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
                    *(migration.version, migration.name, migration.checksum),
                )
    return len(migrations)


def _check(applied: Mapping[int, str], migrations: Sequence[Migration]) -> None:
    newest = max(applied, default=0)
    if newest > len(migrations):
        raise ConfigurationError(
            f"The database was prepared by a newer Coscribe: its schema has version {newest}, and this Coscribe knows "
            f"version {len(migrations)}. Start the newer Coscribe, or restore a backup from before the upgrade."
        )
    for migration in migrations:
        if applied.get(migration.version, migration.checksum) != migration.checksum:
            raise ConfigurationError(
                f"Migration {migration.version} ({migration.name}) is not the one that this database was made with. "
                "Use an unchanged release of Coscribe, or another database."
            )
