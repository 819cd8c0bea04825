"""Clients that go to another router: all of them when this one drains, the excess when it holds more than its share.

A client that is asked connects anew, resumes there, and only then closes its socket here, so nobody waits. Routers tell
each other through Redis how many sockets they have; without it nobody is asked.

Who is asked: those first who have been here longest, and while sharing only those with nothing on its way. So nobody
is asked twice before all others were asked once, for who came back is the youngest. Those who came last may have come
from another router just now.
"""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec
import structlog

from persistence.records import RouterStore, Unavailable
from router.admission import TokenBucket
from router.balance import JUDGED, Balance, drain_per_s
from router.connection import Connection
from router.metrics import RouterMetrics

TICK_S: Final = 1.0
SAY_S: Final = 3.0
TTL_MS: Final = 10_000
SAY_TIMEOUT_S: Final = 1.0
DRAIN_TICK_S: Final = 0.25
WITHIN_S: Final = 10.0
JUDGE_S: Final = 15.0  # who was asked and still is here, or again, has not moved
FORGET_S: Final = 60.0  # a client that is here so long after it was asked may be here by chance
AGAIN_S: Final = 600.0
FRUITLESS_S: Final = 30.0  # until those are looked through again of whom none could be asked

log_event = structlog.get_logger("moves")

K = TypeVar("K")

Client = tuple[str, str, str]
"""Document, incarnation, client id: the same on the socket that takes over."""


class RouterIs(msgspec.Struct, frozen=True):
    """What a router says of itself. Fields of newer versions are passed over."""

    sockets: int
    draining: bool = False


@dataclass(frozen=True, slots=True)
class MoveSettings:
    drain_s: float = 15.0
    balance_factor: float = 1.25
    joins_per_s: float = 200.0


class Moves:
    """Of the router called `name`, whose sockets are `connections`."""

    def __init__(
        self,
        name: str,
        connections: Mapping[int, Connection],
        store: RouterStore,
        metrics: RouterMetrics,
        settings: MoveSettings,
        now: Callable[[], float],
    ) -> None:
        self._name, self._connections, self._store, self._now = name, connections, store, now
        self._metrics, self._settings = metrics, settings
        self._balance = Balance(settings.balance_factor, settings.joins_per_s)
        self._others: list[RouterIs] = []
        self._draining = False
        self._said_at = -SAY_S
        self._fruitless_until = 0.0
        self._asked: dict[Client, float] = {}  # those asked in the last AGAIN_S, in order
        self._unjudged: dict[Connection, float] = {}  # their sockets, in order
        self._told: set[Connection] = set()  # that this router drains

    @property
    def _ready(self) -> list[int]:
        """Sockets of each other router that takes more."""
        return [other.sockets for other in self._others if not other.draining]

    async def _say(self) -> None:
        """Say how this router is and hear how the others are. Nobody is there while Redis does not answer."""
        self._said_at = self._now()
        said = msgspec.json.encode(RouterIs(len(self._connections), self._draining))
        try:
            async with asyncio.timeout(SAY_TIMEOUT_S):
                found = await self._store.say(self._name, said, TTL_MS)
            self._others = [msgspec.json.decode(it, type=RouterIs) for name, it in found.items() if name != self._name]
        except (Unavailable, TimeoutError, msgspec.DecodeError) as error:
            self._others = []
            log_event.debug("other routers not heard", error=str(error))

    async def leave(self) -> None:
        """The others need not wait until what was said is over."""
        try:
            async with asyncio.timeout(SAY_TIMEOUT_S):
                await self._store.say(self._name, None, TTL_MS)
        except (Unavailable, TimeoutError) as error:
            log_event.debug("not left", error=str(error))

    # --- Sharing ---

    async def run(self) -> None:
        """Share with the others, until cancelled."""
        while True:
            try:
                if self._now() - self._said_at >= SAY_S:
                    await self._say()
                self.share()
            except Exception:  # whatever went wrong this time, people edit on
                log_event.exception("not shared")
            await asyncio.sleep(TICK_S)

    def share(self) -> None:
        """Ask those to move who are too many here now."""
        now = self._now()
        others = self._ready
        self._judge(len(others), now)
        lately = (each for each, asked_at in self._unjudged.items() if asked_at > now - JUDGE_S)
        leaving = sum(each.ref in self._connections for each in lately)
        due = self._balance.due(len(self._connections), leaving, others, now)
        if due and now >= self._fruitless_until:
            able = (each for each in self._connections.values() if each.welcomed and each.idle and not each.closing)
            asked = list(itertools.islice((each for each in able if _client(each) not in self._asked), due))
            for connection in asked:
                connection.ask_to_move(WITHIN_S)
                self._asked[_client(connection)] = self._unjudged[connection] = now
            self._metrics.moves.labels("share").inc(len(asked))
            if not asked:
                self._fruitless_until = now + FRUITLESS_S
            log_event.debug("asked to move", sockets=len(self._connections), others=others, asked=len(asked))

    def _judge(self, others: int, now: float) -> None:
        """Look at those who were asked a while ago, once they are enough to tell chance from a rule."""
        for client in _until(self._asked, now - AGAIN_S):
            del self._asked[client]
        for connection in _until(self._unjudged, now - FORGET_S):
            del self._unjudged[connection]
        ripe = _until(self._unjudged, now - JUDGE_S)
        if len(ripe) < JUDGED or not others:
            return
        clients = {_client(each) for each in self._connections.values()}
        here = sum(_client(connection) in clients for connection in ripe)
        for connection in ripe:
            del self._unjudged[connection]
        if not self._balance.judge(len(ripe), here, others, now):
            log_event.warning(
                "clients that are asked to move come back to this router, so none is asked for an hour. Let the "
                "balancer choose at random or by least connections, not by a hash of the address or the document; or "
                "set COSCRIBE_BALANCE_FACTOR=0",
                asked=len(ripe), here=here, routers=others + 1,
            )  # fmt: skip

    # --- Draining ---

    async def announce_drain(self) -> bool:
        """Tell the others that this router takes nobody any more; whether there is one that does."""
        self._draining = True
        await self._say()
        return bool(self._settings.drain_s and self._ready)

    async def drain(self) -> None:
        """Ask all to move, and wait until they are gone, the time is over, or there is nowhere to go any more: when a
        whole system stops, its routers hear of each other that all of them drain. That is why the first is asked only
        after a second look."""
        self._metrics.drains.inc()
        until = self._now() + self._settings.drain_s
        pace = TokenBucket(0.0, 1.0, 1.0, self._now())
        while self._connections and (left_s := until - self._now()) > 0:
            await asyncio.sleep(min(DRAIN_TICK_S, left_s))
            await self._say()
            if not self._ready:
                return
            draining = 1 + sum(other.draining for other in self._others)
            pace.rate = drain_per_s(self._settings.joins_per_s, len(self._ready), draining)
            pace.burst = 1.0 + 2 * pace.rate * DRAIN_TICK_S  # a tick may come late
            self._ask_all(pace, max(until - self._now(), 0.0))

    def _ask_all(self, pace: TokenBucket, within_s: float) -> None:
        """As many as the pace allows; who was asked to share is asked again, for now it must go."""
        count = 0
        for connection in self._connections.values():
            if connection.welcomed and not connection.closing and connection not in self._told:
                if pace.take(self._now()):
                    break
                self._told.add(connection)
                connection.ask_to_move(round(within_s, 3))
                count += 1
        self._metrics.moves.labels("drain").inc(count)


def _client(connection: Connection) -> Client:
    return connection.document.id, connection.document.incarnation, connection.client


def _until(times: Mapping[K, float], end: float) -> list[K]:
    """Those whose time is not later; they are in order of time."""
    return [key for key, _ in itertools.takewhile(lambda item: item[1] <= end, times.items())]
