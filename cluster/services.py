"""Redis and Postgres as `coscribe up` sees them: private ones that it starts, or an operator's that it only checks."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import asyncpg

from cluster.config import Durability, Settings
from cluster.data_folder import CannotStart
from cluster.embedded import Service
from cluster.postgres import STOP_SIGNALS as POSTGRES_SIGNALS
from cluster.postgres import postgres_url, start_postgres
from cluster.processes import Child
from cluster.supervisor import Part
from cluster.valkey import STOP_SIGNALS as VALKEY_SIGNALS
from cluster.valkey import Fsync, start_valkey, valkey_url
from persistence.migrate import migrate
from persistence.records import ConfigurationError, Unavailable
from persistence.redis_checks import check_server
from persistence.redis_client import shared_client

FSYNC: Final[dict[Durability, Fsync]] = {
    "memory": "never",
    "process": "everysec",
    "fsync": "always",
    "replica": "always",
}
CONNECT_TIMEOUT_S: Final = 10.0

Ready = Callable[[str, str], None]


class Services:
    """Valkey is first to start and last to stop: others write to it until their end."""

    def __init__(self, settings: Settings, runtime: Path, logs: Path, ready: Ready) -> None:
        self._settings = settings
        self._runtime = runtime
        self._logs = logs
        self._shown = ready
        given_redis, given_postgres = settings.redis_url, settings.postgres_url
        self.redis_url = given_redis.get_secret_value() if given_redis else valkey_url(settings.data, runtime)
        self.postgres_url = (
            given_postgres.get_secret_value() if given_postgres else postgres_url(settings.data, runtime)
        )
        self.parts: list[Part] = []
        self.folders: list[Path] = []
        if given_redis is None:
            self.parts.append(Part("Valkey", self._start_valkey, VALKEY_SIGNALS))
            self.folders.append(settings.data / "valkey")
        if given_postgres is None:
            self.parts.append(Part("Postgres", self._start_postgres, POSTGRES_SIGNALS))
            self.folders.append(settings.data / "postgres")
        self.checked = asyncio.Event()

    @staticmethod
    def names(settings: Settings) -> list[str]:
        return ["Redis" if settings.redis_url else "Valkey", "Postgres"]

    async def check(self) -> None:
        """Wait for both, check what Redis promises, and bring the schema up to date. Raises CannotStart."""
        await asyncio.gather(self._check_redis(), self._migrate())
        self.checked.set()

    async def _check_redis(self) -> None:
        await self._started("Valkey")
        client = shared_client(self.redis_url, CONNECT_TIMEOUT_S)
        try:
            warnings = await check_server(client, self._settings.durability, self._settings.replicas)
        except (ConfigurationError, Unavailable) as error:
            raise CannotStart(f"Redis at {_place(self.redis_url)}: {error}") from None
        finally:
            await client.aclose()
        if self._settings.redis_url:
            self._shown("Redis", " ".join([f"yours, at {_place(self.redis_url)}", *warnings]))

    async def _migrate(self) -> None:
        await self._started("Postgres")
        place = f"Postgres at {_place(self.postgres_url)}"
        try:
            connection = await asyncpg.connect(self.postgres_url, timeout=CONNECT_TIMEOUT_S)
        except (OSError, asyncpg.PostgresError, ValueError) as error:
            raise CannotStart(f"{place} lets nobody in: {str(error) or 'no answer'}") from None
        try:
            await migrate(connection)
        except (ConfigurationError, asyncpg.PostgresError) as error:
            raise CannotStart(f"{place}: {error}") from None
        finally:
            await connection.close(timeout=CONNECT_TIMEOUT_S)
        if self._settings.postgres_url:
            self._shown("Postgres", f"yours, at {_place(self.postgres_url)}")

    async def _started(self, name: str) -> None:
        for part in self.parts:
            if part.name == name:
                await part.ready.wait()

    async def _start_valkey(self) -> Child:
        service = await start_valkey(
            self._settings.data,
            self._runtime,
            log=self._logs / "valkey.log",
            fsync=FSYNC[self._settings.durability],
        )
        return self._ready("Valkey", service)

    async def _start_postgres(self) -> Child:
        service = await start_postgres(self._settings.data, self._runtime, log=self._logs / "postgres.log")
        return self._ready("Postgres", service)

    def _ready(self, part: str, service: Service) -> Child:
        self._shown(part, f"{service.binary.version} ({service.binary.why})")
        return service.child


def _place(url: str) -> str:
    """Where a URL leads, without the password in it."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.hostname and parts.port else parts.hostname or parts.path
