"""What a client session tells its shell, besides the frames to send: each event once, in order."""

from dataclasses import dataclass

from coscribe import protocol
from coscribe.ot import Delta
from coscribe.protocol import NackCode


class Forked(Exception):
    """The server's history is not the one this session has read (close code 4409), or another tab uses its client id.

    Join anew with a new session; `Session.pending` has the edits to keep aside."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Every section is here: editing may start, from `content`."""

    content: Delta


@dataclass(frozen=True, slots=True)
class Changed:
    """What the editor shows changes by `delta`, in document positions. `source` is the author's client id and cseq
    for an entry, None for a composed change or the undoing of a refused operation."""

    delta: Delta
    source: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The operation `cseq` of this client is durable, at `revision` of its section."""

    section: str
    cseq: int
    revision: int


@dataclass(frozen=True, slots=True)
class Parked:
    """The operation was refused for good and is undone here; the editor may offer its delta again."""

    section: str
    cseq: int
    code: NackCode
    message: str
    delta: Delta


@dataclass(frozen=True, slots=True)
class Synced:
    """After a (re)connect: everything the server had said is read. Time to reset the backoff."""


@dataclass(frozen=True, slots=True)
class Silent:
    """Nothing heard for twice the heartbeat: close and connect anew."""


@dataclass(frozen=True, slots=True)
class Told:
    """A message that is the shell's to act on: welcome, presence, expiring, move, error."""

    message: protocol.Welcome | protocol.Presence | protocol.Expiring | protocol.Move | protocol.Error


Event = Joined | Changed | Acknowledged | Parked | Synced | Silent | Told
