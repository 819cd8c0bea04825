"""What the contract suites run on. A factory is called outside of any event loop and returns how to open a store that
is empty; what is opened again later in the same test is the same store."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from persistence.log import RedisLog
from persistence.records import Log, Store
from persistence.store import PostgresStore
from tests.simulation.postgres_server import PostgresServer
from tests.simulation.redis_server import RedisServer
from tests.simulation.stores import SimLog, SimStore
from tests.simulation.wires import DirectWire

OpenLog = Callable[[], AbstractAsyncContextManager[Log]]
OpenStore = Callable[[], AbstractAsyncContextManager[Store]]


def redis_log(request: pytest.FixtureRequest) -> OpenLog:
    url = request.getfixturevalue("redis_url")

    @asynccontextmanager
    async def open_log() -> AsyncIterator[Log]:
        log = RedisLog.connect(url)
        try:
            yield log
        finally:
            await log.aclose()

    return open_log


def replicated_log(request: pytest.FixtureRequest) -> OpenLog:
    url = request.getfixturevalue("replicated_url")

    @asynccontextmanager
    async def open_log() -> AsyncIterator[Log]:
        log = RedisLog.connect(url, replicas=1)
        try:
            yield log
        finally:
            await log.aclose()

    return open_log


def postgres_store(request: pytest.FixtureRequest) -> OpenStore:
    url = request.getfixturevalue("postgres_url")

    @asynccontextmanager
    async def open_store() -> AsyncIterator[Store]:
        store = await PostgresStore.connect(url)
        try:
            yield store
        finally:
            await store.aclose()

    return open_store


def simulated_log(request: pytest.FixtureRequest) -> OpenLog:
    server = RedisServer(lambda: 1_700_000_000_000)

    @asynccontextmanager
    async def open_log() -> AsyncIterator[Log]:
        yield SimLog(server, DirectWire())

    return open_log


def simulated_store(request: pytest.FixtureRequest) -> OpenStore:
    server = PostgresServer()

    @asynccontextmanager
    async def open_store() -> AsyncIterator[Store]:
        yield SimStore(server, DirectWire())

    return open_store


LOG_IMPLEMENTATIONS: dict[str, Callable[[pytest.FixtureRequest], OpenLog]] = {
    "redis": redis_log,
    "redis with a replica": replicated_log,
    "simulated": simulated_log,
}
STORE_IMPLEMENTATIONS: dict[str, Callable[[pytest.FixtureRequest], OpenStore]] = {
    "postgres": postgres_store,
    "simulated": simulated_store,
}
