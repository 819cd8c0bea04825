"""Log entries, the batches they commit in, and what a commit publishes.

What is published: a small header that routers read, and a body that they pass on as it is.

The body is one finished wire message, `{"s":"0","rev":18,"e":[…]}`: whoever receives it writes the same bytes to
every socket that stands right before it. Layout: 4 bytes big-endian length of the header, the header as MessagePack,
the body.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

_LENGTH_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry of a section's log. `entry` is its wire form; entry r leads to revision r."""

    revision: int
    epoch: int
    time_ms: int
    user: str
    entry: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries that commit together. Frozen: it is retried under its id, unchanged, before any later one.

    `base` is the revision it starts from. `published` is what the commit publishes, made by `encode_batch`.
    """

    id: str
    base: int
    epoch: int
    entries: tuple[LogEntry, ...]
    published: bytes

    @property
    def last(self) -> int:
        return self.base + len(self.entries)


class Author(msgspec.Struct, array_like=True, frozen=True):
    """The operation behind one entry: for its author's router this is the acknowledgement."""

    client: str
    cseq: int


class BatchHeader(msgspec.Struct, array_like=True, frozen=True):
    """`first` to `last` are the revisions of the entries. `structural`: a split, merge or seal is among them."""

    first: int
    last: int
    epoch: int
    structural: bool
    authors: tuple[Author, ...]


_encode_header = msgspec.msgpack.Encoder().encode
_decode_header = msgspec.msgpack.Decoder(BatchHeader).decode


def entries_message(section: str, first: int, entries: Iterable[bytes], epoch: int | None = None) -> bytes:
    """The wire message that carries log entries; `epoch` stands in the first message of an epoch only."""
    known = b"" if epoch is None else b',"epoch":%d' % epoch
    return b'{"s":"%s","rev":%d%s,"e":[%s]}' % (section.encode(), first, known, b",".join(entries))


def encode_batch(header: BatchHeader, body: bytes) -> bytes:
    head = _encode_header(header)
    return len(head).to_bytes(_LENGTH_BYTES, "big") + head + body


def decode_batch(published: bytes) -> tuple[BatchHeader, bytes]:
    """Raises msgspec.DecodeError for bytes that no commit published."""
    end = _LENGTH_BYTES + int.from_bytes(published[:_LENGTH_BYTES], "big")
    return _decode_header(published[_LENGTH_BYTES:end]), published[end:]
