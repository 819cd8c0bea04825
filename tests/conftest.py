"""`async def` tests run in a loop of their own; the two servers start once a run, and each test finds them empty."""

import asyncio
import inspect
from collections.abc import Iterator

import pytest

from tests.support.services import Postgres, Valkey, pair, running, short_folder
from tests.support.system import System, running_system

ASYNC_TEST_TIMEOUT_S = 60


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in wanted}

    async def run() -> None:
        async with asyncio.timeout(ASYNC_TEST_TIMEOUT_S):
            await pyfuncitem.obj(**arguments)

    asyncio.run(run())
    return True


@pytest.fixture(scope="session")
def _valkey() -> Iterator[Valkey]:
    with short_folder() as folder, running(Valkey(folder)) as server:
        yield server


@pytest.fixture
def valkey(_valkey: Valkey) -> Valkey:
    """An empty server, shared with the other tests: do not stop it."""
    _valkey.clear()
    return _valkey


@pytest.fixture
def redis_url(valkey: Valkey) -> str:
    return valkey.url


@pytest.fixture
def own_valkey() -> Iterator[Valkey]:
    """A server of the test's own, to kill and to start again."""
    with short_folder() as folder, running(Valkey(folder)) as server:
        yield server


@pytest.fixture(scope="session")
def _replicated_valkey() -> Iterator[Valkey]:
    with pair() as (primary, _):
        yield primary


@pytest.fixture
def replicated_url(_replicated_valkey: Valkey) -> str:
    """An empty server that has a replica, shared with the other tests."""
    _replicated_valkey.clear()
    return _replicated_valkey.url


@pytest.fixture
def own_pair() -> Iterator[tuple[Valkey, Valkey]]:
    """A primary and a replica of the test's own."""
    with pair() as servers:
        yield servers


@pytest.fixture(scope="session")
def _postgres() -> Iterator[Postgres]:
    with short_folder() as folder, running(Postgres(folder)) as server:
        yield server


@pytest.fixture
def postgres(_postgres: Postgres) -> Postgres:
    """An empty database, without the schema. The server is shared with the other tests: do not stop it."""
    asyncio.run(_postgres.clear())
    return _postgres


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    return postgres.url


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server of the test's own, to kill and to start again."""
    with short_folder() as folder, running(Postgres(folder)) as server:
        yield server


@pytest.fixture(scope="session")
def system() -> Iterator[System]:
    """The whole product, started once: whoever stops or kills a part leaves it running again."""
    with running_system() as started:
        yield started
