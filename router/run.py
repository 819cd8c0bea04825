"""Messages on their way to many sockets: joined once, and framed once, for all of them."""

from dataclasses import dataclass, field
from typing import Final

_TEXT: Final = 0x81  # the last and only frame of a text message, RFC 6455, section 5.2
_LONGEST_7_BIT: Final = 125
_16_BIT: Final = 126
_64_BIT: Final = 127


@dataclass(slots=True)
class Joined:
    """Finished messages, joined by commas."""

    messages: bytes
    _payload: bytes = field(default=b"", init=False)
    _frame: bytes = field(default=b"", init=False)

    @property
    def payload(self) -> bytes:
        """The array of the messages: what a frame carries."""
        if not self._payload:
            self._payload = b"[%s]" % self.messages
        return self._payload

    @property
    def frame(self) -> bytes:
        """The array of the messages as a WebSocket frame, header included."""
        if not self._frame:
            self._frame = text_frame(b"[%s]" % self.messages)
        return self._frame


@dataclass(slots=True)
class Run(Joined):
    """Consecutive messages of a room, which lead to revision `last`."""

    last: int = 0


def text_frame(payload: bytes) -> bytes:
    """A server's text frame: not masked, not compressed."""
    size = len(payload)
    if size <= _LONGEST_7_BIT:
        return bytes((_TEXT, size)) + payload
    if size < 1 << 16:
        return bytes((_TEXT, _16_BIT)) + size.to_bytes(2, "big") + payload
    return bytes((_TEXT, _64_BIT)) + size.to_bytes(8, "big") + payload
