"""A host's lease on its slot: who holds it may own sections under the slot's name.

It counts from the moment at which a renewal was asked for, by the holder's own clock: so the holder stops before
anybody else can begin, however long an answer took. A renewal that hangs is given up when the lease runs out.
"""

import asyncio
from typing import Final

from persistence.records import MapStore, Unavailable

RENEWALS: Final = 3  # in one time to live


class Evicted(Exception):
    """Another process holds this host's lease."""


class HostLease:
    def __init__(self, store: MapStore, host: str, instance: str, ttl_s: float) -> None:
        self.host, self.instance, self.ttl_s = host, instance, ttl_s
        self._store = store
        self._until = float("-inf")

    @property
    def over(self) -> bool:
        return _now() >= self._until

    async def renew(self) -> bool:
        """False while another instance holds it. Raises Unavailable."""
        asked = _now()
        try:
            async with asyncio.timeout(max(self._until - asked, self.ttl_s / RENEWALS)):
                held = await self._store.renew_lease(self.host, self.instance, int(self.ttl_s * 1000))
        except TimeoutError:
            raise Unavailable("no answer to the renewal of the lease") from None
        if held:
            self._until = asked + self.ttl_s
        return held

    async def take(self) -> None:
        """Wait for it: that of a process which died runs out in one time to live. Raises Evicted if it does not, and
        Unavailable."""
        deadline = _now() + 2 * self.ttl_s
        while not await self.renew():
            if _now() > deadline:
                raise Evicted(f"another process runs as {self.host}")
            await asyncio.sleep(self.ttl_s / RENEWALS / 4)

    async def drop(self) -> None:
        """Raises Unavailable."""
        self._until = float("-inf")
        await self._store.drop_lease(self.host, self.instance)


def _now() -> float:
    return asyncio.get_running_loop().time()
