"""The local sockets of one document, and what they know of each other's presence.

What is heard is kept here, so whoever comes later is told at once and asks Redis nothing. Changes are gathered, the
latest of each client, and told to all in one frame that is built once: the larger the audience, the rarer.
"""

import asyncio
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from coscribe import protocol
from persistence.records import Document
from router.run import Joined

if TYPE_CHECKING:
    from router.connection import Connection

SENDS_PER_S: Final = 2_500  # to the sockets of one document, however many of them move
SAID_PER_S: Final = 100  # by the sockets of one document: as much has to be read by every socket
LONGEST_TURN_S: Final = 10.0  # in which everyone has been heard once, however many they are
SHORTEST_GAP_S: Final = 0.05  # between two presences of one socket
ROSTER_MOST: Final = 200  # of those who moved last; the others show when they move
CHANGES_MOST: Final = 200  # in one frame; the others wait for the next one
GONE: Final = b"null"


class Audience:
    """`known` is the presence of each client as it was last heard, those who moved last at the end. `ready` ends when
    it is complete: the audience has subscribed, then read the roster."""

    def __init__(self, document: Document, now: float) -> None:
        self.document = document
        self.compared_at = now
        self.members: dict[Connection, bool] = {}  # whether it has been told who is here
        self.known: dict[str, bytes] = {}
        self.ready: asyncio.Task[None] | None = None
        self._free_at = now  # when the next socket may say something
        self._changes: dict[str, bytes] = {}  # not told yet, those that wait longest first
        self._next_tell = now
        self._tell: asyncio.TimerHandle | None = None
        self._roster: bytes | None = None

    @property
    def failed(self) -> bool:
        ready = self.ready
        return ready is not None and ready.done() and (ready.cancelled() or ready.exception() is not None)

    # --- What sockets say ---

    def turn(self, now: float, said_at: float) -> float:
        """When a socket that spoke last at `said_at` may speak. It takes that turn, so a socket asks for one only."""
        per_s = max(SAID_PER_S, len(self.members) / LONGEST_TURN_S)
        turn = max(now, self._free_at, said_at + SHORTEST_GAP_S)
        self._free_at = max(now, self._free_at) + 1 / per_s
        return turn

    # --- What they are told ---

    def roster_is(self, roster: Mapping[str, bytes]) -> None:
        """What was heard since it was asked for is newer."""
        heard, self.known = self.known, dict(roster)
        for client, state in heard.items():
            self._keep(client, state)
        self._roster = None

    def welcome(self, connection: "Connection") -> None:
        """Tell a socket who else is here."""
        self.members[connection] = True
        if connection.client in self.known:
            connection.outbox.push(self._message(connection.client))
        else:
            self._roster = self._roster or self._message()
            connection.outbox.push(self._roster)

    def _message(self, but: str = "") -> bytes:
        others = ((client, state) for client, state in reversed(self.known.items()) if client != but)
        return presence_message(dict(islice(others, ROSTER_MOST)))

    def heard(self, changes: Mapping[str, bytes], now: float) -> None:
        """Others, or we ourselves, have moved or left."""
        for client, state in changes.items():
            if self.ready is not None and self.ready.done():
                self._keep(client, state)
            else:
                self.known[client] = state  # that somebody left is newer, too, than the roster that is being read
            self._changes[client] = state
        self._roster = None
        self._tell_soon(now)

    def _keep(self, client: str, state: bytes) -> None:
        self.known.pop(client, None)
        if state != GONE:
            self.known[client] = state

    def _tell_soon(self, now: float) -> None:
        if self._tell is None and self._changes:
            wait_s = max(0.0, self._next_tell - now)
            self._tell = asyncio.get_running_loop().call_later(wait_s, self._tell_all, now + wait_s)

    def _tell_all(self, now: float) -> None:
        self._tell = None
        told = dict(islice(self._changes.items(), CHANGES_MOST))
        for client in told:
            del self._changes[client]
        everything = Joined(presence_message(told))
        gone = {client: state for client, state in told.items() if state == GONE}
        farewell = Joined(presence_message(gone)) if gone else None
        for connection, welcomed in self.members.items():
            if welcomed and not connection.outbox.full:
                connection.tell(everything)
            elif welcomed and farewell:  # a slow reader gets the next one; but who left says no more
                connection.tell(farewell)
        self._next_tell = now + len(self.members) / SENDS_PER_S
        self._tell_soon(now)

    def close(self) -> None:
        if self.ready is not None:
            self.ready.cancel()
        if self._tell is not None:
            self._tell.cancel()
            self._tell = None
        self._changes.clear()


def presence_message(states: Mapping[str, bytes]) -> bytes:
    return protocol.encode({"t": "presence", "p": {client: msgspec.Raw(state) for client, state in states.items()}})
