"""A cluster map in memory, and a host on stores in memory."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec import json

from actors.host import HostLimits, ShardHost
from actors.lease import Stage, leased
from actors.section_actor import Clock
from cluster.cluster_map import ClusterMap, HostEntry, decode_map, encode_map
from cluster.ring import Ring
from coscribe import link
from coscribe.names import SectionKey
from persistence.records import Unavailable
from tests.actors.owners import KEY, Time
from tests.actors.stores import MemoryLog, MemoryStore


def cluster_map(view: int, *hosts: str, **overrides: str) -> ClusterMap:
    """`overrides`: documents placed by hand."""
    return ClusterMap(view, {name: HostEntry(f"{name}:1", f"life of {name}") for name in hosts}, overrides)


class MemoryMapStore:
    """Implements records.MapStore. Leases end when a test says so. While `down` it is Unavailable, while `stalled` it
    does not answer at all, but does what it is asked."""

    def __init__(self, present: ClusterMap | None = None) -> None:
        self.encoded = encode_map(present) if present else None
        self.holders: dict[str, str] = {}
        self.calls: list[str] = []
        self.down = False
        self._go = asyncio.Event()
        self._go.set()

    @property
    def map(self) -> ClusterMap:
        return decode_map(self.encoded) if self.encoded else ClusterMap()

    def put(self, present: ClusterMap) -> None:
        self.encoded = encode_map(present)

    def stall(self) -> None:
        self._go.clear()

    def go_on(self) -> None:
        self._go.set()

    async def _called(self, name: str) -> None:
        self.calls.append(name)
        await asyncio.sleep(0)
        if self.down:
            raise Unavailable("the map's store is down")

    async def read(self) -> bytes | None:
        encoded = self.encoded  # as it is when the question arrives
        await self._called("read")
        await self._go.wait()
        return encoded

    async def write(self, view: int, encoded: bytes) -> bool:
        await self._called(f"write {view}")
        if self.map.view != view - 1:
            return False
        self.encoded = encoded
        return True

    async def renew_lease(self, host: str, instance: str, ttl_ms: int) -> bool:
        await self._called(f"renew {host}")
        if self.holders.get(host, instance) != instance:
            return False
        self.holders[host] = instance
        await self._go.wait()
        return True

    async def drop_lease(self, host: str, instance: str) -> None:
        await self._called(f"drop {host}")
        if self.holders.get(host) == instance:
            del self.holders[host]

    async def leases(self, hosts: Sequence[str]) -> Sequence[str | None]:
        return [self.holders.get(host) for host in hosts]


@dataclass
class Bench:
    """A host named `us`. `present` is the map that it knows, `newest` the one that it finds when it refreshes."""

    log: MemoryLog = field(default_factory=MemoryLog)
    store: MemoryStore = field(default_factory=MemoryStore)
    time: Time = field(default_factory=Time)
    present: ClusterMap = field(default_factory=lambda: cluster_map(1, "us"))
    newest: ClusterMap | None = None
    refreshes: list[int] = field(default_factory=list)
    map_down: bool = False
    said: list[link.ToRouter] = field(default_factory=list)
    limits: HostLimits = field(default_factory=HostLimits)
    stage: Stage = Stage.HELD

    def __post_init__(self) -> None:
        log = leased(self.log, lambda: self.stage)
        self.host = ShardHost(
            "us", log, self.store, lambda: Ring(self.present), self._refresh, self._clock(), self.limits,
            lambda: self.stage,
        )  # fmt: skip

    def _clock(self) -> Clock:
        return self.time.clock()

    async def _refresh(self, view: int) -> None:
        self.refreshes.append(view)
        await asyncio.sleep(0)
        if self.map_down:
            raise Unavailable("the map cannot be read")
        if self.newest is not None:
            self.present = self.newest

    def reply(self, message: link.ToRouter) -> None:
        self.said.append(message)

    def take(self) -> list[link.ToRouter]:
        said, self.said = self.said, []
        return said

    async def receive(self, *messages: link.ToHost, view: int = 0) -> None:
        await self.host.receive(link.encode(link.HostFrame(view, list(messages))), self.reply)


def op(cseq: int = 1, client: str = "client-ann", base: int = 0, key: SectionKey = KEY) -> link.Submit:
    return link.Submit(key, 1, client, cseq, base, "user", "writer", json.encode([f"{cseq % 10}"]))
