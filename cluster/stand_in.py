"""What a host does for the cluster while the controller is away: remove hosts whose lease ran out, with the same care.

It begins once the controller's lease has been out for longer than its time to live. Several hosts may do so at once,
and the controller may come back meanwhile: the map's compare-and-set decides.
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from cluster.controller import LEASE_NAME, ROUNDS_A_LEASE
from cluster.evictions import Evictor
from persistence.records import MapStore, Unavailable

log = structlog.get_logger()


class StandIn:
    """`holds`: whether the host has its own lease. One that has not may be who others should remove."""

    def __init__(
        self, store: MapStore, host: str, ttl_s: float, clock: Callable[[], float], holds: Callable[[], bool]
    ) -> None:
        self._store, self._ttl_s, self._holds = store, ttl_s, holds
        self._evictor = Evictor(store, ttl_s, clock, host)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                for name in await self.look():
                    log.warning(
                        "host_removed", host=name, reason="it died or its lease ran out, and the controller is away"
                    )
            except (Unavailable, TimeoutError) as error:
                self._evictor.distrust()
                log.warning("map_unavailable", reason=str(error) or "no answer in time")
            except Exception:  # top of a loop: it is done again, and a host serves without
                self._evictor.distrust()
                log.exception("stand_in_failed")
            await asyncio.sleep(self._ttl_s / ROUNDS_A_LEASE)

    async def look(self) -> Sequence[str]:
        """One round; returns who was removed. While the controller is there, or we are not sure of ourselves, the
        evictor is kept from trusting Redis, so that its lease time of trust is also that of the controller's absence.
        Raises Unavailable and TimeoutError."""
        async with asyncio.timeout(self._ttl_s / 3):
            (controller,) = await self._store.leases([LEASE_NAME])
        if controller is not None or not self._holds():
            self._evictor.distrust()
            return []
        return await self._evictor.look()
