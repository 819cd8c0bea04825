"""Scripts that many call at once: those called while a round trip is in flight gather and leave together with the next
one. For commits that is group commit; what every client that joins has asked for costs a tenth of a call by itself.
Where replicas are to have what they write, a round trip ends with WAIT and WAITAOF, which answer for all before them.

There is no timer: an idle line sends at once. One task writes; it lives only while something is queued. Nothing is ever
sent twice but a script that the server refused with NOSCRIPT, which wrote nothing.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from redis.exceptions import NoScriptError

from persistence.records import Unavailable
from persistence.redis_client import TIMEOUT_S, Argument, Line, passes
from persistence.script import LOAD_ATTEMPTS, Script

# What one round trip carries at most: it blocks the server for the time of its scripts, and everybody in it fails
# together when the connection breaks.
ROUND_TRIP_CALLS: Final = 128
ROUND_TRIP_BYTES: Final = 4_000_000
# Beyond this, callers are refused. Each section has one call under way at most, so this many sections are stuck.
QUEUED_CALLS: Final = 20_000
QUEUED_BYTES: Final = 256_000_000


REPLICAS_MS: Final = 2_000  # for replicas to have it, twice; together less than a line waits for its replies


@dataclass(slots=True, eq=False)
class _Call:
    script: Script
    arguments: tuple[Argument, ...]
    size: int
    replicated: bool
    answer: asyncio.Future[Any]


class ScriptCalls:
    """Runs scripts for many callers over one line. `replicas`: how many must have what they write on disk too."""

    def __init__(self, line: Line, replicas: int = 0) -> None:
        self.round_trips = 0
        self.replicas = replicas
        self._line = line
        self._queue: deque[_Call] = deque()
        self._queued_bytes = 0
        self._writer: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    def connect(cls, url: str, timeout_s: float = TIMEOUT_S, replicas: int = 0) -> Self:
        return cls(Line(url, timeout_s), replicas)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def call(
        self,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[Argument],
        size: int = 0,
        *,
        replicated: bool = True,
    ) -> Any:
        """The script's reply. Raises Unavailable when its outcome is unknown, or replicas do not have it. `size` is
        about its bytes; a call that is not to be `replicated` does not wait for replicas."""
        if self._closed:
            raise Unavailable("the log is closed")
        if len(self._queue) >= QUEUED_CALLS or self._queued_bytes >= QUEUED_BYTES:
            raise Unavailable("too much is waiting for Redis")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.append(_Call(script, script.call(keys, arguments), size, replicated and self.replicas > 0, answer))
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
            texts = {call.script.digest: call.script.text for call in calls}
            for reply in await self._line.exchange([("SCRIPT", "LOAD", text) for text in texts.values()]):
                if isinstance(reply, Exception):
                    raise reply
        _fail(calls, Unavailable("Redis forgets the script again and again"))

    async def _send(self, calls: list[_Call]) -> list[_Call]:
        """Send and hand out the replies. Returns the calls that were refused because the script is not loaded."""
        self.round_trips += 1
        commands: list[Sequence[Argument]] = [("EVALSHA", *call.arguments) for call in calls]
        missing = None
        if any(call.replicated for call in calls):
            # A replica that is asked says what is on its disk, which what it has just received is not yet; it would
            # say so a second later. Asked again once it has received that, it says so at once: 0.6 ms, not 1,004.
            commands += [("WAIT", self.replicas, REPLICAS_MS), ("WAITAOF", 1, self.replicas, REPLICAS_MS)]
            *replies, _, on_disk = await self._line.exchange(commands)
            missing = self._missing(on_disk)
        else:
            replies = await self._line.exchange(commands)
        refused = []
        for call, reply in zip(calls, replies, strict=True):
            if isinstance(reply, NoScriptError):
                refused.append(call)
            elif isinstance(reply, Exception):
                _fail([call], _for_callers(reply))
            elif missing is not None and call.replicated:
                _fail([call], missing)
            elif not call.answer.done():  # its caller may have been cancelled
                call.answer.set_result(reply)
        return refused

    def _missing(self, reply: Any) -> Exception | None:
        """What is wrong if too few have what was written."""
        if isinstance(reply, Exception):
            return _for_callers(reply)
        here, replicas = reply
        if here and replicas >= self.replicas:
            return None
        return Unavailable(f"Redis: {replicas} of {self.replicas} replicas have what was written")


def _for_callers(error: Exception) -> Exception:
    return Unavailable(f"Redis: {error}") if passes(error) else error


def _fail(calls: Sequence[_Call], error: Exception) -> None:
    for call in calls:
        if not call.answer.done():
            call.answer.set_exception(error)
