"""What the Ray child tells `coscribe up`, one JSON line each. `up` answers `go` once, when the services are ready."""

from typing import Final

import msgspec

GO: Final = b"go\n"


class RayStarted(msgspec.Struct, tag="ray", frozen=True):
    version: str


class Serving(msgspec.Struct, tag="serving", frozen=True):
    """A host or the controller works. Said again, with another pid, after a restart."""

    name: str
    pid: int


class Gone(msgspec.Struct, tag="gone", frozen=True):
    """Its process ended; Ray starts another."""

    name: str
    pid: int


class Trouble(msgspec.Struct, tag="trouble", frozen=True):
    message: str


class HostsStopped(msgspec.Struct, tag="hosts_stopped", frozen=True):
    pass


RayEvent = RayStarted | Serving | Gone | Trouble | HostsStopped

encode: Final = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(RayEvent).decode
