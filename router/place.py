"""A client's place in the room of one section: how far it was sent to, and its one operation without an answer."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coscribe import link, protocol
from coscribe.protocol import CloseCode
from router.room import Room
from router.run import Run

if TYPE_CHECKING:
    from router.connection import Connection


@dataclass(slots=True)
class Pending:
    """The one operation of a client and section that has no answer yet."""

    message: link.Submit
    resend_at: float
    view: int = 0  # of the map by which it was sent
    moved: bool = False  # who it was sent to does not own the section


class Place:
    """The client's place in the room of one section."""

    def __init__(self, connection: "Connection", room: Room) -> None:
        self.connection, self.room, self.client = connection, room, connection.client
        self.sent: int | None = None
        self.pending: Pending | None = None
        self.bringing_up: asyncio.Task[None] | None = None

    def deliver(self, run: Run) -> None:
        if self.connection.outbox.full:
            self.lag(run.last)
            return
        self.connection.tell(run)
        self.sent = run.last

    def lag(self, head: int) -> None:
        self.sent = None
        self.connection.send(protocol.Lagging(self.room.key.section, head))

    def resend_by(self, time: float) -> None:
        """The operation without an answer is sent again at this time at the latest."""
        if self.pending:
            self.pending.resend_at = min(self.pending.resend_at, time)

    def acknowledged(self, cseq: int) -> None:
        if self.pending and self.pending.message.cseq <= cseq:
            self.pending = None

    def fork(self) -> None:
        self.connection.close(CloseCode.FORK, "the history you have read is void")
