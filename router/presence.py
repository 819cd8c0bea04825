"""Who is here: each client's last presence, told to every socket of the document. Lossy, by pub/sub only.

A roster in Redis with a time to live tells those who join late and survives a router; nothing of it is ever stored.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import structlog

from coscribe import protocol
from persistence import keys
from persistence.records import Bus, Document, Unavailable

if TYPE_CHECKING:
    from router.connection import Connection

TTL_MS: Final = 45_000
REFRESH_S: Final = 15.0

log_event = structlog.get_logger("presence")


class Roster(Protocol):
    """Presences of a document with a time to live. Every method raises Unavailable."""

    async def set(
        self, document: str, incarnation: str, client: str, encoded: bytes | None, ttl_ms: int, message: bytes
    ) -> Sequence[str]:
        """Keep a client's presence (None: it leaves) and publish `message` on the document's presence channel.

        Returns the clients whose time was over, for whoever says so."""

    async def all(self, document: str, incarnation: str) -> Mapping[str, bytes]: ...

    async def claim_client(self, document: str, incarnation: str, client_id: str, user: str) -> str:
        """The user to whom the client id belongs: this one, if it was free."""


class Presences:
    """The presence of every document that has a socket here."""

    def __init__(self, bus: Bus, roster: Roster) -> None:
        self._bus, self._roster = bus, roster
        self._audiences: dict[str, dict[Connection, None]] = {}  # the local sockets of a document, by channel
        self._mine: dict[Connection, tuple[bytes, float]] = {}  # what each socket last said, and when it was stored

    async def enter(self, connection: "Connection") -> None:
        """Tell the socket who is here, and from now on what changes. Raises Unavailable."""
        document = connection.document
        channel = keys.presence(document.id, document.incarnation)
        audience = self._audiences.setdefault(channel, {})
        audience[connection] = None
        if len(audience) == 1:
            await self._bus.subscribe(channel)
        roster = await self._roster.all(document.id, document.incarnation)
        others = {client: msgspec.Raw(peer) for client, peer in roster.items() if client != connection.client}
        connection.outbox.push(_message(others))

    async def set(self, connection: "Connection", peer: protocol.PeerPresence | None, now: float) -> None:
        encoded = None if peer is None else protocol.encode(peer)
        if encoded is None:
            self._mine.pop(connection, None)
        else:
            self._mine[connection] = (encoded, now)
        await self._store(connection.document, connection.client, encoded)

    async def _store(self, document: Document, client: str, encoded: bytes | None) -> None:
        message = _message({client: msgspec.Raw(encoded or b"null")})
        try:
            gone = await self._roster.set(document.id, document.incarnation, client, encoded, TTL_MS, message)
            if gone:
                channel = keys.presence(document.id, document.incarnation)
                await self._bus.publish(channel, _message(dict.fromkeys(gone, msgspec.Raw(b"null"))))
        except Unavailable as error:
            log_event.debug("presence lost", document=document.id, error=str(error))

    def published(self, channel: str, message: bytes) -> None:
        """A change of somebody's presence, as a finished wire message."""
        for connection in self._audiences.get(channel, ()):
            if not connection.outbox.full:  # lossy: a slow reader gets the next one
                connection.outbox.push(message)

    async def refresh(self, now: float) -> None:
        """Keep alive what sockets that are still here have said."""
        for connection, (encoded, stored_at) in list(self._mine.items()):
            if now - stored_at >= REFRESH_S and connection in self._mine:
                self._mine[connection] = (encoded, now)
                await self._store(connection.document, connection.client, encoded)

    async def leave(self, connection: "Connection") -> None:
        document = connection.document
        channel = keys.presence(document.id, document.incarnation)
        audience = self._audiences.get(channel)
        if audience is not None:
            audience.pop(connection, None)
            if not audience:
                del self._audiences[channel]
                await self._bus.unsubscribe(channel)
        if self._mine.pop(connection, None):
            await self._store(document, connection.client, None)


def _message(peers: Mapping[str, msgspec.Raw]) -> bytes:
    return protocol.encode({"t": "presence", "p": peers})
