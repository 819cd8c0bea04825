"""What the Ray child tells `coscribe up`, one JSON line each. `up` answers `go` once, when the services are ready."""

from typing import Final

import msgspec

GO: Final = b"go\n"


class RayStarted(msgspec.Struct, tag="ray", frozen=True):
    version: str


class Waiting(msgspec.Struct, tag="waiting", frozen=True):
    """The process of a host or the controller is there. It may wait for services, or for the lease of one before it."""

    name: str


class Serving(msgspec.Struct, tag="serving", frozen=True):
    """A host or the controller works. Said again, with another pid, after a restart."""

    name: str
    pid: int


class Gone(msgspec.Struct, tag="gone", frozen=True):
    """Its process ended; Ray starts another."""

    name: str
    pid: int


class Degraded(msgspec.Struct, tag="degraded", frozen=True):
    """Ray lost a server of its own. Hosts go on, but would not be restarted."""

    reason: str


class Trouble(msgspec.Struct, tag="trouble", frozen=True):
    message: str


class HostsStopped(msgspec.Struct, tag="hosts_stopped", frozen=True):
    pass


RayEvent = RayStarted | Waiting | Serving | Gone | Degraded | Trouble | HostsStopped

encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(RayEvent).decode
