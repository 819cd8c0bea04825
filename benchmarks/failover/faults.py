"""The faults: each does its harm to a running system and returns when the system is whole again.

Only processes of the system that the benchmark started are touched, by their ids.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.failover.wire import Wire
from cluster.cluster_map import ClusterMap, decode_map, encode_map
from cluster.ring import Ring
from cluster.valkey import valkey_url
from coscribe.names import SectionKey
from persistence.map_store import RedisMapStore
from persistence.records import Unavailable
from persistence.redis_client import execute, shared_client
from tests.support.system import System

WHOLE_TIMEOUT_S: Final = 90.0
STALL_S: Final = 6.0  # twice a host's lease
SILENCE_S: Final = 17.0  # longer than anybody waits for a silent connection: the bus 15 s, a client twice its heartbeat
HEARTBEAT_S: Final = 5.0  # of the clients' sockets in the system that is harmed
MINUTES: Final = 10.0
REDIS_CONNECTIONS: Final = 6  # two of each host, one of each router, at least


class Site:
    """The system, its cluster map, and the wire that clients may come over. `minutes`: of the long faults."""

    def __init__(self, system: System, store: RedisMapStore, clients: Wire, minutes: float = MINUTES) -> None:
        self.system = system
        self.clients, self.minutes = clients, minutes
        self._store = store

    @property
    def runtime(self) -> Path:
        return Path(self.system.state()["runtime"])

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

    @contextlib.asynccontextmanager
    async def redis_wire(self) -> AsyncIterator[Wire]:
        """Everybody's connections to Redis go over the wire: it listens in place of the server's own socket, and those
        that were there before are ended. Afterwards the server has its place again."""
        url = valkey_url(self.system.data, self.runtime)
        place = Path(url.rpartition("@")[2])
        server = place.with_suffix(".behind")
        async with Wire(lambda: asyncio.open_unix_connection(server)) as wire:
            place.rename(server)
            try:
                await wire.listen_unix(place)
                async with shared_client(f"{url.rpartition('@')[0]}@{server}", connections=1) as client:
                    for kind in ("normal", "pubsub"):
                        await execute(client, "CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
                async with asyncio.timeout(WHOLE_TIMEOUT_S):
                    while len(wire.connections) < REDIS_CONNECTIONS:
                        await asyncio.sleep(0.05)
                await self.whole()
                yield wire
            finally:
                server.rename(place)


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


async def freeze_controller_long(site: Site, document: str) -> None:
    """It is there, and does nothing: nobody starts it again. Hosts do its work."""
    await _freeze(site, site.system.pid("controller"))


async def freeze_gcs_long(site: Site, document: str) -> None:
    """Ray's heart stands still, so that Ray brings nothing back, and then dies; until another Ray has taken over."""
    gcs, before = gcs_pid(site.system), site.system.pid("Ray")
    await _freeze(site, gcs)
    if _alive(gcs):
        os.kill(gcs, signal.SIGKILL)
    async with asyncio.timeout(WHOLE_TIMEOUT_S):
        while _written(site.system, "Ray") in (None, before):
            await asyncio.sleep(0.1)


async def _freeze(site: Site, pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(60 * site.minutes)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


async def stall_connections(site: Site, document: str) -> None:
    """Nothing passes any more on the connections that clients have to routers, and hosts and routers to Redis; new ones
    are good. Then what was held back arrives after all."""
    async with site.redis_wire() as redis:
        wires = (site.clients, redis)
        for wire in wires:
            wire.stall()
        await asyncio.sleep(SILENCE_S)
        for wire in wires:
            wire.release()


async def half_open_connections(site: Site, document: str) -> None:
    """The same connections end at one side, by turns at this and at that, and the other side hears nothing of it."""
    async with site.redis_wire() as redis:
        for wire in (site.clients, redis):
            wire.half_open()
        await asyncio.sleep(SILENCE_S)


async def restart_all(site: Site, document: str) -> None:
    """No fault: an operator says `coscribe restart`."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("coscribe")), "restart", "--json", "--data", str(site.system.data),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    await site.whole()


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
    "stalled_connection": stall_connections,
    "half_open": half_open_connections,
    "rolling": restart_all,
}
LONG: Final[dict[str, Fault]] = {"controller_long": freeze_controller_long, "gcs_long": freeze_gcs_long}
ON_WIRES: Final = ("stalled_connection", "half_open")


async def _kill(site: Site, part: str) -> None:
    await _end(site, part, signal.SIGKILL)


async def _end(site: Site, part: str, how: signal.Signals) -> None:
    """Until the part has another process."""
    pid = site.system.pid(part)
    os.kill(pid, how)
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
