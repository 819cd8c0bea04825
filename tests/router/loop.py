"""An event loop whose time is moved by the test: when nothing is left to do now, the next timer is due at once.

`await asyncio.sleep(5)` lets five seconds of everything happen and takes none. Nothing here waits for a real clock.
"""

import asyncio
import selectors


class Stuck(Exception):
    """Nothing will ever happen again: the test waits for something that does not come."""


class _Jump(selectors.DefaultSelector):
    elapsed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck
        self.elapsed += max(timeout, 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.elapsed
