"""The cluster map: who is there, at which weight, and which sections are placed by hand. Pure data.

It is one value in Redis, written by compare-and-set on `view`; every link frame names the sender's view, and whoever
is behind refreshes first. A section's place is an override if there is one, else the ring's.
"""

from typing import Literal

import msgspec

HostState = Literal["up", "draining"]


class HostEntry(msgspec.Struct, frozen=True):
    """`address` is `host:port` of the data port. `instance` tells a restarted host from the one before it. `process`
    is its name on its machine (cluster/processes.py), empty if it told none."""

    address: str
    instance: str
    weight: int = 1
    state: HostState = "up"
    process: str = ""


class ClusterMap(msgspec.Struct, frozen=True):
    """`hosts` by name, a stable slot such as `host-0`. `overrides`: a section's placement text to a host's name."""

    view: int = 0
    hosts: dict[str, HostEntry] = {}
    overrides: dict[str, str] = {}

    def with_host(self, name: str, entry: HostEntry) -> "ClusterMap":
        return msgspec.structs.replace(self, view=self.view + 1, hosts={**self.hosts, name: entry})

    def without_host(self, name: str) -> "ClusterMap":
        hosts = {other: entry for other, entry in self.hosts.items() if other != name}
        overrides = {place: host for place, host in self.overrides.items() if host != name}
        return ClusterMap(self.view + 1, hosts, overrides)


encode_map = msgspec.json.Encoder(order="deterministic").encode
decode_map = msgspec.json.Decoder(ClusterMap).decode
