"""The faults: each does its harm to a running system and returns when the system is whole again.

Only processes of the system that the benchmark started are touched, by their ids.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from cluster.cluster_map import ClusterMap, decode_map, encode_map
from cluster.ring import Ring
from coscribe.names import SectionKey
from persistence.map_store import RedisMapStore
from persistence.records import Unavailable
from tests.support.system import System

WHOLE_TIMEOUT_S: Final = 90.0
STALL_S: Final = 6.0  # twice a host's lease


class Site:
    """The system and its cluster map."""

    def __init__(self, system: System, store: RedisMapStore) -> None:
        self.system = system
        self._store = store

    async def map(self) -> ClusterMap:
        encoded = await self._store.read()
        return decode_map(encoded) if encoded else ClusterMap()

    async def owner(self, document: str) -> str:
        """The host that owns a document now."""
        owner = Ring(await self.map()).owner(SectionKey(document, "", "0"))
        assert owner is not None, "there is no host"
        return owner

    async def place(self, document: str, host: str) -> None:
        """By hand: the sections of the document move to a host."""
        while True:
            before = await self.map()
            overrides = {**before.overrides, SectionKey(document, "", "0").placement(): host}
            after = msgspec.structs.replace(before, view=before.view + 1, overrides=overrides)
            if await self._store.write(after.view, encode_map(after)):
                return

    async def whole(self) -> None:
        """Wait until every part runs and every host is on the map."""
        async with asyncio.timeout(WHOLE_TIMEOUT_S):
            while not await self._is_whole():
                await asyncio.sleep(0.1)

    async def _is_whole(self) -> bool:
        with contextlib.suppress(Unavailable, OSError, KeyError, ValueError):
            ready = await asyncio.to_thread(self.system.ready)
            parts = ["Valkey", "Postgres", "router-0", "router-1", "host-0", "host-1", "controller"]
            return ready and all(_alive(self.system.pid(part)) for part in parts)
        return False


Fault = Callable[[Site, str], Awaitable[None]]
"""Harms the system; the second argument is a document whose owner is meant, where a host is."""


async def kill_host(site: Site, document: str) -> None:
    await _kill(site, await site.owner(document))


async def stall_host(site: Site, document: str) -> None:
    """SIGSTOP past its lease, then SIGCONT: it wakes up believing that it owns what others own by then."""
    pid = site.system.pid(await site.owner(document))
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(STALL_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


async def kill_router(site: Site, document: str) -> None:
    await _kill(site, "router-0")


async def kill_redis(site: Site, document: str) -> None:
    await _kill(site, "Valkey")


async def kill_postgres(site: Site, document: str) -> None:
    await _kill(site, "Postgres")


async def kill_controller(site: Site, document: str) -> None:
    await _kill(site, "controller")


async def kill_gcs(site: Site, document: str) -> None:
    """Ray's own heart, the global control service; until another Ray has taken over."""
    before = site.system.pid("Ray")
    os.kill(gcs_pid(site.system), signal.SIGKILL)
    async with asyncio.timeout(WHOLE_TIMEOUT_S):
        while _written(site.system, "Ray") in (None, before):
            await asyncio.sleep(0.1)


def gcs_pid(system: System) -> int:
    return next(
        pid for pid in (int(process["pid"]) for process in system.state()["others"]) if _name(pid) == "gcs_server"
    )


async def hand_off(site: Site, document: str) -> None:
    """No fault: an operator moves the document to the other host."""
    owner = await site.owner(document)
    other = next(name for name in sorted((await site.map()).hosts) if name != owner)
    await site.place(document, other)


FAULTS: Final[dict[str, Fault]] = {
    "host": kill_host,
    "stalled_host": stall_host,
    "router": kill_router,
    "redis": kill_redis,
    "postgres": kill_postgres,
    "controller": kill_controller,
    "handoff": hand_off,
    "gcs": kill_gcs,
}


async def _kill(site: Site, part: str) -> None:
    pid = await asyncio.to_thread(site.system.kill, part)
    async with asyncio.timeout(WHOLE_TIMEOUT_S):
        while _alive(pid) or _written(site.system, part) == pid:
            await asyncio.sleep(0.02)


def _written(system: System, part: str) -> int | None:
    with contextlib.suppress(OSError, KeyError, ValueError):
        return system.pid(part)
    return None


def _alive(pid: int) -> bool:
    return any(line.startswith("State:") and "Z" not in line.split()[1] for line in _status(pid))


def _status(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        yield from Path(f"/proc/{pid}/status").read_text().splitlines()


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""
