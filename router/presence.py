"""Who is here: each client's last presence, told to every socket of the document. Lossy, by pub/sub only.

A roster in Redis with a time to live tells those who join late and survives a router; nothing of it is ever stored. Of
one socket one presence at a time is on its way, then the newest, so that what was said last is what stays; the larger
the room, the rarer. What pub/sub lost is found by comparing with the roster now and then.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
SENDS_PER_S: Final = 5_000  # to the sockets of one document here, if all of them move all the time
LONGEST_GAP_S: Final = 2.0

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


class _Told(msgspec.Struct):
    """A published presence message."""

    p: dict[str, msgspec.Raw]


_decode = msgspec.json.Decoder(_Told).decode


@dataclass(slots=True)
class _Said:
    """What one socket said last. `changed`: the roster has not been told yet."""

    encoded: bytes | None
    stored_at: float
    changed: bool = True
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    storing: "asyncio.Task[None] | None" = None


@dataclass(slots=True)
class _Audience:
    """The local sockets of one document; each with the changes that must wait for its roster, None once it has that.

    `shown` are the clients whose presence was told to them."""

    document: Document
    subscribed: "asyncio.Task[None]"
    compared_at: float
    members: "dict[Connection, list[bytes] | None]" = field(default_factory=dict)
    shown: dict[str, None] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        task = self.subscribed
        return task.done() and (task.cancelled() or task.exception() is not None)


class Presences:
    """The presence of every document that has a socket here."""

    def __init__(self, bus: Bus, roster: Roster) -> None:
        self._bus, self._roster = bus, roster
        self._audiences: dict[str, _Audience] = {}  # by channel
        self._said: dict[Connection, _Said] = {}

    async def enter(self, connection: "Connection") -> None:
        """Tell the socket who is here, and from now on what changes. Raises Unavailable."""
        document = connection.document
        channel = _channel(document)
        audience = self._audiences.get(channel)
        if audience is None or audience.failed:
            subscribed = asyncio.get_running_loop().create_task(self._bus.subscribe(channel))
            subscribed.add_done_callback(_looked_at)
            members = audience.members if audience else {}
            audience = _Audience(document, subscribed, connection.router.now(), members)
            self._audiences[channel] = audience
        audience.members[connection] = []
        await asyncio.shield(audience.subscribed)
        roster = await self._roster.all(document.id, document.incarnation)
        audience.shown.update(dict.fromkeys(roster))
        others = {client: msgspec.Raw(peer) for client, peer in roster.items() if client != connection.client}
        held = audience.members.get(connection)
        audience.members[connection] = None
        for message in (_message(others), *(held or ())):
            connection.outbox.push(message)

    async def leave(self, connection: "Connection") -> None:
        """The socket is gone, and with it what it said."""
        channel = _channel(connection.document)
        audience = self._audiences.get(channel)
        said = self._said.pop(connection, None)
        if audience is not None:
            audience.members.pop(connection, None)
            if not audience.members:
                del self._audiences[channel]
                audience.subscribed.cancel()
                await self._bus.unsubscribe(channel)
        if said is not None:
            await self._unsay(connection, said, audience)

    async def _unsay(self, connection: "Connection", said: _Said, audience: _Audience | None) -> None:
        """Who moves to a new socket is there twice for a while: then it is the other one that speaks for the client."""
        said.changed = said.encoded is not None
        said.encoded = None
        for other in audience.members if audience else ():
            if other.client == connection.client and (its := self._said.get(other)) and its.encoded is not None:
                said.changed, its.changed = False, True
        said.leaving.set()
        self._store_soon(connection, said)
        if said.storing is not None:
            await asyncio.wait({said.storing})
        for other in audience.members if audience else ():
            if its := self._said.get(other):
                self._store_soon(other, its)

    # --- What sockets say ---

    def say(self, connection: "Connection", peer: protocol.PeerPresence | None, now: float) -> None:
        """Tell everyone, as soon as that may be."""
        encoded = None if peer is None else protocol.encode(peer)
        said = self._said.get(connection)
        if said is None:
            said = self._said[connection] = _Said(encoded, now)
        said.encoded, said.changed = encoded, True
        self._store_soon(connection, said)

    def _store_soon(self, connection: "Connection", said: _Said) -> None:
        if said.changed and (said.storing is None or said.storing.done()):
            said.storing = asyncio.get_running_loop().create_task(self._store_all(connection, said))
            said.storing.add_done_callback(_looked_at)

    async def _store_all(self, connection: "Connection", said: _Said) -> None:
        """Until the roster has what was said last."""
        while said.changed:
            said.changed, said.stored_at = False, connection.router.now()
            await self._store(connection.document, connection.client, said.encoded)
            try:
                async with asyncio.timeout(self._gap_s(connection)):
                    await said.leaving.wait()
            except TimeoutError:
                pass

    def _gap_s(self, connection: "Connection") -> float:
        audience = self._audiences.get(_channel(connection.document))
        count = len(audience.members) if audience else 0
        return min(count * count / SENDS_PER_S, LONGEST_GAP_S)

    async def _store(self, document: Document, client: str, encoded: bytes | None) -> None:
        message = _message({client: msgspec.Raw(encoded or b"null")})
        try:
            gone = await self._roster.set(document.id, document.incarnation, client, encoded, TTL_MS, message)
            if gone:
                await self._bus.publish(_channel(document), _gone(gone))
        except Unavailable as error:
            log_event.debug("presence lost", document=document.id, error=str(error))

    # --- What others say ---

    def published(self, channel: str, message: bytes) -> None:
        """A change of somebody's presence, as a finished wire message."""
        audience = self._audiences.get(channel)
        if audience is None:
            return
        try:
            changes = _decode(message).p
        except msgspec.DecodeError:
            log_event.error("not a presence", channel=channel)
            return
        gone = [client for client, state in changes.items() if bytes(state) == b"null"]
        audience.shown.update(dict.fromkeys(changes))
        for client in gone:
            del audience.shown[client]
        for connection, held in audience.members.items():
            if held is not None:
                held.append(message)
            elif gone or not connection.outbox.full:  # a slow reader gets the next one; but who left says no more
                connection.outbox.push(message)
            if gone and connection.client in gone and (said := self._said.get(connection)) and said.encoded:
                said.changed = True  # another socket of this client has left, or Redis has forgotten: here it still is
                self._store_soon(connection, said)

    # --- Time ---

    async def refresh(self, now: float) -> None:
        """Keep alive what sockets that are still here have said, and tell of who is gone without a word."""
        for connection, said in self._said.items():
            if said.encoded is not None and now - said.stored_at >= REFRESH_S:
                said.changed = True
                self._store_soon(connection, said)
        for channel, audience in list(self._audiences.items()):
            if audience.shown and now - audience.compared_at >= REFRESH_S:
                audience.compared_at = now
                await self._compare(channel, audience)

    async def _compare(self, channel: str, audience: _Audience) -> None:
        before = list(audience.shown)
        try:
            roster = await self._roster.all(audience.document.id, audience.document.incarnation)
        except Unavailable as error:
            log_event.debug("roster not read", document=audience.document.id, error=str(error))
            return
        if gone := [client for client in before if client in audience.shown and client not in roster]:
            self.published(channel, _gone(gone))
        if missed := {client: msgspec.Raw(peer) for client, peer in roster.items() if client not in audience.shown}:
            self.published(channel, _message(missed))


def _channel(document: Document) -> str:
    return keys.presence(document.id, document.incarnation)


def _message(peers: Mapping[str, msgspec.Raw]) -> bytes:
    return protocol.encode({"t": "presence", "p": peers})


def _gone(clients: Iterable[str]) -> bytes:
    return _message(dict.fromkeys(clients, msgspec.Raw(b"null")))


def _looked_at(task: "asyncio.Task[None]") -> None:
    """Whoever waits for the task hears of its failure; when nobody does any more, it is no loss."""
    if not task.cancelled() and (error := task.exception()) and not isinstance(error, Unavailable):
        log_event.error("presence failed", exc_info=error)
