"""The real Redis-compatible server and the real Postgres for tests, started by the product's own code.

Sockets want short paths, so everything lives in a private folder right under /tmp.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import asyncpg
import redis

from cluster.embedded import Service
from cluster.postgres import start_postgres
from cluster.valkey import start_valkey


@contextmanager
def short_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="cs-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Valkey:
    """One server on one folder, which can be killed and started again on what it wrote."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.service: Service | None = None

    @property
    def url(self) -> str:
        assert self.service is not None
        return self.service.url

    async def start(self) -> None:
        self.service = await start_valkey(self.folder, self.folder)

    async def stop(self) -> None:
        if self.service is not None:
            await self.service.stop()

    def kill(self) -> None:
        """kill -9."""
        assert self.service is not None
        self.service.child.kill()

    def clear(self) -> None:
        """Forget everything, scripts too."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()
            client.script_flush()


class Postgres:
    """One server; each test gets a database of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.service: Service | None = None
        self._databases = 0

    def url(self, database: str) -> str:
        assert self.service is not None
        return self.service.url.replace("/coscribe?", f"/{database}?")

    async def start(self) -> None:
        self.service = await start_postgres(self.folder, self.folder)

    async def stop(self) -> None:
        if self.service is not None:
            await self.service.stop()

    async def create_database(self) -> str:
        self._databases += 1
        name = f"test_{self._databases}"
        await self.execute(f"CREATE DATABASE {name}")
        return name

    async def drop_database(self, name: str) -> None:
        await self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url("postgres"), timeout=10)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


_Service = TypeVar("_Service", Valkey, Postgres)


@contextmanager
def running(service: _Service) -> Iterator[_Service]:
    try:
        asyncio.run(service.start())
        yield service
    finally:
        asyncio.run(service.stop())
