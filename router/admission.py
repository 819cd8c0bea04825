"""How much one socket may send. Pure: time is an argument."""

from dataclasses import dataclass
from typing import Final

_ROUNDING: Final = 1e-9  # who waited as long as it was told must not be refused for the last bit of a float


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

    def take(self, now: float) -> float:
        """Take a token; returns 0.0, or the seconds until there will be one (then none was taken)."""
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens >= 1.0 - _ROUNDING:
            self.tokens -= 1.0
            return 0.0
        return (1.0 - self.tokens) / self.rate
