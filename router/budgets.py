"""How many operations a second all sockets of one user, and of one document, may send to this router together.

The rate of a socket alone would bound nobody who opens more of them. The rates are far above what a classroom that
shares one token types. Pure: time is an argument.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from router.admission import TokenBucket


@dataclass(slots=True, weakref_slot=True)
class SharedBucket(TokenBucket):
    """It lasts as long as anyone holds it."""


class Budgets:
    """`rate` is each one's, in tokens a second; twice that may come at once."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._buckets: WeakValueDictionary[str, SharedBucket] = WeakValueDictionary()

    def of(self, name: str, now: float) -> SharedBucket:
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = SharedBucket(self._rate, 2 * self._rate, 2 * self._rate, now)
        return bucket

    def __len__(self) -> int:
        return len(self._buckets)


def take_all(buckets: Iterable[TokenBucket], now: float) -> float:
    """Take a token of each; returns 0.0, or the seconds until all will have one (then none was taken)."""
    buckets = tuple(buckets)
    if wait_s := max(bucket.wait_s(now) for bucket in buckets):
        return wait_s
    for bucket in buckets:
        bucket.take(now)
    return 0.0
