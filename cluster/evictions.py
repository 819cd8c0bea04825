"""Who is removed from the cluster map: hosts whose lease ran out, carefully. `evictions` decides, `Evictor` acts.

A Redis that stalls, or a machine that sleeps, lets every lease run out at once while every host is well. So nobody is
removed before Redis has answered for a whole lease time, in which each living host has renewed; never more than half of
the hosts in one lease time, whoever removes them; and nobody while no host of the ring holds a lease, for there is
nobody to take over.

A host on this machine whose process is gone needs no lease to be known for dead: it is removed at once, and its lease
dropped, so that its successor need not wait for it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from cluster.cluster_map import ClusterMap, HostEntry, decode_map, encode_map
from cluster.processes import has_ended
from persistence.records import MapStore, Unavailable

Leases = Mapping[str, str | None]
"""The instance that holds each host's lease, None where it ran out."""


def someone_serves(cluster_map: ClusterMap, leases: Leases) -> bool:
    """Whether a host that documents can move to holds a lease. One in another instance's name is its successor's."""
    return any(
        leases.get(name) is not None
        for name, entry in cluster_map.hosts.items()
        if entry.weight > 0 and entry.state == "up"
    )


def evictions(
    cluster_map: ClusterMap,
    leases: Leases,
    now: float,
    healthy_since: float | None,
    ttl_s: float,
    ourselves: str = "",
    dead: Sequence[str] = (),
) -> list[str]:
    """Hosts to remove now, never `ourselves`. `healthy_since`, on the clock of `now`: since when Redis has answered
    every time, and nobody was removed. Of `dead` it is known without their leases; they hold none."""
    if not someone_serves(cluster_map, leases):
        return []
    gone = list(dead)
    if healthy_since is not None and now - healthy_since >= ttl_s:
        expired = [name for name in sorted(cluster_map.hosts) if leases.get(name) is None and name != ourselves]
        gone += [name for name in expired[: max(1, len(cluster_map.hosts) // 2)] if name not in dead]
    return gone


class Evictor:
    """Looks at map and leases when told to, and removes. Safe to run in several processes: the map decides, and who
    sees that somebody left it waits as long as if it had removed that one itself.

    `clock` goes on while the machine sleeps. `ourselves`: the host that runs it, which it spares. `ended` says of a
    host's process that it is gone."""

    def __init__(
        self,
        store: MapStore,
        ttl_s: float,
        clock: Callable[[], float],
        ourselves: str = "",
        ended: Callable[[str], bool] = has_ended,
    ) -> None:
        self._store = store
        self._ttl_s = ttl_s
        self._clock = clock
        self._ourselves = ourselves
        self._ended = ended
        self._hosts: Mapping[str, HostEntry] = {}
        self._buried: set[str] = set()  # instances that are dead and have no lease any more
        self._seen: frozenset[str] = frozenset()
        self._healthy_since: float | None = None
        self._looked = float("-inf")

    def distrust(self) -> None:
        """Redis failed somebody: its leases mean nothing until it has answered for a lease time again."""
        self._healthy_since = None

    def sees_death(self) -> bool:
        """Whether a host of the map as it was at the last look has died since. Costs little: look then."""
        return any(entry.instance not in self._buried and self._ended(entry.process) for entry in self._hosts.values())

    async def look(self) -> Sequence[str]:
        """One round, several a lease; returns who was removed. Raises Unavailable."""
        try:
            async with asyncio.timeout(self._ttl_s / 3):  # as long as hosts have for a renewal
                cluster_map, leases = await self._read()
                dead = await self._bury(cluster_map)
        except (Unavailable, TimeoutError) as error:
            self.distrust()
            raise Unavailable(str(error) or "the map's store did not answer in time") from None
        now = self._clock()
        paused = now - self._looked > self._ttl_s / 2  # we were, so hosts may have been too
        self._looked = now
        leases = {**leases, **dict.fromkeys(dead)}
        left = self._seen - cluster_map.hosts.keys()
        self._seen = frozenset(cluster_map.hosts)
        if self._healthy_since is None or paused or left or not someone_serves(cluster_map, leases):
            self._healthy_since = now
        gone = evictions(cluster_map, leases, now, self._healthy_since, self._ttl_s, self._ourselves, dead)
        if gone:
            self._healthy_since = now  # the next half waits as long
        return await self._remove(cluster_map, gone)

    async def _bury(self, cluster_map: ClusterMap) -> list[str]:
        """Who is dead for certain. A lease is dropped only if it is the dead one's."""
        self._hosts = cluster_map.hosts
        self._buried &= {entry.instance for entry in cluster_map.hosts.values()}
        dead = [name for name, entry in sorted(cluster_map.hosts.items()) if self._ended(entry.process)]
        for name in dead:
            instance = cluster_map.hosts[name].instance
            if instance not in self._buried:
                await self._store.drop_lease(name, instance)
                self._buried.add(instance)
        return dead

    async def _read(self) -> tuple[ClusterMap, Leases]:
        encoded = await self._store.read()
        cluster_map = decode_map(encoded) if encoded else ClusterMap()
        names = sorted(cluster_map.hosts)
        return cluster_map, dict(zip(names, await self._store.leases(names), strict=True)) if names else {}

    async def _remove(self, cluster_map: ClusterMap, names: Sequence[str]) -> Sequence[str]:
        """One view for each, as the store compares views; another writer who is faster ends the round."""
        removed = []
        for name in names:
            cluster_map = cluster_map.without_host(name)
            async with asyncio.timeout(self._ttl_s):
                if not await self._store.write(cluster_map.view, encode_map(cluster_map)):
                    break
            removed.append(name)
        self._seen -= set(removed)
        return removed
