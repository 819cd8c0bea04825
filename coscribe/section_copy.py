"""A client's copy of one section: what the server said, and behind it what is typed here. Pure.

Tie rule (docs/engine.md): of two inserts at one place the one ordered later goes left. A received entry is ordered
before what is in flight here, so `mine` moves by `received.transform(mine, False)`.
"""

from dataclasses import dataclass, field

from coscribe.ot import Content, Delta


@dataclass(slots=True)
class InFlight:
    """The operation that was sent and is not acknowledged. Times are the shell's, in seconds."""

    cseq: int
    delta: Delta
    sent_at: float
    retry_at: float


@dataclass(slots=True)
class SectionCopy:
    """A client's copy of a section: the server's content at a revision, and what is its own."""

    id: str
    content: Content
    revision: int
    epoch: int
    next: str | None
    sealed: str | None
    in_flight: InFlight | None = None
    buffer: Delta = field(default_factory=Delta)
    known_head: int = 0
    asked_at: float | None = None  # when a catch-up was asked for and not yet answered

    @property
    def pending(self) -> Delta:
        """What is typed here and not acknowledged, as one change of the server's content."""
        return self.in_flight.delta.compose(self.buffer) if self.in_flight else self.buffer

    @property
    def local_length(self) -> int:
        flying = self.in_flight.delta.length_change if self.in_flight else 0
        return self.content.length + flying + self.buffer.length_change

    def local(self) -> Delta:
        """The section as the editor shows it."""
        return self.content.delta().compose(self.pending)

    def rebase(self, received: Delta) -> Delta:
        """Move what is pending behind a received change; returns that change as the editor must apply it."""
        if self.in_flight:
            mine = self.in_flight.delta
            self.in_flight.delta = received.transform(mine, False)
            received = mine.transform(received, True)
        buffer = self.buffer
        self.buffer = received.transform(buffer, False)
        return buffer.transform(received, True)
