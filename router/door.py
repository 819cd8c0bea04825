"""Where handshakes come in, are refused or wait: a shell around `Admission`.

A storm of handshakes is taken from the backlog in one sweep, for that is how the event loop accepts. Those that can be
neither let in nor refused at once wait here for their turn, before their upgrade is answered; past WAITING_MOST the
listening socket is left alone until half of them are through. So a storm costs as much a second as the limits say,
and what may wait is bounded: here by that and one backlog, then by the backlog in the kernel. What else comes, such as
a look at /healthz, is behind the same backlog, and waits up to a second or two.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from router.admission import Admission, Refused
from router.listener import Listener

WAITING_MOST: Final = 256
AGAIN_S: Final = 0.5

log_event = structlog.get_logger("door")


class Door:
    """`listener` is None until the router listens."""

    def __init__(self, admission: Admission, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self.inside = 0  # sockets that were let in and have not left
        self.waiting = 0
        self.listener: Listener | None = None
        self._admission, self._sleep = admission, sleep
        self._pausing: asyncio.Task[None] | None = None
        self._fewer = asyncio.Event()

    async def turn(self) -> None:
        """Wait until one may come in or be refused."""
        if wait_s := self._admission.arrive(time.monotonic(), self.inside):
            await self._wait(wait_s)

    def decide(self) -> Refused | None:
        """None: come in, by `enter`, at once."""
        return self._admission.decide(time.monotonic(), self.inside, random.random())

    @contextmanager
    def enter(self) -> Iterator[None]:
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    async def _wait(self, wait_s: float) -> None:
        self.waiting += 1
        if self.waiting > WAITING_MOST and self.listener is not None and self._pausing is None:
            self._pausing = asyncio.get_running_loop().create_task(self._pause(self.listener))
        try:
            await self._sleep(wait_s)
        finally:
            self.waiting -= 1
            self._fewer.set()

    async def _pause(self, listener: Listener) -> None:
        log_event.info("a storm of handshakes waits in the backlog", waiting=self.waiting, sockets=self.inside)
        try:
            await listener.pause()
            while self.waiting > WAITING_MOST // 2:
                self._fewer.clear()
                await self._fewer.wait()
            while not await self._serves(listener):
                await self._sleep(AGAIN_S)
        finally:
            self._pausing = None

    async def _serves(self, listener: Listener) -> bool:
        try:
            await listener.serve()
        except OSError as error:  # no descriptor is left: those who go leave some
            log_event.error("not listening", error=str(error))
            return False
        return True

    async def close(self) -> None:
        """Nobody comes in any more."""
        if self._pausing is not None:
            self._pausing.cancel()
            await asyncio.gather(self._pausing, return_exceptions=True)
        if self.listener is not None:
            await self.listener.close()
