"""Frames of a link: the one multiplexed WebSocket between a router and a shard host.

A frame is MessagePack: the sender's view of the cluster map, then messages. Deltas and wire messages inside are bytes
that a router never reads. `ref` is the router's number for a client's socket and comes back unchanged; `request` names
a question and its answer. coscribe/versions.py says what may change without a new version.
"""

from typing import Final

import msgspec

from coscribe.names import SectionKey
from coscribe.protocol import NackCode, Role
from coscribe.versions import subprotocols

LINK_VERSION: Final = 1
LINK_SUBPROTOCOLS: Final = subprotocols("coscribe-link", LINK_VERSION)
LINK_PATH: Final = "/link"


# --- Router to host ---


class Submit(msgspec.Struct, array_like=True, tag="op", frozen=True):
    key: SectionKey
    ref: int
    client: str
    cseq: int
    base: int
    user: str
    role: Role
    delta: bytes


class FetchSnapshot(msgspec.Struct, array_like=True, tag="fetch", frozen=True):
    """Answered by `SnapshotIs`, or `Refused`. `fresh`: not a cached one from some entries ago."""

    key: SectionKey
    request: int
    fresh: bool = False


class FetchEntries(msgspec.Struct, array_like=True, tag="entries", frozen=True):
    """Plain entries after revision `after`, answered by `EntriesAre`, or `Refused`. Pages are bounded by the host."""

    key: SectionKey
    request: int
    after: int


class FetchComposed(msgspec.Struct, array_like=True, tag="composed", frozen=True):
    """The composed change after revision `after`, answered by `ComposedIs`, or `Refused`."""

    key: SectionKey
    request: int
    after: int


class FetchAcked(msgspec.Struct, array_like=True, tag="acked", frozen=True):
    """The last accepted operation of a client in the history window, answered by `AckedIs`, or `Refused`."""

    key: SectionKey
    request: int
    client: str


ToHost = Submit | FetchSnapshot | FetchEntries | FetchComposed | FetchAcked


# --- Host to router ---


class Refusal(msgspec.Struct, array_like=True, tag="nack", frozen=True):
    """The operation (ref, cseq) was refused; nothing was logged."""

    key: SectionKey
    ref: int
    client: str
    cseq: int
    code: NackCode
    message: str
    retry_after_s: float | None


class Duplicate(msgspec.Struct, array_like=True, tag="dup", frozen=True):
    """The operation was accepted before, at `revision`: a router that has not seen that far reads the stream."""

    key: SectionKey
    ref: int
    client: str
    cseq: int
    revision: int


class Moved(msgspec.Struct, array_like=True, tag="moved", frozen=True):
    """This host does not own the section (any more): refresh the map and send the operation again."""

    key: SectionKey
    ref: int
    client: str
    cseq: int


class SnapshotIs(msgspec.Struct, array_like=True, tag="snapshot", frozen=True):
    """`message` is the finished wire message, the same bytes for everyone; `head` is the newest revision, which a
    cached snapshot may be some entries behind."""

    request: int
    revision: int
    epoch: int
    head: int
    message: bytes


class EntriesAre(msgspec.Struct, array_like=True, tag="entries_are", frozen=True):
    """`messages` are finished wire messages, one for each run of an epoch, up to `last`; `head` is the newest revision.

    `epoch` is that of the newest revision, `base_epoch` that of the revision asked for (0: not known any more)."""

    request: int
    last: int
    head: int
    epoch: int
    base_epoch: int
    messages: list[bytes]


class ComposedIs(msgspec.Struct, array_like=True, tag="composed_is", frozen=True):
    request: int
    revision: int
    epoch: int
    message: bytes


class AckedIs(msgspec.Struct, array_like=True, tag="acked_is", frozen=True):
    request: int
    cseq: int
    revision: int


class Refused(msgspec.Struct, array_like=True, tag="refused", frozen=True):
    """A question could not be answered: `moved` (ask the owner), `unavailable`, `stale`, `ahead` or `too_large`."""

    request: int
    code: str
    message: str


ToRouter = Refusal | Duplicate | Moved | SnapshotIs | EntriesAre | ComposedIs | AckedIs | Refused


SINCE: Final[dict[type[msgspec.Struct], int]] = {}
"""The version that brought a kind of message; the others are as old as the link."""


def is_known(message: ToHost | ToRouter, version: int) -> bool:
    """Whether the other end of a link of this version can read it: one kind that it cannot ruins the whole frame."""
    return SINCE.get(type(message), 1) <= version


class HostFrame(msgspec.Struct, array_like=True, frozen=True):
    view: int
    messages: list[ToHost]


class RouterFrame(msgspec.Struct, array_like=True, frozen=True):
    view: int
    messages: list[ToRouter]


encode: Final = msgspec.msgpack.Encoder().encode
decode_host_frame: Final = msgspec.msgpack.Decoder(HostFrame).decode
decode_router_frame: Final = msgspec.msgpack.Decoder(RouterFrame).decode
