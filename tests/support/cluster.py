"""A whole cluster without Ray in the test's own process: real Redis and Postgres, real host and router servers."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from actors.host_server import HostSettings, RunningHost, serve_host
from actors.upkeep import UpkeepSettings
from cluster.config import Settings, load
from coscribe.client import DocumentClient
from router.app import serve
from router.auth import Identity, Tokens
from tests.support.ports import free_port

SECRET = "a secret of the tests, long enough for HS256"


class RunningRouter:
    """One router on a port of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._stopped = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    async def start(self) -> None:
        """Serve, and return once clients are served."""
        self._stopped.clear()
        self._task = asyncio.create_task(serve(self.settings, self._stopped))
        async with aiohttp.ClientSession() as http, asyncio.timeout(20):
            while not self._task.done():
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.get(f"{self.url}/readyz") as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(0.02)
        await self._task

    async def stop(self) -> None:
        self._stopped.set()
        if self._task:
            await self._task


class Cluster:
    """Hosts by name and one router or more; `client` connects to the first."""

    def __init__(self, redis_url: str, postgres_url: str, data: Path, **given: Any) -> None:
        self.redis_url, self.postgres_url, self.data, self.given = redis_url, postgres_url, data, given
        self.hosts: dict[str, RunningHost] = {}
        self.routers: list[RunningRouter] = []
        self.http: aiohttp.ClientSession | None = None

    async def start_host(self, name: str, upkeep: UpkeepSettings | None = None) -> RunningHost:
        settings = HostSettings(
            name, self.redis_url, self.postgres_url, SECRET, lease_ttl_s=1.0, upkeep=upkeep or UpkeepSettings(),
            replicas=1 if self.given.get("durability") == "replica" else 0,
        )  # fmt: skip
        host = self.hosts[name] = await serve_host(settings)
        return host

    def router_settings(self, **given: Any) -> Settings:
        """Of a router on a port that is free now."""
        wanted = {"port": free_port(), **self.given, **given}
        return load(
            data=self.data, redis_url=self.redis_url, postgres_url=self.postgres_url, cluster_secret=SECRET,
            token_secret=SECRET, **wanted,
        ).resolved()  # fmt: skip

    async def start_router(self) -> RunningRouter:
        router = RunningRouter(self.router_settings())
        await router.start()
        self.routers.append(router)
        return router

    def token(self, user: str = "ann", role: str = "writer", lifetime_s: int = 600, document: str | None = None) -> str:
        tokens = Tokens(SECRET, "coscribe", "coscribe")
        identity = Identity(user, user.title(), role, None, document)  # type: ignore[arg-type]
        return tokens.mint(identity, int(time.time()), lifetime_s)

    def client(self, document: str, user: str = "ann", router: int = 0, **given: Any) -> DocumentClient:
        assert self.http is not None
        return DocumentClient(self.http, self.routers[router].url, document, token=self.token(user), **given)

    async def read(self, document: str) -> dict[str, Any]:
        assert self.http is not None
        headers = {"Authorization": f"Bearer {self.token()}"}
        async with self.http.get(f"{self.routers[0].url}/v1/documents/{document}", headers=headers) as response:
            assert response.status == 200, await response.text()
            found: dict[str, Any] = await response.json()
            return found


@contextlib.asynccontextmanager
async def cluster(
    redis_url: str, postgres_url: str, data: Path, *, hosts: int = 1, routers: int = 1, **given: Any
) -> AsyncIterator[Cluster]:
    """Hosts and routers, stopped in order at the end."""
    started = Cluster(redis_url, postgres_url, data, **given)
    async with aiohttp.ClientSession() as http:
        started.http = http
        try:
            for number in range(hosts):
                await started.start_host(f"host-{number}")
            for _ in range(routers):
                await started.start_router()
            yield started
        finally:
            for router in started.routers:
                await router.stop()
            for host in started.hosts.values():
                await host.stop()
