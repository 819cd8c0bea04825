"""The largest number that fits: double until one does not, then halve the span between the two. Pure."""

from typing import Final

TOLERANCE: Final = 0.05


class Search:
    """Ask `next` what to try, tell `told` whether it fitted; `largest` is the answer once `next` is None."""

    def __init__(self, first: int, least: int, most: int) -> None:
        self.largest = 0
        self._too_many: int | None = None
        self._first, self._least, self._most = first, least, most

    def next(self) -> int | None:
        """The next number to try, None if there is nothing left to find out."""
        if self._too_many is None:
            if self.largest == 0:
                return self._first
            return min(2 * self.largest, self._most) if self.largest < self._most else None
        if self.largest == 0:
            return max(self._too_many // 2, self._least) if self._too_many > self._least else None
        if self._too_many - self.largest <= max(1, TOLERANCE * self.largest):
            return None
        return (self.largest + self._too_many) // 2

    def told(self, number: int, fits: bool) -> None:
        if fits:
            self.largest = max(self.largest, number)
        elif self._too_many is None or number < self._too_many:
            self._too_many = number
