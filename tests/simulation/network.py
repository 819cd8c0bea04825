"""The network between processes: connections that keep their order, and everything that happens to them.

Frames of one direction arrive in order, later or never; different connections interleave freely. A cut connection loses
what is under way, and each end learns of it in its own time. A partition holds everything between two parts: short, it
is a delay (TCP sends again); long, the connections across it end.
"""

import asyncio
import random
import zlib
from collections import deque
from collections.abc import Callable

from tests.simulation.lane import HELD_RETRY_S, Lane
from tests.simulation.loop import Process, SimLoop
from tests.simulation.trace import Trace

ABNORMAL = 1006
PATIENCE_S = 10.0  # after so long without a word either end gives a connection up


class Closed(Exception):
    """The connection is gone: `code` and `reason` as the peer gave them."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"closed ({code}) {reason}")
        self.code, self.reason = code, reason


class Refused(Exception):
    """Nobody listens there, or nobody answers."""


class End:
    """One end of a connection."""

    def __init__(self, network: "Network", process: Process, name: str) -> None:
        self.process, self.name = process, name
        self.closed: Closed | None = None
        self.peer: End
        self._network = network
        self._received: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._room: list[asyncio.Future[None]] = []
        self._under_way = 0
        self._lane: Lane[bytes | Closed] = Lane(network.loop, network.delay, self._held, self._arrived)

    async def send(self, frame: bytes) -> None:
        """Raises Closed."""
        while self.closed is None and self._under_way >= self._network.window_frames:
            waiting: asyncio.Future[None] = self._network.loop.create_future()
            self._room.append(waiting)
            await waiting
        self._check()
        self._under_way += 1
        self._lane.put(frame)

    async def receive(self) -> bytes:
        """Raises Closed, after what came before it was read."""
        while not self._received:
            self._check()
            self._waiter = self._network.loop.create_future()
            await self._waiter
        if not self.process.alive:
            raise asyncio.CancelledError
        self.peer.acknowledge()
        return self._received.popleft()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye: the peer reads what was sent before."""
        if self.closed is None and self.process.alive:
            self._lane.put(Closed(code, reason))
            self.end(Closed(code, reason))

    def _check(self) -> None:
        if not self.process.alive:
            raise asyncio.CancelledError
        if self.closed is not None:
            raise self.closed

    # --- Under way ---

    def _held(self) -> bool:
        return self._network.blocked(self.process.name, self.peer.process.name)

    def _arrived(self, frame: bytes | Closed) -> None:
        if isinstance(frame, Closed):
            self.peer.end(frame)
        elif self.peer.closed is None:
            self._network.trace.add("frame", self.peer.name, f"{len(frame)} {zlib.crc32(frame):08x}")
            self.peer.take(frame)

    def lose(self) -> None:
        """Nothing from here arrives any more."""
        self._lane.close()

    def take(self, frame: bytes) -> None:
        self._received.append(frame)
        self._wake()

    def acknowledge(self) -> None:
        self._under_way -= 1
        if self._room and not self._room[0].done():
            self._room.pop(0).set_result(None)

    def end(self, why: Closed) -> None:
        """This end knows that the connection is gone."""
        if self.closed is None:
            self.closed = why
            self._network.forget(self)
            self._wake()
            for waiting in self._room:
                if not waiting.done():
                    waiting.set_result(None)

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)


class Network:
    def __init__(self, loop: SimLoop, rng: random.Random, trace: Trace) -> None:
        self.loop, self.trace = loop, trace
        self.delay_s = 0.001
        self.window_frames = 64  # a sender waits while more is under way
        self.slow, self.slow_s = 0.0, 0.3
        self._rng = rng
        self._listening: dict[str, tuple[Process, Callable[[End], None]]] = {}
        self._ends: dict[End, None] = {}
        self._partitions: dict[tuple[str, str], float] = {}

    def delay(self) -> float:
        worst = self.slow_s if self._rng.random() < self.slow else 2 * self.delay_s
        return worst * self._rng.random()

    def listen(self, address: str, process: Process, accept: Callable[[End], None]) -> None:
        """`accept` is called, in the process's context, with our end of each new connection."""
        self._listening[address] = (process, accept)

    def close_port(self, address: str) -> None:
        self._listening.pop(address, None)

    async def connect(self, process: Process, address: str) -> End:
        """Raises Refused; waits for as long as nothing passes between the two."""
        await asyncio.sleep(self.delay())
        while (found := self._listening.get(address)) and self.blocked(process.name, found[0].name):  # noqa: ASYNC110
            await asyncio.sleep(HELD_RETRY_S)
        if found is None or not found[0].alive:
            raise Refused(f"nobody listens at {address}")
        listener, accept = found
        near = End(self, process, f"{process.name}<{listener.name}")
        far = End(self, listener, f"{listener.name}<{process.name}")
        near.peer, far.peer = far, near
        self._ends[near] = self._ends[far] = None
        self.loop.call_at(self.loop.time() + self.delay(), accept, far, context=listener.context)
        return near

    # --- What happens to connections ---

    def blocked(self, one: str, other: str) -> bool:
        ends = self._partitions.get(_pair(one, other))
        return ends is not None and ends > self.loop.time()

    def partition(self, one: str, other: str, seconds: float) -> None:
        """Nothing passes between two parts for a while. Connections that nobody hears on for long end."""
        self._partitions[_pair(one, other)] = self.loop.time() + seconds
        if seconds > PATIENCE_S:
            for end in self._between(one, other):
                self.loop.after(PATIENCE_S, self._give_up, end)

    def heal(self) -> None:
        self._partitions.clear()

    def _between(self, one: str, other: str) -> list[End]:
        pair = _pair(one, other)
        return [end for end in self._ends if _pair(end.process.name, end.peer.process.name) == pair]

    def _give_up(self, end: End) -> None:
        if self.blocked(end.process.name, end.peer.process.name):
            end.end(Closed(ABNORMAL))

    def cut(self, end: End, half_open_s: float = 0.0) -> None:
        """One connection breaks. This end learns of it at once, the other after `half_open_s`."""
        end.lose()
        end.peer.lose()
        end.end(Closed(ABNORMAL))
        self.loop.after(half_open_s, end.peer.end, Closed(ABNORMAL))

    def drop_all(self, process: Process, half_open_s: float) -> None:
        """The process is gone: its peers hear of it after a while."""
        for address, (listener, _) in list(self._listening.items()):
            if listener is process:
                del self._listening[address]
        for end in [end for end in self._ends if end.process is process]:
            self.cut(end, half_open_s)

    def open_ends(self) -> list[End]:
        return list(self._ends)

    def forget(self, end: End) -> None:
        self._ends.pop(end, None)


def _pair(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one < other else (other, one)
