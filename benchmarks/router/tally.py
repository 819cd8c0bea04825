"""What all clients of the generator count together, and the times that they took."""

from array import array
from collections import Counter
from collections.abc import Sequence

from benchmarks.router.reading import Operation


class Tally:
    """`typed` has the moments at which an operation's characters were typed, by the loop's clock. A time from typed to
    visible is taken at observers only, one to the acknowledgement at every author."""

    def __init__(self) -> None:
        self.typed: dict[Operation, tuple[float, ...]] = {}
        self.bytes_in = self.frames_in = self.delivered = 0
        self.snapshots = self.resumes = self.gaps = self.lagging = self.refused = 0
        self.connects = 0
        self.closes: Counter[int] = Counter()
        self.nacks: Counter[str] = Counter()
        self.visible = Times()
        self.acknowledged = Times()

    def came(self, size: int) -> None:
        self.bytes_in += size

    def moments(self, operation: Operation) -> tuple[float, ...]:
        return self.typed.get(operation, ())


class Times:
    """How long things took, with the moments at which they began. 16 bytes each, for there are millions."""

    def __init__(self) -> None:
        self._began = array("d")
        self._took = array("d")

    def add(self, began: Sequence[float], now: float) -> None:
        self._began.extend(began)
        self._took.extend([now - moment for moment in began])

    def of(self, since: float, until: float) -> list[float]:
        """Sorted: of what began in the span."""
        pairs = zip(self._began, self._took, strict=True)
        return sorted(took for began, took in pairs if since <= began < until)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Of sorted values; 0 of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0
