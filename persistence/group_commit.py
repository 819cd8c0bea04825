"""Group commit: scripts called while a round trip is in flight gather and leave together with the next one.

There is no timer: an idle line sends at once. One task writes; it lives only while something is queued. Nothing is ever
sent twice but a script that the server refused with NOSCRIPT, which wrote nothing.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import NoScriptError

from persistence.records import Unavailable
from persistence.redis_client import Argument, Line, passes
from persistence.script import LOAD_ATTEMPTS, Script

# What one round trip carries at most: it blocks the server for the time of its scripts, and everybody in it fails
# together when the connection breaks.
ROUND_TRIP_CALLS: Final = 128
ROUND_TRIP_BYTES: Final = 4_000_000
# Beyond this, callers are refused. Each section has one call under way at most, so this many sections are stuck.
QUEUED_CALLS: Final = 20_000
QUEUED_BYTES: Final = 256_000_000


@dataclass(slots=True, eq=False)
class _Call:
    arguments: tuple[Argument, ...]
    size: int
    answer: asyncio.Future[Any]


class GroupCommit:
    """Runs one script for many callers over one line."""

    def __init__(self, line: Line, script: Script) -> None:
        self.round_trips = 0
        self._line = line
        self._script = script
        self._queue: deque[_Call] = deque()
        self._queued_bytes = 0
        self._writer: asyncio.Task[None] | None = None
        self._closed = False

    async def call(self, keys: Sequence[str], arguments: Sequence[Argument], size: int) -> Any:
        """The script's reply. Raises Unavailable when its outcome is unknown. `size` is about its bytes."""
        if self._closed:
            raise Unavailable("the log is closed")
        if len(self._queue) >= QUEUED_CALLS or self._queued_bytes >= QUEUED_BYTES:
            raise Unavailable("too much is waiting for Redis")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.append(_Call(self._script.call(keys, arguments), size, answer))
        self._queued_bytes += size
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(), name="group commit")
        return await answer

    async def aclose(self) -> None:
        """Send what is queued, then close the line."""
        self._closed = True
        if self._writer is not None:
            await self._writer
        await self._line.aclose()

    async def _write(self) -> None:
        try:
            while self._queue:
                calls = self._take()
                try:
                    await self._round_trip(calls)
                except Exception as error:  # whatever it is, every caller hears of it
                    _fail(calls, _for_callers(error))
                except BaseException:
                    _fail(calls, Unavailable("the log is closing"))
                    raise
        finally:
            self._writer = None
            if self._queue:  # cancelled
                _fail(self._take_all(), Unavailable("the log is closing"))

    def _take(self) -> list[_Call]:
        calls = [self._queue.popleft()]
        size = calls[0].size
        while self._queue and len(calls) < ROUND_TRIP_CALLS and size + self._queue[0].size <= ROUND_TRIP_BYTES:
            calls.append(self._queue.popleft())
            size += calls[-1].size
        self._queued_bytes -= size
        return calls

    def _take_all(self) -> list[_Call]:
        calls = list(self._queue)
        self._queue.clear()
        self._queued_bytes = 0
        return calls

    async def _round_trip(self, calls: list[_Call]) -> None:
        for _ in range(LOAD_ATTEMPTS):
            calls = await self._send(calls)
            if not calls:
                return
            for reply in await self._line.exchange([("SCRIPT LOAD", self._script.text)]):
                if isinstance(reply, Exception):
                    raise reply
        _fail(calls, Unavailable("Redis forgets the script again and again"))

    async def _send(self, calls: list[_Call]) -> list[_Call]:
        """Send and hand out the replies. Returns the calls that were refused because the script is not loaded."""
        self.round_trips += 1
        replies = await self._line.exchange([("EVALSHA", *call.arguments) for call in calls])
        refused = []
        for call, reply in zip(calls, replies, strict=True):
            if isinstance(reply, NoScriptError):
                refused.append(call)
            elif isinstance(reply, Exception):
                _fail([call], _for_callers(reply))
            elif not call.answer.done():  # its caller may have been cancelled
                call.answer.set_result(reply)
        return refused


def _for_callers(error: Exception) -> Exception:
    return Unavailable(f"Redis: {error}") if passes(error) else error


def _fail(calls: Sequence[_Call], error: Exception) -> None:
    for call in calls:
        if not call.answer.done():
            call.answer.set_exception(error)
