"""What waits to be written to one client's socket: finished messages as bytes, joined into frames as they leave. What
is long and waits for others too, as a snapshot does when a class comes in, is a frame by itself, and never copied.

Appending never waits. Two bounds: past the soft one a section's entries stop (the socket is `lagging` and asks when it
can), past the hard one the socket is closed.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from router.run import Joined

SOFT_BYTES: Final = 256 * 1024  # who is so far behind does better with a composed catch-up
HARD_BYTES: Final = 64 * 1024 * 1024  # a snapshot of the largest document must fit
FRAME_BYTES: Final = 256 * 1024
SHARED_BYTES: Final = 16 * 1024  # shorter ones are as well joined with their neighbours


class Outbox:
    """`wake` is called when there is something to write."""

    def __init__(self, wake: Callable[[], None], soft_bytes: int = SOFT_BYTES, hard_bytes: int = HARD_BYTES) -> None:
        self.size = 0
        self._wake = wake
        self._soft_bytes, self._hard_bytes = soft_bytes, hard_bytes
        self._messages: deque[bytes | Joined] = deque()

    @property
    def full(self) -> bool:
        """Past the soft bound: entries must wait."""
        return self.size > self._soft_bytes

    @property
    def overrun(self) -> bool:
        """Past the hard bound: nothing helps this reader."""
        return self.size > self._hard_bytes

    def push(self, message: bytes) -> None:
        """Append a message, or several joined by commas."""
        self._messages.append(message)
        self.size += len(message)
        self._wake()

    def share(self, joined: Joined) -> None:
        """Append what other outboxes get too."""
        size = len(joined.messages)
        self._messages.append(joined.messages if size < SHARED_BYTES else joined)
        self.size += size
        self._wake()

    def take(self) -> bytes | None:
        """The next frame, an array of messages, or None if nothing waits."""
        if not self._messages:
            return None
        first = self._messages.popleft()
        if isinstance(first, Joined):
            self.size -= len(first.messages)
            return first.payload
        parts, size = [first], len(first)
        while (
            self._messages
            and not isinstance(following := self._messages[0], Joined)
            and size + len(following) <= FRAME_BYTES
        ):
            parts.append(following)
            size += len(following)
            self._messages.popleft()
        self.size -= size
        return b"[%s]" % b",".join(parts)

    def clear(self) -> None:
        self._messages.clear()
        self.size = 0
