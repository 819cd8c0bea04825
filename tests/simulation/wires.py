"""The way from a process to a store: requests and replies take time, and either may be lost.

What a client of a store can know is modelled here, and nowhere else. A request that has left is on its way whatever
becomes of its sender; one may arrive after its sender has given up, or twice where the real client retries.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from persistence.records import Unavailable
from tests.simulation.lane import HELD_RETRY_S
from tests.simulation.loop import Process, SimLoop
from tests.simulation.trace import Trace

T = TypeVar("T")

TIMEOUT_S = 5.0
RETRY_S = 0.1
GIVEN_UP = 0.005  # the share of tries in a partition of which one is the last
LATE_S = 8.0  # longer than anybody waits


class Wire(Protocol):
    """How stores are reached."""

    async def call(self, name: str, work: Callable[[], T], again: bool = False) -> T:
        """The result of `work` at the server. `again`: the client sends it once more where it got no reply.

        Raises Unavailable: it may have happened, or may still happen."""


class DirectWire:
    """For the contract suites: nothing between client and server but a turn of the loop."""

    async def call(self, name: str, work: Callable[[], T], again: bool = False) -> T:
        await asyncio.sleep(0)
        return work()


@dataclass(slots=True)
class Rates:
    """How bad a way is. Each number is the share of calls that it happens to; the delays are in seconds."""

    lost_requests: float = 0.0
    lost_replies: float = 0.0
    late: float = 0.0
    delay_s: float = 0.001
    slow: float = 0.0
    slow_s: float = 0.5


Trap = Callable[[Process, str], bool]
"""Is told who calls what; once it says True it has snapped and is gone."""


class Service:
    """A store's server as the network sees it: up, down (it refuses), or stalled (it answers later)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.down = False
        self.stalled = False
        self.connections = 0  # how often all of them have been lost to another server
        self.rates = Rates()
        self.broken: list[Callable[[], None]] = []  # called when it goes down, for its open connections
        self.sluggish: tuple[str, float] | None = None  # calls of this name take so many seconds longer
        self.ambush: Trap | None = None  # before it is done
        self.trap: Trap | None = None  # after
        self._held: list[Callable[[], None]] = []

    def stop(self) -> None:
        self.down = True
        for told in list(self.broken):
            told()

    def start(self) -> None:
        self.down = False

    def fail_over(self) -> None:
        """Another server goes on in its place. What is on its way to the old one arrives nowhere."""
        self.connections += 1
        for told in list(self.broken):
            told()

    def stall(self) -> None:
        self.stalled = True

    def go_on(self) -> None:
        self.stalled = False
        held, self._held = self._held, []
        for arrive in held:
            arrive()

    def hold(self, arrive: Callable[[], None]) -> None:
        self._held.append(arrive)


Blocked = Callable[[str, str], bool]
"""Whether nothing passes between two parts, by their names."""


class SimWire:
    """The way of one process to one service."""

    def __init__(self, process: Process, service: Service, blocked: Blocked, rng: random.Random, trace: Trace) -> None:
        self.process, self.service = process, service
        self._loop: SimLoop = process.loop
        self._blocked, self._rng, self._trace = blocked, rng, trace

    async def call(self, name: str, work: Callable[[], T], again: bool = False) -> T:
        if not self.process.alive:
            raise asyncio.CancelledError
        call: _Call[T] = _Call(name, work, self._loop.create_future(), self._loop.time() + TIMEOUT_S, 2 if again else 1)
        self._send(call)
        return await call.answer

    def _send(self, call: "_Call[Any]") -> None:
        if not self.process.alive or call.answer.done():
            return
        call.tries -= 1
        call.connection = self.service.connections
        service, rates, rng = self.service, self.service.rates, self._rng
        if rng.random() < rates.lost_requests:
            self._trace.add("lost request", self.process.name, call.name)
            self._loop.after(self._delay(), self._broke, call)
        elif rng.random() < rates.late:
            self._give_up_in_time(call)
            self._loop.after(LATE_S, self._arrive, call)
        else:
            slow = service.sluggish
            extra_s = slow[1] * rng.random() if slow and call.name.startswith(slow[0]) else 0.0
            self._loop.after(self._delay() + extra_s, self._arrive, call)

    def _delay(self) -> float:
        rates = self.service.rates
        worst = rates.slow_s if self._rng.random() < rates.slow else 2 * rates.delay_s
        return worst * self._rng.random()

    def _arrive(self, call: "_Call[Any]") -> None:
        service, name = self.service, call.name
        if service.ambush is not None and service.ambush(self.process, name):
            service.ambush = None
        if self._blocked(self.process.name, service.name):
            self._give_up_in_time(call)
            if self._rng.random() < GIVEN_UP:
                self._trace.add("lost request", self.process.name, name)
            else:  # TCP sends it again, for as long as it takes, whether anybody still waits for the answer or not
                self._loop.after(HELD_RETRY_S, self._arrive, call)
        elif service.down or service.connections != call.connection:
            self._broke(call)
        elif service.stalled:
            self._give_up_in_time(call)
            service.hold(lambda: self._arrive(call))
        else:
            self._execute(call)

    def _execute(self, call: "_Call[Any]") -> None:
        service = self.service
        try:
            result = call.work()
        except Exception as error:
            if not call.answer.done():
                call.answer.set_exception(error)
            return
        self._trace.add(service.name, self.process.name, f"{call.name} -> {_short(result)}")
        if service.trap is not None and service.trap(self.process, call.name):
            service.trap = None
        if self._rng.random() < service.rates.lost_replies:
            self._trace.add("lost reply", self.process.name, call.name)
            self._loop.after(self._delay(), self._broke, call)
        else:
            self._loop.after(self._delay(), self._reply, call, result)

    def _reply(self, call: "_Call[Any]", result: Any) -> None:
        if self._blocked(self.process.name, self.service.name):
            self._give_up_in_time(call)
        elif not call.answer.done():
            call.answer.set_result(result)

    def _broke(self, call: "_Call[Any]") -> None:
        """The connection is gone, and with it the answer."""
        if call.tries:
            self._loop.after(RETRY_S * self._rng.random(), self._send, call)
        else:
            self._fail(call, "the connection broke")

    def _give_up_in_time(self, call: "_Call[Any]") -> None:
        """Nobody waits longer than the client's timeout. (Most calls are answered long before: they need no timer.)"""
        if not call.patient:
            call.patient = True
            self._loop.at(max(call.deadline, self._loop.time()), self._fail, call, "no answer in time")

    def _fail(self, call: "_Call[Any]", text: str) -> None:
        if not call.answer.done():
            call.answer.set_exception(Unavailable(f"{self.service.name}: {text}"))


@dataclass(slots=True)
class _Call(Generic[T]):
    name: str
    work: Callable[[], T]
    answer: "asyncio.Future[T]"
    deadline: float
    tries: int
    patient: bool = False  # its deadline is set
    connection: int = 0  # the service's, when it was sent


def _short(result: object) -> str:
    text = repr(result)
    return text if len(text) <= 80 else f"{text[:60]}…{len(text)}"
