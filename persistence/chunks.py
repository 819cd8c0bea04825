"""Packed chunks: a run of log entries as bytes for one row of Postgres. Pure.

Layout: 1 byte version, 1 byte form (0 plain, 1 zlib), 4 bytes big-endian crc32 of what follows, the entries as
MessagePack. The first revision stands in the row; the others follow from the position.
"""

import zlib
from collections.abc import Sequence
from typing import Final

import msgspec

from coscribe.batch import LogEntry

VERSION: Final = 1
_PLAIN: Final = 0
_ZLIB: Final = 1
_HEAD_BYTES: Final = 6
_ZLIB_LEVEL: Final = 1


class ChunkDamaged(Exception):
    """Stored bytes that are not what was written."""


class _Packed(msgspec.Struct, array_like=True, frozen=True):
    epoch: int
    time_ms: int
    user: str
    entry: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Packed]).decode


def pack(entries: Sequence[LogEntry]) -> bytes:
    """Entries whose revisions follow on each other."""
    body = _encode([_Packed(entry.epoch, entry.time_ms, entry.user, entry.entry) for entry in entries])
    squeezed = zlib.compress(body, _ZLIB_LEVEL)
    form = _ZLIB if len(squeezed) < len(body) else _PLAIN
    stored = squeezed if form == _ZLIB else body
    return bytes((VERSION, form)) + zlib.crc32(stored).to_bytes(4, "big") + stored


def unpack(chunk: bytes, first: int) -> list[LogEntry]:
    """The entries, the first of which has revision `first`. Raises ChunkDamaged."""
    head, stored = chunk[:_HEAD_BYTES], chunk[_HEAD_BYTES:]
    if len(head) < _HEAD_BYTES or head[0] != VERSION or head[1] not in (_PLAIN, _ZLIB):
        raise ChunkDamaged(f"a chunk from revision {first} has an unknown form: {head.hex()}")
    if zlib.crc32(stored) != int.from_bytes(head[2:], "big"):
        raise ChunkDamaged(f"the checksum of the chunk from revision {first} differs")
    try:
        packed = _decode(zlib.decompress(stored) if head[1] == _ZLIB else stored)
    except (zlib.error, msgspec.DecodeError) as error:
        raise ChunkDamaged(f"the chunk from revision {first} cannot be read: {error}") from error
    return [LogEntry(first + i, p.epoch, p.time_ms, p.user, p.entry) for i, p in enumerate(packed)]
