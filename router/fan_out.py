"""How often rooms send: at once while that is cheap, and less and less often as it takes more of the CPU.

Sending to the sockets of a large room is most of a router's work, and its cost goes with their number, not with how
much each is sent. So what bounds it is how often a room sends: after a round that took so much CPU time it waits until
that was its share, `LONGEST_S` at most. Rooms that take more than the share together wait longer, all of them.

The share is half a core where the core has time to spare, and falls to a quarter as it has less: the rest is for the
edits that come in, and for whoever else lives on that core.
"""

from collections.abc import Callable
from typing import Final

SHARE: Final = 0.25  # of a core that is busy, and where nothing is known yet
SHARE_MOST: Final = 0.5
EASY, HARD = 0.45, 0.7  # of the time this thread runs, or would if it had a core: up to here it is easy, from here hard
LONGEST_S: Final = 0.1
WINDOW_S: Final = 0.25
MOST_STRETCHED: Final = 1_000.0


class FanOut:
    """Of one router. `cpu` is the CPU time of its thread, `waited` how long the thread had work and no core; both in
    seconds."""

    def __init__(
        self, now: Callable[[], float], cpu: Callable[[], float], waited: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.now, self.cpu = now, cpu
        self.share = SHARE
        self._waited = waited
        self._spent_s = 0.0
        self._since, self._wanted_s = now(), cpu() + waited()
        self._stretch = 1.0

    def pause_s(self, cost_s: float) -> float:
        """How long a room is to wait after a round that took so much CPU time."""
        self._spent_s += cost_s
        elapsed_s = self.now() - self._since
        if elapsed_s >= WINDOW_S:
            self._look_at_load(elapsed_s)
            stretch = self._stretch * self._spent_s / elapsed_s / self.share
            self._stretch = min(max(1.0, stretch), MOST_STRETCHED)
            self._spent_s, self._since = 0.0, self.now()
        return min(LONGEST_S, cost_s * self._stretch / self.share)

    def _look_at_load(self, elapsed_s: float) -> None:
        """Half-way to the share that fits the load of the last window."""
        wanted_s = self.cpu() + self._waited()
        load, self._wanted_s = (wanted_s - self._wanted_s) / elapsed_s, wanted_s
        ease = min(max((HARD - load) / (HARD - EASY), 0.0), 1.0)
        self.share += (SHARE + ease * (SHARE_MOST - SHARE) - self.share) / 2
