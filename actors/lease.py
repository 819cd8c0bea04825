"""A host's lease on its slot: who holds it may own sections under the slot's name. `Term` has the times, `HostLease`
asks for them, `leased` guards a log by them.

A lease has three times, counted from the moment at which the last renewal that succeeded was asked for, by the holder's
own clock: so the holder stops before anybody else can begin, however long an answer took. It renews every third. At the
soft stop (two thirds) it takes nothing new, and what is in flight may still commit. At the hard stop (the end) it
commits and says nothing more. The guards look at the clock when something is to be done, not only when a timer fires: a
process that stood still may wake long after its lease.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final, cast

from persistence.records import Log, MapStore, Unavailable

RENEWALS: Final = 3  # in one time to live
SOFT_STOP: Final = 2 / 3  # of the time to live: one renewal has failed by then, and another may still succeed
AS_OWNER: Final = frozenset({"activate", "reclaim", "commit", "announce", "keep_live"})  # methods of a log
RETRIES: Final = 12  # in one time to live, after a renewal that failed


def boot_time() -> float:
    """Seconds since boot, sleep included: a lease runs out while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Evicted(Exception):
    """Another process holds this host's lease."""


class Stage(Enum):
    HELD = "held"
    SOFT = "soft stop"  # nothing new; what is in flight may commit
    HARD = "hard stop"  # nothing at all


@dataclass(frozen=True, slots=True)
class Term:
    """A lease on the clock of its holder. `asked`: when the last renewal that succeeded was asked for, None if the
    lease is not held at all."""

    ttl_s: float
    asked: float | None = None

    def renewed(self, asked: float) -> "Term":
        return replace(self, asked=asked if self.asked is None else max(self.asked, asked))

    def lost(self) -> "Term":
        """It was dropped, or another holds it."""
        return replace(self, asked=None)

    def stage(self, now: float) -> Stage:
        if self.asked is None or now >= self.asked + self.ttl_s:
            return Stage.HARD
        return Stage.SOFT if now >= self.asked + self.ttl_s * SOFT_STOP else Stage.HELD

    def left_s(self, now: float) -> float | None:
        """How long it stays in its stage; None when nothing but a renewal changes it."""
        match self.stage(now), self.asked:
            case Stage.HELD, float(asked):
                return asked + self.ttl_s * SOFT_STOP - now
            case Stage.SOFT, float(asked):
                return asked + self.ttl_s - now
            case _:
                return None


class HostLease:
    """`clock` goes on while the machine sleeps."""

    def __init__(self, store: MapStore, host: str, instance: str, ttl_s: float, clock: Callable[[], float]) -> None:
        self.host, self.instance, self.ttl_s = host, instance, ttl_s
        self._store, self._clock = store, clock
        self._term = Term(ttl_s)

    def stage(self) -> Stage:
        return self._term.stage(self._clock())

    @property
    def left_s(self) -> float | None:
        """See Term."""
        return self._term.left_s(self._clock())

    @property
    def due_s(self) -> float:
        """How long until the next renewal is to be asked for."""
        asked = self._term.asked
        return 0.0 if asked is None else max(0.0, asked + self.ttl_s / RENEWALS - self._clock())

    async def renew(self) -> bool:
        """False while another instance holds it. Raises Unavailable; an answer is waited for a third of its time."""
        asked = self._clock()
        try:
            async with asyncio.timeout(self.ttl_s / RENEWALS):
                held = await self._store.renew_lease(self.host, self.instance, int(self.ttl_s * 1000))
        except TimeoutError:
            raise Unavailable("no answer to the renewal of the lease") from None
        self._term = self._term.renewed(asked) if held else self._term.lost()
        return held

    async def take(self) -> None:
        """Wait for it: that of a process which died runs out in one time to live. Raises Evicted if it does not, and
        Unavailable."""
        deadline = self._clock() + 2 * self.ttl_s
        while not await self.renew():
            if self._clock() > deadline:
                raise Evicted(f"another process runs as {self.host}")
            await asyncio.sleep(self.ttl_s / RETRIES)

    async def drop(self) -> None:
        """Raises Unavailable."""
        self._term = self._term.lost()
        await self._store.drop_lease(self.host, self.instance)


class _LeasedLog:
    """What makes somebody an owner, or says something as one, is refused after the hard stop. The rest goes through.

    An answer that comes after the hard stop is as good as none: the next owner knows what is in the log."""

    def __init__(self, log: Log, stage: Callable[[], Stage]) -> None:
        self._log, self._stage = log, stage

    def __getattr__(self, name: str) -> Any:
        asked = getattr(self._log, name)
        return self._guarded(asked) if name in AS_OWNER else asked

    def _guarded(self, asked: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def ask(*given: Any) -> Any:
            self._check()
            answer = await asked(*given)
            self._check()
            return answer

        return ask

    def _check(self) -> None:
        if self._stage() is Stage.HARD:
            raise Unavailable("the lease is over")


def leased(log: Log, stage: Callable[[], Stage]) -> Log:
    """The log as a host may use it that holds a lease in this stage."""
    return cast(Log, _LeasedLog(log, stage))
