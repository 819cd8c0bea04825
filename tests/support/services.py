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
from unittest.mock import patch

import asyncpg
import redis

from cluster.embedded import Service
from cluster.postgres import SETTINGS, start_postgres
from cluster.valkey import start_valkey
from tests.support.ports import free_port


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


def follow(replica: Valkey, primary: Valkey) -> None:
    """Returns once the replica has what the primary has."""
    with redis.Redis.from_url(primary.url) as client:
        if client.config_get("port")["port"] == "0":
            client.config_set("port", free_port())
        client.config_set("repl-diskless-sync-delay", 0)
        port = client.config_get("port")["port"]
        password = client.connection_pool.connection_kwargs["password"]
        with redis.Redis.from_url(replica.url) as follower:
            follower.config_set("masterauth", password)
            follower.replicaof("127.0.0.1", port)
        for _ in range(300):
            client.set("cs:replicated", 1)
            _, has = client.execute_command("WAITAOF", 1, 1, 100)
            if has:
                return
    raise TimeoutError("the replica does not follow")


def promote(replica: Valkey) -> None:
    with redis.Redis.from_url(replica.url) as client:
        client.replicaof("NO", "ONE")


# Faster than a database for each test. Whoever still holds on to what the last test left is cut off.
EMPTY_DATABASE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();
DROP SCHEMA public CASCADE;
CREATE SCHEMA public;
"""


class Postgres:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.service: Service | None = None

    @property
    def url(self) -> str:
        assert self.service is not None
        return self.service.url

    async def start(self) -> None:
        with patch.dict(SETTINGS, fsync="off"):
            self.service = await start_postgres(self.folder, self.folder)

    async def stop(self) -> None:
        if self.service is not None:
            await self.service.stop()

    def kill(self) -> None:
        """kill -9 of the postmaster; its children end by themselves."""
        assert self.service is not None
        self.service.child.kill()

    async def clear(self) -> None:
        """Forget everything, the schema too."""
        connection = await asyncpg.connect(self.url, timeout=10)
        try:
            await connection.execute(EMPTY_DATABASE)
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


@contextmanager
def pair() -> Iterator[tuple[Valkey, Valkey]]:
    """A primary and its replica."""
    with (
        short_folder() as one, short_folder() as other,
        running(Valkey(one)) as primary, running(Valkey(other)) as replica,
    ):  # fmt: skip
        follow(replica, primary)
        yield primary, replica
