"""The ring: from a section to the host that owns it, by consistent hashing (uhashring, ketama) under one cluster map.

A ring belongs to one view and never changes; a new map gives a new ring. Host names are stable slots, so a restarted
host finds its documents where they were.
"""

import hashlib
from typing import Final

from uhashring import HashRing

from cluster.cluster_map import ClusterMap
from coscribe.names import SectionKey

POINTS_PER_WEIGHT: Final = 160  # 64 hosts: the fullest holds 1.18 times the mean, a look-up costs 3 µs
REMEMBERED_MOST: Final = 50_000


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.md5(key.encode(), usedforsecurity=False).digest()[:8], "big")


class Ring:
    """Owners under one cluster map. Those asked for are remembered: an operation asks twice on its way."""

    def __init__(self, cluster_map: ClusterMap) -> None:
        self.map = cluster_map
        weighted = {
            name: {"weight": entry.weight, "vnodes": POINTS_PER_WEIGHT}
            for name, entry in sorted(cluster_map.hosts.items())
            if entry.weight > 0 and entry.state == "up"
        }
        self._ring = HashRing(nodes=weighted, hash_fn=_hash) if weighted else None
        self._owners: dict[SectionKey, str | None] = {}

    @property
    def view(self) -> int:
        return self.map.view

    def owner(self, key: SectionKey) -> str | None:
        """The name of the host that owns the section, or None while there is no host."""
        try:
            return self._owners[key]
        except KeyError:
            if len(self._owners) >= REMEMBERED_MOST:
                self._owners.clear()
            owner = self._owners[key] = self._look_up(key)
            return owner

    def _look_up(self, key: SectionKey) -> str | None:
        place = key.placement()
        override = self.map.overrides.get(place)
        if override in self.map.hosts:
            return override
        if self._ring is None:
            return None
        owner: str = self._ring.get_node(place)
        return owner

    def address(self, host: str) -> str | None:
        entry = self.map.hosts.get(host)
        return entry.address if entry else None
