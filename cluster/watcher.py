"""Keeps the present cluster map: reads it at once, on each change notice, and now and then in case one was lost."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog

from cluster.cluster_map import ClusterMap, HostEntry, decode_map, encode_map
from cluster.ring import Ring
from persistence.records import MapStore, Unavailable

POLL_S: Final = 1.0
JOIN_TRIES: Final = 50

log_event = structlog.get_logger("map")


class MapWatcher:
    """`ring` is what the store said last. `on_change` is awaited after each new map, one call at a time."""

    def __init__(self, store: MapStore, on_change: Callable[[], Awaitable[None]] | None = None) -> None:
        self.ring = Ring(ClusterMap())
        self._store, self.on_change = store, on_change
        self._noticed = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    def notice(self) -> None:
        """A change notice came."""
        self._noticed.set()

    async def refresh(self, view: int = 0) -> None:
        """Read the map, unless it is as new as `view` already. Raises Unavailable."""
        if self._reading is not None and not (view and self.ring.view >= view):
            with contextlib.suppress(Unavailable):  # it began before this call: what it finds may be too old
                await asyncio.shield(self._reading)
        if view and self.ring.view >= view:
            return
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read())
            self._reading.add_done_callback(self._read_done)
        await asyncio.shield(self._reading)

    def _read_done(self, reading: asyncio.Task[None]) -> None:
        self._reading = None
        if not reading.cancelled():
            reading.exception()  # whoever waited has it; nobody may

    async def _read(self) -> None:
        encoded = await self._store.read()
        found = decode_map(encoded) if encoded else ClusterMap()
        if found != self.ring.map:  # an older one too: a failover may have lost views, and views are given again then
            self.ring = Ring(found)

    async def run(self) -> None:
        """Follow the map until cancelled."""
        applied = self.ring if self.ring.view == 0 else None
        while True:
            self._noticed.clear()
            try:
                await self.refresh()
                if (ring := self.ring) is not applied:
                    if self.on_change:
                        await self.on_change()
                    applied = ring
            except Unavailable as error:
                log_event.warning("cluster map not read", error=str(error))
            except Exception:  # top of a loop: it is tried again, with the next map or this one
                log_event.exception("cluster map not followed")
            try:
                async with asyncio.timeout(POLL_S):
                    await self._noticed.wait()
            except TimeoutError:
                pass


async def change_map(store: MapStore, change: Callable[[ClusterMap], ClusterMap | None]) -> ClusterMap:
    """Write `change` of the present map by compare-and-set, again if another was faster; None leaves it as it is."""
    for _ in range(JOIN_TRIES):
        encoded = await store.read()
        present = decode_map(encoded) if encoded else ClusterMap()
        wanted = change(present)
        if wanted is None:
            return present
        if await store.write(wanted.view, encode_map(wanted)):
            return wanted
    raise Unavailable("the cluster map keeps changing")


async def join_map(store: MapStore, name: str, entry: HostEntry) -> ClusterMap:
    """Put a host on the map under its slot's name. Weight and state are the operator's: what the slot has stays."""

    def joined(present: ClusterMap) -> ClusterMap | None:
        there = present.hosts.get(name)
        wanted = msgspec.structs.replace(entry, weight=there.weight, state=there.state) if there else entry
        return None if there == wanted else present.with_host(name, wanted)

    return await change_map(store, joined)
