"""The router: sockets in, rooms, links and presence behind them. No aiohttp and no Redis here: ports only.

It holds no OT state and never parses a delta. What time decides is looked at in two loops: operations without an
answer often, everything else once a second.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Final, NamedTuple, TypeVar

import structlog

from cluster.watcher import MapWatcher
from coscribe import link
from coscribe.link import EntriesAre
from coscribe.names import SectionKey
from coscribe.protocol import CloseCode, WireLimits
from persistence import keys
from persistence.records import Bus, Document, LogReader, Unavailable
from router.auth import Identity
from router.budgets import Budgets
from router.connection import Connection
from router.fan_out import FanOut
from router.link import Answerless, Connect, Links
from router.place import Place
from router.presence import Presences, Roster
from router.room import Room
from router.run import Joined

RESEND_TICK_S: Final = 0.05
TICK_S: Final = 1.0
PRESENCE_TICK_S: Final = 1.0
POLL_HEADS_S: Final = 5.0
LATEST_RETRY_S: Final = 30.0
EMPTY_ROOM_S: Final = 10.0  # who comes back soon finds the recent batches

log_event = structlog.get_logger("router")


@dataclass(frozen=True, slots=True)
class RouterSettings:
    durability: str = "fsync"
    heartbeat_s: float = 20.0
    limits: WireLimits = field(default_factory=lambda: WireLimits(1024 * 1024, 256 * 1024, 4096, 500))
    user_ops_per_s: float = 5_000.0
    document_ops_per_s: float = 10_000.0


@dataclass(frozen=True, slots=True)
class Clock:
    """Time as the shell sees it; the simulator has its own."""

    monotonic: Callable[[], float]
    unix_time: Callable[[], float]
    cpu: Callable[[], float]
    waited: Callable[[], float] = lambda: 0.0


class SharedSnapshot(NamedTuple):
    """`head` is the newest revision, which a cached snapshot may be some entries behind."""

    revision: int
    epoch: int
    head: int
    message: Joined


K = TypeVar("K")
T = TypeVar("T")

Redeem = Callable[[str, str], Awaitable[Identity | None]]
"""(ticket, document id) -> the identity that a single-use ticket stands for."""


class Router:
    """Everything of one router process but the sockets themselves."""

    def __init__(
        self,
        settings: RouterSettings,
        watcher: MapWatcher,
        bus: Bus,
        reader: LogReader,
        roster: Roster,
        connect: Connect,
        redeem: Redeem,
        clock: Clock,
    ) -> None:
        self.settings = settings
        self.connections: dict[int, Connection] = {}
        self.waiting: dict[Place, None] = {}  # places with an operation that has no answer, in order
        self.redeem = redeem
        self.users = Budgets(settings.user_ops_per_s)
        self.documents = Budgets(settings.document_ops_per_s)
        self.presence = Presences(bus, roster)
        self.links = Links(lambda: watcher.ring, connect, self._heard, self._link_broken, clock.monotonic)
        self._watcher, self._bus, self._reader, self._roster, self._clock = watcher, bus, reader, roster, clock
        self._rooms: dict[str, Room] = {}
        self._opening: dict[str, asyncio.Task[Room]] = {}
        self._empty_since: dict[str, float] = {}
        self._snapshots: dict[SectionKey, asyncio.Task[SharedSnapshot]] = {}
        self._fan_out = FanOut(clock.monotonic, clock.cpu, clock.waited)
        self._refs = count(1)
        watcher.on_change = self._map_changed
        bus.listen(self._published, self._interrupted)

    def now(self) -> float:
        return self._clock.monotonic()

    def unix_time(self) -> float:
        return self._clock.unix_time()

    @property
    def view(self) -> int:
        return self._watcher.ring.view

    @property
    def hosts_up(self) -> int:
        return len(self._watcher.ring.map.hosts)

    @property
    def rooms(self) -> dict[str, Room]:
        return self._rooms

    def accept(
        self,
        document: Document,
        identity: Identity,
        wake: Callable[[], None],
        write: Callable[[bytes], bool] = lambda frame: False,
    ) -> Connection:
        """A socket of a known user on a known document. `wake` is called when there is something to write, `write`
        with a whole frame that may be written at once; it says whether it was."""
        connection = Connection(self, next(self._refs), document, identity, wake, write)
        self.connections[connection.ref] = connection
        return connection

    async def left(self, connection: Connection) -> None:
        self.connections.pop(connection.ref, None)
        for place in connection.places.values():
            self.waiting.pop(place, None)
        await self.presence.leave(connection)

    async def claim_client(self, connection: Connection) -> str:
        """The user to whom the connection's client id belongs. Raises Unavailable."""
        document = connection.document
        return await self._roster.claim_client(
            document.id, document.incarnation, connection.client, connection.identity.user
        )

    # --- Rooms ---

    async def room(self, key: SectionKey) -> Room:
        """The room of a section, subscribed to its channel. Raises Unavailable."""
        channel = keys.channel(key)
        self._empty_since.pop(channel, None)
        opening = self._opening.get(channel)
        if opening is None:
            if (room := self._rooms.get(channel)) is not None:
                return room
            opening = self._opening[channel] = asyncio.get_running_loop().create_task(self._open_room(key, channel))
            opening.add_done_callback(lambda task: self._ended(task, self._opening, channel))
        return await asyncio.shield(opening)

    def _ended(self, task: asyncio.Task[T], running: dict[K, asyncio.Task[T]], key: K) -> None:
        """Those who shared the task have heard of its failure; when all of them have left, nobody needs to."""
        running.pop(key, None)
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, (Unavailable, Answerless)):
            log_event.error("shared work failed", exc_info=error)

    async def _open_room(self, key: SectionKey, channel: str) -> Room:
        room = self._rooms[channel] = Room(key, self._reader, self._from_owner, self._fan_out)
        try:
            await self._bus.subscribe(channel)
        except BaseException:
            self._rooms.pop(channel, None)
            raise
        return room

    async def _from_owner(self, key: SectionKey, after: int) -> EntriesAre | None:
        try:
            return await self.links.entries(key, after)
        except Answerless as problem:
            if problem.code == "ahead" and await self.is_void(key, after):
                return None
            raise Unavailable(str(problem)) from None

    def _published(self, channel: str, data: bytes) -> None:
        if channel == keys.CLUSTER_MAP_NOTICE:
            self._watcher.notice()
        elif (room := self._rooms.get(channel)) is not None:
            room.published(data)
        else:
            self.presence.published(channel, data, self.now())

    def _interrupted(self, channel: str) -> None:
        if channel == keys.CLUSTER_MAP_NOTICE:
            self._watcher.notice()
        elif (room := self._rooms.get(channel)) is not None:
            room.repair()
        else:
            self.presence.interrupted(channel)

    async def snapshot(self, room: Room) -> SharedSnapshot:
        """The owner's snapshot; those who ask at one time share one question, and its bytes. Raises Answerless."""
        asking = self._snapshots.get(room.key)
        if asking is None:
            asking = asyncio.get_running_loop().create_task(self._ask_snapshot(room.key))
            self._snapshots[room.key] = asking
            asking.add_done_callback(lambda task: self._ended(task, self._snapshots, room.key))
        return await asyncio.shield(asking)

    async def _ask_snapshot(self, key: SectionKey) -> SharedSnapshot:
        found = await self.links.snapshot(key)
        return SharedSnapshot(found.revision, found.epoch, found.head, Joined(found.message))

    async def is_void(self, key: SectionKey, revision: int) -> bool:
        """Whether the log ends before a revision of which the owner has never heard: it may own the section no more."""
        try:
            (head,) = await self._reader.heads([key])
        except Unavailable:
            return False
        return head is None or head[0] < revision

    # --- From the owners ---

    def _heard(self, message: link.ToRouter) -> None:
        match message:
            case link.Refusal(ref=ref):
                if connection := self.connections.get(ref):
                    connection.refused(message)
            case link.Duplicate(ref=ref):
                if connection := self.connections.get(ref):
                    connection.duplicate(message)
            case link.Moved(ref=ref):
                self._watcher.notice()
                if connection := self.connections.get(ref):
                    connection.moved(message, self.now())
            case _:
                raise AssertionError("answers go to who asked")

    async def _map_changed(self) -> None:
        now = self.now()
        for place in list(self.waiting):
            place.connection.map_changed(place, now)

    def _link_broken(self) -> None:
        """What was sent on the link may be lost: send all that has no answer again, soon."""
        self._watcher.notice()
        now = self.now()
        for place in self.waiting:
            place.resend_by(now + RESEND_TICK_S)

    async def refresh_map(self) -> None:
        try:
            await self._watcher.refresh()
        except Unavailable as error:
            log_event.warning("cluster map not read", error=str(error))

    # --- Time ---

    async def run(self) -> None:
        """Everything that happens by itself, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_again(TICK_S, self._follow_map))
            tasks.create_task(_again(TICK_S, self._watcher.run))
            tasks.create_task(_again(RESEND_TICK_S, self._resend))
            tasks.create_task(_again(TICK_S, self._tick))
            tasks.create_task(_again(PRESENCE_TICK_S, self._refresh_presence))
            tasks.create_task(_again(POLL_HEADS_S, self._poll_heads))

    async def _follow_map(self) -> None:
        """Notices of a new map make it known at once; it is read now and then anyway."""
        await self._bus.subscribe(keys.CLUSTER_MAP_NOTICE)
        await asyncio.Event().wait()

    async def _resend(self) -> None:
        now = self.now()
        for place in list(self.waiting):
            if place.pending is None:
                self.waiting.pop(place, None)
            elif now >= place.pending.resend_at:
                place.connection.resend(place, now)

    async def _tick(self) -> None:
        """What must not wait for any store: silence, expiry and slow readers."""
        now = self.now()
        for connection in list(self.connections.values()):
            connection.tick(now)
        self.links.forget_hosts_gone()
        await self._close_empty_rooms(now)

    async def _refresh_presence(self) -> None:
        await self.presence.refresh(self.now())

    async def _close_empty_rooms(self, now: float) -> None:
        for channel, room in list(self._rooms.items()):
            if room.members or channel in self._opening:
                self._empty_since.pop(channel, None)
            elif now - self._empty_since.setdefault(channel, now) >= EMPTY_ROOM_S:
                del self._rooms[channel], self._empty_since[channel]
                try:
                    await self._bus.unsubscribe(channel)  # first: from here on a newcomer subscribes again
                except Unavailable as error:
                    log_event.debug("not unsubscribed", channel=channel, error=str(error))
                await room.close()

    async def _poll_heads(self) -> None:
        """A quiet section cannot stay stale: its head is looked up now and then."""
        rooms = [room for room in self._rooms.values() if room.members]
        known = [room.head for room in rooms]
        heads = await self._reader.heads([room.key for room in rooms]) if rooms else []
        for room, before, head in zip(rooms, known, heads, strict=True):
            room.log_ends(head[0] if head else None, before)

    async def stop(self, retry_after_s: float = 0.5, joins_per_s: float = math.inf) -> None:
        """Tell every client to come back, then close what is open. Beyond the burst of two seconds' joins, they are
        told to come one after the other, as they would be let in."""
        for number, connection in enumerate(list(self.connections.values())):
            later_s = max(0.0, min(number / joins_per_s - 2.0, LATEST_RETRY_S))
            connection.close(CloseCode.RESTART, retry_after_s=retry_after_s + later_s)
        for room in list(self._rooms.values()):
            await room.close()
        await self.links.close()


async def _again(every_s: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work again and again, for ever."""
    while True:
        try:
            await work()
        except Unavailable as error:
            log_event.warning("put off", work=work.__qualname__, error=str(error))
        except Exception:  # whatever went wrong this time, the sockets of all clients must not pay for it
            log_event.exception("failed", work=work.__qualname__)
        await asyncio.sleep(every_s)
