"""The controller stays away, then a host does: another host removes it from the map, and nothing acknowledged is lost.

The whole product as `coscribe up` starts it."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from cluster.cluster_map import ClusterMap, HostEntry
from cluster.controller import LEASE_NAME
from cluster.processes import descendants, program
from cluster.ring import Ring
from cluster.valkey import valkey_url
from coscribe.client import DocumentClient
from coscribe.names import SectionKey
from persistence.map_store import RedisMapStore
from persistence.redis_client import shared_client
from tests.integration.typing import typing
from tests.support.system import System, running_system

pytestmark = pytest.mark.system

DOCUMENTS = [f"notes-{number}" for number in range(4)]
REMOVED_TIMEOUT_S = 30


@pytest.fixture
def own() -> Iterator[System]:
    with running_system(hosts=2) as started:
        started.wait_for(lambda: {"controller", "host-0", "host-1"} <= set(started.state()["hosts"]))
        yield started


@contextlib.contextmanager
def standing_still(*pids: int) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextlib.asynccontextmanager
async def people(system: System) -> AsyncIterator[list[DocumentClient]]:
    """One for each document, who types without a stop; at the end every word is there once, for a new reader too."""
    token = await asyncio.to_thread(system.guest)
    async with aiohttp.ClientSession() as http:
        clients = [DocumentClient(http, system.url, document, token=token) for document in DOCUMENTS]
        async with typing(clients):
            yield clients
        for client in clients:
            async with DocumentClient(http, system.url, client.document, token=token) as reader:
                # A snapshot may be some entries old; what follows it comes behind.
                await reader.wait_for(lambda reader=reader, client=client: reader.content == client.content)  # type: ignore[misc]


async def more(clients: list[DocumentClient]) -> None:
    """Everybody's edits are acknowledged again and again."""
    for client in clients:
        wanted = client.session.revision() + 10
        await client.wait_for(lambda client=client, wanted=wanted: client.session.revision() >= wanted)  # type: ignore[misc]


async def controller_leads(system: System) -> None:
    """Wait until it holds its lease; only then can it be missed."""
    url = valkey_url(system.data, Path(system.state()["runtime"]))
    async with shared_client(url) as client, asyncio.timeout(REMOVED_TIMEOUT_S):
        while await RedisMapStore(client).leases([LEASE_NAME]) == [None]:  # noqa: ASYNC110 - Redis tells no event
            await asyncio.sleep(0.05)


async def removed(system: System, by: str, host: str) -> None:
    """Wait for it."""
    async with asyncio.timeout(REMOVED_TIMEOUT_S):
        while f"host={host}" not in "".join(line for line in system.log(by).splitlines() if "host_removed" in line):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def owner(document: str) -> str | None:
    hosts = {name: HostEntry(name, name) for name in ("host-0", "host-1")}
    return Ring(ClusterMap(1, hosts)).owner(SectionKey(document, "", "0"))


@pytest.mark.parametrize("killed", [False, True], ids=["frozen", "killed for good"])
async def test_a_host_that_dies_while_the_controller_is_away_is_removed_by_another(own: System, killed: bool) -> None:
    assert {owner(document) for document in DOCUMENTS} == {"host-0", "host-1"}, "choose other names: one has nothing"
    held = [own.pid("controller")]
    dead = own.pid("host-1")
    if killed:  # what would start it again
        held += [child.pid for child in descendants(own.pid("Ray")) if program(child.pid) == "gcs_server"]
    await controller_leads(own)
    async with people(own) as clients:
        with standing_still(*held), standing_still(*([] if killed else [dead])):
            if killed:
                os.kill(dead, signal.SIGKILL)
            began = time.monotonic()
            await removed(own, "host-0", "host-1")
            removed_s = time.monotonic() - began
            await more(clients)  # all of it on the other host
            print(f"removed after {removed_s:.1f} s; {time.monotonic() - began:.1f} s until ten more edits of everyone")
            assert "host_removed" not in own.log("controller")
    await asyncio.to_thread(own.wait_for, own.ready)
