"""A router's connection, at the host's end: frames in are handled one after the other, answers leave in frames.

Answering never waits. A router that does not read its answers is cut off, and comes back; a frame of answers stays far
below what a router takes at once.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterable
from typing import Final, Protocol

import msgspec
import structlog

from actors.host import ShardHost
from coscribe import link
from persistence.records import Unavailable

REPLIES_MOST: Final = 100_000
REPLIES_BYTES: Final = 256 * 1024 * 1024
REPLY_FRAME_BYTES: Final = 4 * 1024 * 1024  # but for one answer that is longer
SMALL_BYTES: Final = 200  # about what an answer without content takes

log_event = structlog.get_logger("link")


class LinkSocket(Protocol):
    """One open connection: frames in, as they come until it ends, and frames out."""

    def frames(self) -> AsyncIterable[bytes]: ...

    async def send(self, frame: bytes) -> None: ...


class RouterLink:
    """`version` is the one agreed on for the link."""

    def __init__(self, host: ShardHost, socket: LinkSocket, version: int = link.LINK_VERSION) -> None:
        self.overrun = False
        self.version = version
        self._host, self._socket = host, socket
        self._replies: deque[link.ToRouter] = deque()
        self._bytes = 0
        self._waiting = asyncio.Event()
        self._cut = asyncio.Event()
        self._ended = False

    def reply(self, message: link.ToRouter) -> None:
        if self._ended:  # its router asks again on another link
            return
        if not link.is_known(message, self.version):  # what says it to such a router says something else instead
            return
        self._replies.append(message)
        self._bytes += size_of(message)
        self._waiting.set()
        if len(self._replies) > REPLIES_MOST or self._bytes > REPLIES_BYTES:
            self._ended = self.overrun = True
            self._replies.clear()
            self._cut.set()

    async def serve(self) -> None:
        """Until the connection ends, or is to be cut."""
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(work) for work in (self._read(), self._write())]
        cut = loop.create_task(self._cut.wait())
        try:
            await asyncio.wait({*tasks, cut}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._ended = True
            for task in (*tasks, cut):
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(cut, return_exceptions=True)
        if self.overrun:
            log_event.error("a router does not read its answers")
        for end in ends:
            if isinstance(end, Exception) and not isinstance(end, OSError):  # a connection that breaks is no fault
                log_event.error("link failed", exc_info=end)

    async def _read(self) -> None:
        try:
            async for frame in self._socket.frames():
                await self._host.receive(frame, self.reply)
        except msgspec.DecodeError as error:
            log_event.error("not a link frame", error=str(error))
        except Unavailable as error:
            log_event.warning("map not read", error=str(error))

    async def _write(self) -> None:
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            while self._replies:
                await self._socket.send(link.encode(link.RouterFrame(self._host.view, self._take())))

    def _take(self) -> list[link.ToRouter]:
        """Answers for one frame."""
        taken: list[link.ToRouter] = []
        size = 0
        while self._replies and (not taken or size + size_of(self._replies[0]) <= REPLY_FRAME_BYTES):
            taken.append(self._replies.popleft())
            size += size_of(taken[-1])
        self._bytes -= size
        return taken


def size_of(message: link.ToRouter) -> int:
    """About the bytes of an answer."""
    match message:
        case link.SnapshotIs(message=content) | link.ComposedIs(message=content):
            return SMALL_BYTES + len(content)
        case link.EntriesAre(messages=messages):
            return SMALL_BYTES + sum(map(len, messages))
        case _:
            return SMALL_BYTES
