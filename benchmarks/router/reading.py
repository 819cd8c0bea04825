"""What the generator understands of the server's frames. A room sends everyone the same bytes, so each frame, and each
message in it, is read once for the whole process and found again by its bytes.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from coscribe.protocol import Entries, ServerMessage, decode_server_frame

FRAMES_KEPT: Final = 256
MESSAGES_KEPT: Final = 2_048
ONCE: Final = 64 * 1024  # a message beyond this is a snapshot or a catch-up: not kept

Operation = tuple[str, int]
"""Client id and cseq."""


class Run:
    """Consecutive entries. `growth` has each one's change of the document's length, `typed` when its characters were
    typed, as far as this process typed them."""

    __slots__ = ("count", "epoch", "first", "growth", "last", "operations", "total_growth", "typed")

    def __init__(self, first: int, epoch: int | None, operations: dict[Operation, int], growth: list[int]) -> None:
        self.first, self.epoch, self.operations, self.growth = first, epoch, operations, growth
        self.count = len(growth)
        self.last = first + self.count - 1
        self.total_growth = sum(growth)
        self.typed: list[float] = []


Message = Run | ServerMessage

_frame_decoder: Final = msgspec.json.Decoder(list[msgspec.Raw])
_entry_decoder: Final = msgspec.json.Decoder(tuple[str, int, list[Any]])


def growth(delta: list[Any]) -> int:
    """What a delta in short form adds to the length; the generator inserts plain ASCII and nothing else."""
    return sum(len(part) if isinstance(part, str) else min(part, 0) for part in delta)


class Reader:
    """`typed` says when the characters of an operation were typed."""

    def __init__(self, typed: Callable[[Operation], tuple[float, ...]]) -> None:
        self._typed = typed
        self._frames: dict[bytes, tuple[Message, ...]] = {}
        self._messages: dict[bytes, tuple[Message, ...]] = {}
        self.decoded = 0

    def read(self, frame: bytes) -> tuple[Message, ...]:
        found = self._frames.get(frame)
        if found is None:
            parts = [bytes(part) for part in _frame_decoder.decode(frame)]
            found = tuple(message for part in parts for message in self._message(part))
            self.decoded += 1
            _keep(self._frames, frame, found, FRAMES_KEPT)
        return found

    def _message(self, part: bytes) -> tuple[Message, ...]:
        found = self._messages.get(part)
        if found is None:
            found = tuple(self._understood(message) for message in decode_server_frame(part))
            if len(part) <= ONCE:
                _keep(self._messages, part, found, MESSAGES_KEPT)
        return found

    def _understood(self, message: ServerMessage | Entries) -> Message:
        if not isinstance(message, Entries):
            return message
        operations: dict[Operation, int] = {}
        grown: list[int] = []
        typed: list[float] = []
        for raw in message.e:
            client, cseq, delta = _entry_decoder.decode(raw)
            operations[client, cseq] = message.rev + len(grown)
            grown.append(growth(delta))
            typed.extend(self._typed((client, cseq)))
        run = Run(message.rev, message.epoch, operations, grown)
        run.typed = typed
        return run


def _keep(cache: dict[bytes, tuple[Message, ...]], key: bytes, value: tuple[Message, ...], most: int) -> None:
    """The oldest goes first: a frame reaches everyone within a moment."""
    cache[key] = value
    if len(cache) > most:
        del cache[next(iter(cache))]
