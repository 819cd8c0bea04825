"""The people of a run: who sits where, how they come, how they type, and when everything is settled."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.router.connected import Network
from benchmarks.router.full import FullClient
from benchmarks.router.light import LightClient
from benchmarks.router.reading import Reader
from benchmarks.router.straw import SlowReader

FULL_MOST: Final = 20
OBSERVERS_MOST: Final = 20
LIVE_FOR_ALL: Final = 200  # up to so many in one room all full clients read at once
TICK_S: Final = 0.5
JITTER: Final = 0.2  # of the interval, to either side
LAST_KEYS: Final = 3  # of a full client that has only read so far
HEARTBEAT_S: Final = 20.0

Client = LightClient | FullClient


@dataclass(frozen=True, slots=True)
class Seat:
    document: str
    full: bool = False
    live: bool = True
    types: bool = True
    observes: bool = False
    slow: bool = False


def evenly(count: int, of: int) -> set[int]:
    """So many of the numbers below `of`, spread over them."""
    count = min(count, of)
    return {int((number + 0.5) * of / count) for number in range(count)}


def classroom(clients: int, document: str, typing: bool = True) -> list[Seat]:
    """One room, in the order in which people come: full clients and observers are spread over it."""
    full = evenly(min(FULL_MOST, max(2, clients // 5)), clients)
    live_most = FULL_MOST if clients <= LIVE_FOR_ALL else max(2, FULL_MOST * LIVE_FOR_ALL // clients)
    live = {sorted(full)[number] for number in evenly(live_most, len(full))}
    light = [number for number in range(clients) if number not in full]
    observers = {light[number] for number in evenly(OBSERVERS_MOST, len(light))}
    return [
        Seat(
            document, number in full, number in live or number not in full,
            typing and (number in live or number not in full), number in observers,
        )
        for number in range(clients)
    ]  # fmt: skip


class Unsettled(Exception):
    """Something was not reached in time."""


class Crowd:
    """`keys` is how many were typed."""

    def __init__(self, network: Network, seed: int) -> None:
        self.clients: list[Client] = []
        self.keys = 0
        self.network, self.tally = network, network.tally
        self.rng = random.Random(seed)
        self._reader = Reader(self.tally.moments)
        self._same: dict[bytes, bytes] = {}
        self._loop = asyncio.get_running_loop()
        self._now = time.monotonic
        self._types = False
        self._typists: list[Client] = []
        self._ticking = self._loop.create_task(self._tick())

    @property
    def light(self) -> list[LightClient]:
        return [client for client in self.clients if isinstance(client, LightClient)]

    @property
    def full(self) -> list[FullClient]:
        return [client for client in self.clients if isinstance(client, FullClient)]

    # --- Coming ---

    async def join(self, seats: Sequence[Seat], a_second: float, patience_s: float = 120.0) -> None:
        """One after the other at an even pace; returns when all are level."""
        began = self._now()
        for number, seat in enumerate(seats):
            await asyncio.sleep(max(0.0, began + number / a_second - self._now()))
            client = self.seat(seat)
            client.start()
        await self.until(lambda: all(client.level for client in self.clients), patience_s, "all have come")

    def seat(self, seat: Seat) -> Client:
        rng = random.Random(self.rng.random())
        client: Client
        if seat.full:
            client = FullClient(self.network, seat.document, rng, self._reader, live=seat.live)
            client.share(self._same)
        elif seat.slow:
            client = SlowReader(self.network, seat.document, rng, self._reader)
        else:
            client = LightClient(self.network, seat.document, rng, self._reader, observes=seat.observes)
        self.clients.append(client)
        if seat.types:
            self._typists.append(client)
        return client

    # --- Typing ---

    def type(self, a_second: float) -> None:
        """From now on so many keys a second in all, spread evenly over time and typists, with jitter."""
        self._types = True
        interval_s = len(self._typists) / a_second
        order = self.rng.sample(self._typists, len(self._typists))
        now = self._now()
        for number, client in enumerate(order):
            self._next_key(client, now + interval_s * (number + 0.5) / len(order), interval_s)

    def _next_key(self, client: Client, due: float, interval_s: float) -> None:
        jitter_s = self.rng.uniform(-JITTER, JITTER) * interval_s
        self._loop.call_later(max(0.0, due + jitter_s - self._now()), self._key, client, due, interval_s)

    def _key(self, client: Client, due: float, interval_s: float) -> None:
        if self._types:
            self.keys += 1
            client.type()
            self._next_key(client, due + interval_s, interval_s)

    # --- The end ---

    async def settle(self, patience_s: float = 60.0) -> None:
        """Nobody types; all is acknowledged, and everyone has read everything. Raises Unsettled."""
        self._types = False
        await self._all_read(patience_s)
        kept = [client for client in self.full if not client.live]
        for client in kept:
            await client.catch_up()
        for _ in range(LAST_KEYS):
            for client in kept:
                self.keys += 1
                client.type()
            await asyncio.sleep(0.1)
        if kept:
            await self._all_read(patience_s)

    async def _all_read(self, patience_s: float) -> None:
        await self.until(lambda: all(client.settled for client in self.clients), patience_s, "all is acknowledged")
        heads: dict[str, int] = {}
        for client in self.clients:
            heads[client.document] = max(heads.get(client.document, 0), client.revision)
        reading = [client for client in self.clients if isinstance(client, LightClient) or client.live]
        await self.until(
            lambda: all(client.revision >= heads[client.document] for client in reading), patience_s, "all have read it"
        )

    async def until(self, reached: Callable[[], bool], patience_s: float, words: str) -> None:
        deadline = self._now() + patience_s
        while not reached():
            failed = next((client.failed for client in self.clients if client.failed), None)
            if failed:
                raise Unsettled(failed)
            if self._now() > deadline:
                raise Unsettled(f"not in {patience_s:.0f} s: {words}")
            await asyncio.sleep(0.02)

    async def leave(self) -> None:
        self._types = False
        self._ticking.cancel()
        for client in self.clients:
            client.leave()
        await asyncio.sleep(0.2)
        for client in self.clients:
            client.cut()
        for task in list(self.network.tasks):
            task.cancel()
        await asyncio.gather(*self.network.tasks, return_exceptions=True)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = self._now()
            for client in self.clients:
                client.tick(now, HEARTBEAT_S)
