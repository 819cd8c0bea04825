"""One direction of a connection: what is put in arrives in that order, after a delay, or never."""

import contextvars
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from tests.simulation.loop import SimLoop

T = TypeVar("T")

HELD_RETRY_S = 0.05  # while nothing passes it is tried again, as TCP does


class Lane(Generic[T]):
    """`held` says whether nothing passes just now. `arrive` is called in `context`."""

    def __init__(
        self,
        loop: SimLoop,
        delay: Callable[[], float],
        held: Callable[[], bool],
        arrive: Callable[[T], None],
        context: contextvars.Context | None = None,
    ) -> None:
        self.closed = False
        self._loop, self._delay, self._held, self._arrive = loop, delay, held, arrive
        self._context = context or loop.outside
        self._queue: deque[tuple[float, T]] = deque()

    def put(self, item: T) -> None:
        if self.closed:
            return
        self._queue.append((self._loop.time() + self._delay(), item))
        if len(self._queue) == 1:
            self._next()

    def close(self) -> None:
        """What is under way is lost."""
        self.closed = True
        self._queue.clear()

    def _next(self) -> None:
        if self._queue:
            self._loop.call_at(max(self._queue[0][0], self._loop.time()), self._pass, context=self._context)

    def _pass(self) -> None:
        if self.closed:
            return
        if self._held():
            self._loop.call_later(HELD_RETRY_S, self._pass, context=self._context)
            return
        _, item = self._queue.popleft()
        self._next()
        self._arrive(item)
