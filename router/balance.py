"""How many clients a router asks to go to another one now. Pure: numbers in, a number out; time is an argument.

A router that holds more than its share asks for the excess over the mean, a few a second, and stops half-way between
the mean and where it began, so that two routers do not send clients to and fro. Counts of others are some seconds old.

Where clients go is the balancer's choice. One that chooses at random, as the kernel does for routers on one port, sends
one in n back here, and that is as it should be. One that chooses by a hash of the address or the document sends all
of them back: then asking costs a resume each and helps nobody. Which it is shows in how many of those asked are here
some seconds later; if it does not help, no more are asked for a long while.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from router.admission import TokenBucket

LEAST_EXCESS: Final = 50  # over the mean; fewer are not worth a resume each
LEAST_PER_S: Final = 10.0
SHARE_PER_S: Final = 0.01
OF_ADMISSION: Final = 0.75  # of what the others let in; the rest is for those who come by themselves
JUDGED: Final = 100  # of so many that went to a balancer by chance, three in four come back once in 3 million times
HELPLESS_S: Final = 3600.0


def drain_per_s(joins_per_s: float, ready: int, draining: int) -> float:
    """How many a second a router that drains asks. `ready`: routers that take them. `draining`: this one and others."""
    return OF_ADMISSION * joins_per_s * ready / max(draining, 1)


@dataclass(slots=True)
class Balance:
    """One router's. `factor`: how many times the mean is too much; 0 never asks anybody."""

    factor: float
    joins_per_s: float
    shedding: bool = False
    helpless_until: float = -math.inf
    _pace: TokenBucket = field(default_factory=lambda: TokenBucket(LEAST_PER_S, LEAST_PER_S, LEAST_PER_S, -math.inf))

    def due(self, sockets: int, leaving: int, others: Sequence[int], now: float) -> int:
        """How many to ask now. `sockets`: all that are here; `leaving`: of these, who was asked lately and may go yet.
        `others`: the sockets of each other router that takes more."""
        if not self.factor or not others or now < self.helpless_until:
            self.shedding = False
            return 0
        mean = (sockets + sum(others)) / (len(others) + 1)
        margin = max(LEAST_EXCESS, mean * (self.factor - 1))
        staying = sockets - leaving
        self.shedding = staying > mean + (margin / 2 if self.shedding else margin)
        if not self.shedding:
            return 0
        excess = math.floor(staying - mean - margin / 2)
        return self._paced(excess, sockets, len(others), now)

    def _paced(self, wanted: int, sockets: int, others: int, now: float) -> int:
        pace = self._pace
        pace.rate = min(max(LEAST_PER_S, SHARE_PER_S * sockets), drain_per_s(self.joins_per_s, others, 1))
        pace.burst = max(pace.rate, 1.0)
        count = 0
        while count < wanted and not pace.take(now):
            count += 1
        return count

    def judge(self, asked: int, here: int, others: int, now: float) -> bool:
        """Of so many that were asked a while ago, so many are here, still or again. False: asking does not help, and
        stops for HELPLESS_S."""
        by_chance = 1 / (others + 1)
        if asked < JUDGED or here <= asked * (1 + by_chance) / 2:
            return True
        self.helpless_until = now + HELPLESS_S
        return False
