"""A live snapshot as bytes for Redis: MessagePack, an array that may grow at its end. Pure."""

import msgspec

from persistence.records import Durable, LiveSnapshot, StoredSnapshot


class _Live(msgspec.Struct, array_like=True, frozen=True):
    revision: int
    epoch: int
    next: str | None
    sealed: str | None
    content: bytes
    durable_revision: int
    durable_epoch: int
    stored_revision: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Live).decode


def encode_live(live: LiveSnapshot) -> bytes:
    at, durable = live.snapshot, live.durable
    fields = (at.revision, at.epoch, at.next, at.sealed, at.content, durable.revision, durable.epoch)
    return _encode(_Live(*fields, live.stored_revision))


def decode_live(encoded: bytes) -> LiveSnapshot | None:
    """None for what cannot be read: the long-term store has the section too."""
    try:
        found = _decode(encoded)
    except msgspec.DecodeError:
        return None
    snapshot = StoredSnapshot(found.revision, found.epoch, found.next, found.sealed, found.content)
    return LiveSnapshot(snapshot, Durable(found.durable_revision, found.durable_epoch), found.stored_revision)
