"""Async tests whose time jumps: when nothing is ready, the loop's clock goes on to the next timer at once.

For tests without sockets. What a task raised and nobody took fails the test.
"""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

P = ParamSpec("P")

LONGEST_TEST_S = 3_600.0


class _Jump(selectors.SelectSelector):
    loop: "VirtualTimeLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("nothing will ever happen again")
        self.loop.now += max(0.0, timeout)
        assert self.loop.now < LONGEST_TEST_S, "the test goes on for ever"
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.now = 0.0
        self.failures: list[dict[str, Any]] = []
        selector = _Jump()
        selector.loop = self
        super().__init__(selector)
        self.set_exception_handler(lambda _, context: self.failures.append(context))

    def time(self) -> float:
        return self.now


def virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run the test on a loop of its own, with time from 0."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        loop = VirtualTimeLoop()
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(test(*args, **kwargs))
        assert not loop.failures, loop.failures

    return run


async def until_idle() -> None:
    """Let everything run that can without time going on."""
    for _ in range(50):
        await asyncio.sleep(0)
