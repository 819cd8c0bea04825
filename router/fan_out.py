"""How often rooms send: at once while that is cheap, and less and less often as it takes more of the CPU.

Sending to the sockets of a large room is most of a router's work, and its cost goes with their number, not with how
much each is sent. So what bounds it is how often a room sends: after a round that took so much CPU time it waits until
that was its share, `LONGEST_S` at most. Rooms that take more than the share together wait longer, all of them.
"""

from collections.abc import Callable
from typing import Final

SHARE: Final = 0.25  # of one core; what is left is for the edits that come in
LONGEST_S: Final = 0.1
WINDOW_S: Final = 0.25
MOST_STRETCHED: Final = 1_000.0


class FanOut:
    """Of one router. `cpu` is the CPU time of its thread, in seconds."""

    def __init__(self, now: Callable[[], float], cpu: Callable[[], float]) -> None:
        self.now, self.cpu = now, cpu
        self._spent_s = 0.0
        self._since = now()
        self._stretch = 1.0

    def pause_s(self, cost_s: float) -> float:
        """How long a room is to wait after a round that took so much CPU time."""
        self._spent_s += cost_s
        elapsed_s = self.now() - self._since
        if elapsed_s >= WINDOW_S:
            stretch = self._stretch * self._spent_s / elapsed_s / SHARE
            self._stretch = min(max(1.0, stretch), MOST_STRETCHED)
            self._spent_s, self._since = 0.0, self.now()
        return min(LONGEST_S, cost_s * self._stretch / SHARE)
