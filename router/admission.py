"""How much one socket may send, and how many come in. Pure: time and chance are arguments."""

from dataclasses import dataclass
from typing import Final, Literal

_ROUNDING: Final = 1e-9  # who waited as long as it was told must not be refused for the last bit of a float

SOON_S: Final = 1.0  # the shortest time after which a refused client comes again
FULL_S: Final = 5.0  # the same where no socket more is held: none is free at once
FARTHEST_S: Final = 30.0  # slots are given out so far ahead; whoever comes when all are taken is told a time after them
JITTER_S: Final = 0.5
LEAST_REFUSALS_PER_S: Final = 20.0
LATE_JITTER_S: Final = 10.0


@dataclass(slots=True)
class TokenBucket:
    """`rate` tokens a second, `burst` at the most."""

    rate: float
    burst: float
    tokens: float
    at: float

    @classmethod
    def full(cls, rate: float, burst: float, now: float) -> "TokenBucket":
        return cls(rate, burst, burst, now)

    def _fill(self, now: float) -> None:
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now

    def wait_s(self, now: float) -> float:
        """Seconds until there is a token, 0.0 if there is one."""
        self._fill(now)
        return 0.0 if self.tokens >= 1.0 - _ROUNDING else (1.0 - self.tokens) / self.rate

    def take(self, now: float) -> float:
        """Take a token; returns 0.0, or the seconds until there will be one (then none was taken)."""
        wait_s = self.wait_s(now)
        if not wait_s:
            self.tokens -= 1.0
        return wait_s

    def reserve(self, now: float) -> float:
        """Take the next token that nobody has taken, if need be one to come; returns the seconds until it is there."""
        wait_s = self.wait_s(now)
        self.tokens -= 1.0
        return wait_s


@dataclass(frozen=True, slots=True)
class Refused:
    """`rate`: too many at once. `full`: no socket more is held."""

    why: Literal["rate", "full"]
    retry_after_s: float


class Admission:
    """Handshakes: `joins_per_s` come in, with a burst of twice that, and as many a second are refused at the most.

    A refused client is told a time of its own, a slot: slots follow each other as tokens do. So a storm comes back
    spread over the time that it takes to let it in, and finds a token each; what nobody used is kept by the burst for
    who is late. A slot cannot be kept for its client, who has no name yet: while more newcomers come than are let in,
    some are refused again.

    Refusing costs too, an upgrade and a close. So whoever can neither come in nor be refused yet waits for its turn,
    in order of arrival. Newcomers go behind those who wait."""

    def __init__(self, joins_per_s: float, limit_sockets: int, now: float) -> None:
        self._limit = limit_sockets
        self._joins = TokenBucket.full(joins_per_s, 2 * joins_per_s, now)
        refusals_per_s = max(joins_per_s, LEAST_REFUSALS_PER_S)
        self._turns = TokenBucket.full(refusals_per_s, refusals_per_s, now)
        self._slots = TokenBucket.full(joins_per_s, 1.0, now)

    def arrive(self, now: float, sockets: int) -> float:
        """Seconds until it is this handshake's turn to be decided, 0.0 if it is now."""
        nobody_waits = self._turns.wait_s(now) <= 1.0 / self._turns.rate  # else somebody has a token that is to come
        if nobody_waits and not self._full(sockets) and not self._joins.wait_s(now):
            return 0.0
        return self._turns.reserve(now)

    def decide(self, now: float, sockets: int, chance: float) -> Refused | None:
        """None: it comes in, and a token is taken. `sockets`: of those that came in. `chance`: 0 to 1, for jitter."""
        if self._full(sockets):
            return Refused("full", max(self._slot(now, chance), FULL_S * (1 + chance)))
        if self._joins.take(now):
            return Refused("rate", self._slot(now, chance))
        return None

    def _full(self, sockets: int) -> bool:
        return 0 < self._limit <= sockets

    def _slot(self, now: float, chance: float) -> float:
        if self._slots.wait_s(now) > FARTHEST_S:
            return FARTHEST_S + SOON_S + LATE_JITTER_S * chance
        return self._slots.reserve(now) + SOON_S + JITTER_S * chance
