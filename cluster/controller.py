"""The controller: keeps the cluster map true to who is alive. Editing goes on without it.

Plain asyncio; cluster/ray_actors.py has its Ray actor. It holds a lease of its own, by which hosts see that it is
there, and by which the second of two controllers stands by. While it is out, hosts stand in (cluster/stand_in.py).
"""

import asyncio
import contextlib
from typing import Final

import structlog

from actors.lease import boot_time
from cluster.evictions import Evictor
from persistence.records import MapStore, Unavailable

LEASE_NAME: Final = "controller"
ROUNDS_A_LEASE: Final = 6
LOOKS_A_ROUND: Final = 10  # for hosts of this machine that died: a few microseconds each

log = structlog.get_logger()


class Controller:
    def __init__(self, store: MapStore, instance: str, ttl_s: float) -> None:
        self._store = store
        self._instance = instance
        self._ttl_s = ttl_s

    async def run(self) -> None:
        """Work until cancelled."""
        evictor = Evictor(self._store, self._ttl_s, boot_time)
        try:
            while True:
                try:
                    await self._round(evictor)
                except (Unavailable, TimeoutError) as error:
                    evictor.distrust()
                    log.warning("map_unavailable", reason=str(error) or "no answer in time")
                await self._pause(evictor)
        finally:
            with contextlib.suppress(Unavailable, TimeoutError):  # then the lease runs out by itself
                async with asyncio.timeout(1):
                    await self._store.drop_lease(LEASE_NAME, self._instance)

    async def _pause(self, evictor: Evictor) -> None:
        """Until the next round, or until a host of this machine is seen to have died."""
        for _ in range(LOOKS_A_ROUND):
            await asyncio.sleep(self._ttl_s / ROUNDS_A_LEASE / LOOKS_A_ROUND)
            if evictor.sees_death():
                return

    async def _round(self, evictor: Evictor) -> None:
        async with asyncio.timeout(self._ttl_s / 3):
            mine = await self._store.renew_lease(LEASE_NAME, self._instance, int(self._ttl_s * 1000))
        if mine:
            for name in await evictor.look():
                log.warning("host_removed", host=name, reason="it died, or its lease ran out")
