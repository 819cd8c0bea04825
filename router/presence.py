"""Who is here: each client's last presence, told to every socket of the document. Lossy, by pub/sub only.

A roster in Redis with a time to live tells the first who come to a router, and survives it; nothing of it is ever
stored. Of one socket one presence at a time is on its way, then the newest, so that what was said last is what stays;
sockets of one document take turns. What pub/sub lost is found by comparing with the roster now and then.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import structlog

from coscribe import protocol
from persistence import keys
from persistence.records import Bus, Document, Unavailable
from router.audience import GONE, Audience, presence_message

if TYPE_CHECKING:
    from router.connection import Connection

TTL_MS: Final = 45_000
REFRESH_S: Final = 15.0
KEPT_AT_ONCE: Final = 500  # a script blocks Redis for all

log_event = structlog.get_logger("presence")


class Roster(Protocol):
    """Presences of a document with a time to live. Every method raises Unavailable."""

    async def set(
        self, document: str, incarnation: str, client: str, encoded: bytes | None, ttl_ms: int, message: bytes
    ) -> Sequence[str]:
        """Keep a client's presence (None: it leaves) and publish `message` on the document's presence channel.

        Returns the clients whose time was over, for whoever says so."""

    async def keep(self, document: str, incarnation: str, clients: Sequence[str], ttl_ms: int) -> Sequence[str]:
        """Let the presences of these clients live on; returns those that are not there any more."""

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
    stored_at: float = float("-inf")
    changed: bool = True
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    storing: "asyncio.Task[None] | None" = None


class Presences:
    """The presence of every document that has a socket here."""

    def __init__(self, bus: Bus, roster: Roster) -> None:
        self._bus, self._roster = bus, roster
        self._audiences: dict[str, Audience] = {}  # by channel
        self._said: dict[Connection, _Said] = {}

    async def enter(self, connection: "Connection") -> None:
        """Tell the socket who is here, and from now on what changes. Raises Unavailable."""
        document = connection.document
        channel = _channel(document)
        audience = self._audiences.get(channel)
        if audience is None or audience.failed:
            members = audience.members if audience else {}
            audience = self._audiences[channel] = Audience(document, connection.router.now())
            audience.members = members
            audience.ready = asyncio.get_running_loop().create_task(self._prepare(audience, channel))
            audience.ready.add_done_callback(_looked_at)
        audience.members[connection] = False
        assert audience.ready is not None, "it is begun when an audience is made"
        await asyncio.shield(audience.ready)
        audience.welcome(connection)

    async def _prepare(self, audience: Audience, channel: str) -> None:
        """The roster is read once changes are heard: else what is said in between would be in neither."""
        await self._bus.subscribe(channel)
        audience.roster_is(await self._roster.all(audience.document.id, audience.document.incarnation))

    async def leave(self, connection: "Connection") -> None:
        """The socket is gone, and with it what it said."""
        channel = _channel(connection.document)
        audience = self._audiences.get(channel)
        said = self._said.pop(connection, None)
        if audience is not None:
            audience.members.pop(connection, None)
            if not audience.members:
                del self._audiences[channel]
                audience.close()
                await self._bus.unsubscribe(channel)
        if said is not None:
            await self._unsay(connection, said, audience)

    async def _unsay(self, connection: "Connection", said: _Said, audience: Audience | None) -> None:
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

    def say(self, connection: "Connection", peer: protocol.PeerPresence | None) -> None:
        """Tell everyone, as soon as that may be."""
        encoded = None if peer is None else protocol.encode(peer)
        said = self._said.get(connection)
        if said is None:
            said = self._said[connection] = _Said(encoded)
        said.encoded, said.changed = encoded, True
        self._store_soon(connection, said)

    def _store_soon(self, connection: "Connection", said: _Said) -> None:
        if said.changed and (said.storing is None or said.storing.done()):
            said.storing = asyncio.get_running_loop().create_task(self._store_all(connection, said))
            said.storing.add_done_callback(_looked_at)

    async def _store_all(self, connection: "Connection", said: _Said) -> None:
        """Until the roster has what was said last."""
        while said.changed:
            await self._turn(connection, said)
            said.changed, said.stored_at = False, connection.router.now()
            await self._store(connection.document, connection.client, said.encoded)

    async def _turn(self, connection: "Connection", said: _Said) -> None:
        """Wait for it, unless the socket leaves."""
        audience = self._audiences.get(_channel(connection.document))
        if audience is None or said.leaving.is_set():
            return
        now = connection.router.now()
        if (wait_s := audience.turn(now, said.stored_at) - now) > 0:
            try:
                async with asyncio.timeout(wait_s):
                    await said.leaving.wait()
            except TimeoutError:
                pass

    async def _store(self, document: Document, client: str, encoded: bytes | None) -> None:
        message = presence_message({client: encoded or GONE})
        try:
            gone = await self._roster.set(document.id, document.incarnation, client, encoded, TTL_MS, message)
            if gone:
                await self._bus.publish(_channel(document), presence_message(dict.fromkeys(gone, GONE)))
        except Unavailable as error:
            log_event.debug("presence lost", document=document.id, error=str(error))

    # --- What others say ---

    def published(self, channel: str, message: bytes, now: float) -> None:
        """A change of somebody's presence, as a finished wire message."""
        audience = self._audiences.get(channel)
        if audience is None:
            return
        try:
            changes = {client: bytes(state) for client, state in _decode(message).p.items()}
        except msgspec.DecodeError:
            log_event.error("not a presence", channel=channel)
            return
        self._heard(audience, changes, now)

    def _heard(self, audience: Audience, changes: Mapping[str, bytes], now: float) -> None:
        audience.heard(changes, now)
        if GONE not in changes.values():
            return
        for connection in audience.members:
            if changes.get(connection.client) == GONE and (said := self._said.get(connection)) and said.encoded:
                said.changed = True  # another socket of this client has left, or Redis has forgotten: here it still is
                self._store_soon(connection, said)

    def interrupted(self, channel: str) -> None:
        """Changes may have been lost: the next look at the time compares."""
        if (audience := self._audiences.get(channel)) is not None:
            audience.compared_at = float("-inf")

    # --- Time ---

    async def refresh(self, now: float) -> None:
        """Keep alive what sockets that are still here have said, and tell of who is gone without a word."""
        for audience in list(self._audiences.values()):
            if now - audience.compared_at >= REFRESH_S:
                audience.compared_at = now
                try:
                    await self._keep(audience)
                    if audience.known:
                        await self._compare(audience, now)
                except Unavailable as error:
                    log_event.debug("roster not read", document=audience.document.id, error=str(error))

    async def _keep(self, audience: Audience) -> None:
        """Those who say nothing now. Redis may have forgotten some: they say it again."""
        said = {
            connection.client: (connection, said)
            for connection in audience.members
            if (said := self._said.get(connection)) and said.encoded is not None
        }
        document = audience.document
        for clients in (list(said)[first : first + KEPT_AT_ONCE] for first in range(0, len(said), KEPT_AT_ONCE)):
            for client in await self._roster.keep(document.id, document.incarnation, clients, TTL_MS):
                connection, its = said[client]
                if its.encoded is not None and connection in audience.members:
                    its.changed = True
                    self._store_soon(connection, its)

    async def _compare(self, audience: Audience, now: float) -> None:
        before = dict(audience.known)
        roster = await self._roster.all(audience.document.id, audience.document.incarnation)
        changes = {client: GONE for client in before if client not in roster} | dict(roster)
        missed = {
            client: state
            for client, state in changes.items()
            if before.get(client) == audience.known.get(client) != state  # what was heard meanwhile is newer
        }
        self._heard(audience, missed, now)


def _channel(document: Document) -> str:
    return keys.presence(document.id, document.incarnation)


def _looked_at(task: "asyncio.Task[None]") -> None:
    """Whoever waits for the task hears of its failure; when nobody does any more, it is no loss."""
    if not task.cancelled() and (error := task.exception()) and not isinstance(error, Unavailable):
        log_event.error("presence failed", exc_info=error)
