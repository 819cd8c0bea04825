"""What a host has accepted and Postgres does not have yet. Redis keeps it in memory meanwhile, so it is bounded: beyond
the bound the host takes no more, until Postgres has caught up. Nor does it while the disk that all of it goes to is
nearly full. What is accepted stays accepted.
"""

from collections import deque
from typing import Final

import structlog

# An entry in a stream takes about so much besides its own bytes.
ENTRY_BYTES: Final = 100

log_event = structlog.get_logger("backlog")


class Backlog:
    """All sections of a host together."""

    def __init__(self, most_bytes: int) -> None:
        self.bytes = 0
        self.disk_short = False
        self._most = most_bytes
        self._was_full = False

    @property
    def full(self) -> bool:
        return self.bytes >= self._most

    @property
    def refusal(self) -> str:
        """Why no operation is taken now; empty while they are taken."""
        if self.disk_short:
            return "the server's disk is nearly full"
        return "too much waits for the long-term store" if self.full else ""

    def open(self) -> "Share":
        return Share(self)

    def change(self, by: int) -> None:
        self.bytes += by
        if self.full != self._was_full:
            self._was_full = self.full
            if self.full:
                log_event.error("Postgres does not keep up; edits are refused", waiting_bytes=self.bytes)
            else:
                log_event.info("Postgres has caught up; edits are taken again", waiting_bytes=self.bytes)


class Share:
    """One section's part."""

    def __init__(self, backlog: Backlog) -> None:
        self.bytes = 0
        self._backlog = backlog
        self._waiting: deque[tuple[int, int]] = deque()  # last revision and bytes of each run of entries

    @property
    def refusal(self) -> str:
        return self._backlog.refusal

    def add(self, last: int, count: int, size: int) -> None:
        """`count` entries up to revision `last`, of `size` bytes."""
        size += count * ENTRY_BYTES
        self._waiting.append((last, size))
        self.bytes += size
        self._backlog.change(size)

    def flushed(self, through: int) -> None:
        """Postgres has all up to a revision."""
        gone = 0
        while self._waiting and self._waiting[0][0] <= through:
            gone += self._waiting.popleft()[1]
        if gone:
            self.bytes -= gone
            self._backlog.change(-gone)

    def close(self) -> None:
        """The section is another owner's now."""
        self.flushed(2**62)
