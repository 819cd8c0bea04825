"""Pub/sub over one simulated connection. It behaves as `persistence.bus.RedisBus` does: in order, at most once, and a
channel that is confirmed a second time is reported as interrupted. A server may also drop a message in silence."""

import asyncio
import random

from persistence.records import Interrupted, Published, Unavailable
from tests.simulation.lane import Lane
from tests.simulation.loop import Process, SimLoop
from tests.simulation.redis_server import RedisServer
from tests.simulation.trace import Trace
from tests.simulation.wires import TIMEOUT_S, Blocked, Service, SimWire

BACKOFF_S = 0.3


class BusRates:
    """Share of messages that the server drops in silence, and how long one takes."""

    def __init__(self) -> None:
        self.dropped = 0.0
        self.delay_s = 0.001


class _Connection:
    """One connection to the server, with a lane in each direction. None in place of a message is a confirmation."""

    def __init__(self, bus: "SimBus") -> None:
        self._bus = bus
        self._down: Lane[tuple[str, bytes | None]] = Lane(
            bus.loop, bus.delay, bus.cut_off, self._arrived, bus.process.context
        )
        self._up: Lane[tuple[bool, str]] = Lane(bus.loop, bus.delay, bus.unreachable, self._at_server)

    @property
    def open(self) -> bool:
        return not self._down.closed

    def order(self, subscribe: bool, channel: str) -> None:
        self._up.put((subscribe, channel))

    def _at_server(self, order: tuple[bool, str]) -> None:
        subscribe, channel = order
        if subscribe:
            self._bus.server.subscribe(self, channel)
            self._down.put((channel, None))
        else:
            self._bus.server.unsubscribe(self, channel)

    def push(self, channel: str, message: bytes) -> None:
        bus = self._bus
        if bus.rng.random() < bus.rates.dropped:
            bus.trace.add("dropped", bus.process.name, channel)
        else:
            self._down.put((channel, message))

    def _arrived(self, what: tuple[str, bytes | None]) -> None:
        if self._bus.process.alive:
            self._bus.take(*what)

    def close(self) -> None:
        self._bus.server.forget(self)
        self._up.close()
        self._down.close()


class SimBus:
    """Implements records.Bus for one process."""

    def __init__(
        self, process: Process, server: RedisServer, wire: SimWire, service: Service, blocked: Blocked,
        rates: BusRates, rng: random.Random, trace: Trace,
    ) -> None:  # fmt: skip
        self.process, self.service, self.blocked = process, service, blocked
        self.rates, self.rng, self.trace = rates, rng, trace
        self.loop: SimLoop = process.loop
        self.server, self._wire = server, wire
        self._published: Published = lambda channel, message: None
        self._interrupted: Interrupted = lambda channel: None
        self._wanted: dict[str, None] = {}
        self._confirmed: dict[str, None] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._connection = _Connection(self)
        service.broken.append(self.cut)

    def listen(self, published: Published, interrupted: Interrupted) -> None:
        self._published, self._interrupted = published, interrupted

    async def subscribe(self, channel: str) -> None:
        confirmed: asyncio.Future[None] = self.loop.create_future()
        self._waiting.setdefault(channel, []).append(confirmed)
        self._wanted[channel] = None
        self._connection.order(True, channel)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await confirmed
        except TimeoutError:
            raise Unavailable(f"no confirmation of {channel}") from None
        finally:
            self._stop_waiting(channel, confirmed)

    def _stop_waiting(self, channel: str, confirmed: "asyncio.Future[None]") -> None:
        waiting = self._waiting.get(channel, [])
        if confirmed in waiting:
            waiting.remove(confirmed)
        if not waiting:
            self._waiting.pop(channel, None)
            if channel not in self._confirmed:
                self._forget(channel)

    async def unsubscribe(self, channel: str) -> None:
        self._forget(channel)
        for confirmed in self._waiting.get(channel, []):
            if not confirmed.done():
                confirmed.set_exception(Unavailable(f"{channel} was unsubscribed"))

    def _forget(self, channel: str) -> None:
        self._wanted.pop(channel, None)
        self._confirmed.pop(channel, None)
        self._connection.order(False, channel)

    async def publish(self, channel: str, message: bytes) -> None:
        await self._wire.call("publish", lambda: self.server.publish(channel, message), again=True)

    # --- The connection ---

    def delay(self) -> float:
        return 2 * self.rates.delay_s * self.rng.random()

    def cut_off(self) -> bool:
        return self.blocked(self.process.name, self.service.name)

    def unreachable(self) -> bool:
        return self.service.down or self.service.stalled or self.cut_off()

    def take(self, channel: str, message: bytes | None) -> None:
        if message is not None:
            self._published(channel, message)
        elif channel in self._wanted:
            if channel in self._confirmed:
                self.trace.add("interrupted", self.process.name, channel)
                self._interrupted(channel)
            self._confirmed[channel] = None
            for confirmed in self._waiting.get(channel, []):
                if not confirmed.done():
                    confirmed.set_result(None)

    def cut(self) -> None:
        """The connection breaks; what was on its way is lost. It is noticed and made anew after a while."""
        if self.process.alive and self._connection.open:
            self.trace.add("bus cut", self.process.name)
            self._connection.close()
            self.loop.call_later(BACKOFF_S * self.rng.random(), self._connect, context=self.process.context)

    def close(self) -> None:
        """The process is gone."""
        self._connection.close()
        self.service.broken.remove(self.cut)

    def _connect(self) -> None:
        if not self.process.alive:
            return
        if self.unreachable():
            self.loop.call_later(BACKOFF_S, self._connect, context=self.process.context)
            return
        self._connection = _Connection(self)
        for channel in sorted(self._wanted):
            self._connection.order(True, channel)
