"""One client's WebSocket from hello to close, around its `Connection`: one task reads it, one writes it.

A close is said after what waits has been written. A peer that takes neither within some seconds is cut off, which ends
whatever either task is waiting for. Most sockets are idle most of the time, so they cost no task that only waits.
"""

import asyncio
import contextlib
import socket
from typing import Final

import aiohttp
import structlog
from aiohttp import WSMsgType, web

from coscribe.protocol import SUBPROTOCOLS, CloseCode
from persistence.records import Document, Unavailable
from router.auth import Identity
from router.connection import Connection
from router.metrics import RouterMetrics
from router.router import Router

CLOSE_PATIENCE_S: Final = 5.0
WAITING_BYTES: Final = 64 * 1024  # in the transport of one socket; more waits in its outbox
UNSENT_BYTES: Final = 64 * 1024
"""In the kernel, for one socket. Without a bound it takes up to 4 MiB for who reads slowly, unknown to us."""
READ_BYTES: Final = 4 * 1024 * 1024
"""Frames up to here are read to their end before they are refused: who is cut off while sending may lose our word."""

log_event = structlog.get_logger("conversation")


class ClientSocket(web.WebSocketResponse):
    """A client's socket. A frame beyond any limit is answered with our code for that."""

    def __init__(self, frame_bytes: int) -> None:
        super().__init__(
            protocols=list(SUBPROTOCOLS), max_msg_size=max(READ_BYTES, 2 * frame_bytes), compress=False,
            timeout=CLOSE_PATIENCE_S,
        )  # fmt: skip

    async def close(self, *, code: int = 1000, message: bytes = b"", drain: bool = True) -> bool:
        if code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
            code = CloseCode.FRAME_TOO_LARGE
        return await super().close(code=code, message=message, drain=drain)


def bound_unsent(transport: asyncio.Transport | None) -> None:
    """Where the system can do that, which Linux and macOS can."""
    line = transport.get_extra_info("socket") if transport is not None else None
    if line is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


class Conversation:
    def __init__(
        self,
        router: Router,
        metrics: RouterMetrics,
        socket: ClientSocket,
        transport: asyncio.Transport | None,
        document: Document,
        identity: Identity,
    ) -> None:
        bound_unsent(transport)
        self._metrics, self._socket, self._transport = metrics, socket, transport
        self._awake = asyncio.Event()
        self._patience: asyncio.TimerHandle | None = None
        self._connection: Connection = router.accept(document, identity, self._wake, self._write_now)

    def _wake(self) -> None:
        self._awake.set()
        if self._connection.closing and self._patience is None:
            self._patience = asyncio.get_running_loop().call_later(2 * CLOSE_PATIENCE_S, self._cut)

    def _cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _write_now(self, frame: bytes) -> bool:
        """Straight to the transport: half the cost of waking the writer. aiohttp writes each of its frames in one go,
        so this one cannot come into the middle of another."""
        transport = self._transport
        if (
            transport is None or self._connection.closing or transport.is_closing()
            or transport.get_write_buffer_size() > WAITING_BYTES
        ):  # fmt: skip
            return False
        transport.write(frame)
        self._metrics.frames_out += 1
        self._metrics.bytes_out += len(frame)
        return True

    async def run(self) -> None:
        writer = asyncio.get_running_loop().create_task(self._write())
        writer.add_done_callback(self._written)
        try:
            await self._read()
            if self._connection.closing:
                await asyncio.wait({writer})  # it says why
        finally:
            if not self._socket.closed:
                self._cut()  # nothing more can be said
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            if self._patience is not None:
                self._patience.cancel()
            if self._connection.closing:
                self._metrics.closes.labels(int(self._connection.closing[0])).inc()
            with contextlib.suppress(Unavailable):
                await self._connection.leave()

    def _written(self, writer: asyncio.Task[None]) -> None:
        """If it failed, the reader is to end too."""
        if not writer.cancelled() and writer.exception() is not None:
            self._cut()

    async def _read(self) -> None:
        connection = self._connection
        async for message in self._socket:
            self._metrics.frames_in += 1
            if message.type is WSMsgType.TEXT:
                try:
                    connection.receive(message.data)
                except Exception:  # a fault of ours costs this socket: the client comes back and resumes
                    log_event.exception("frame failed", document=connection.document.id)
                    connection.close(CloseCode.RESTART, retry_after_s=1.0)
            elif message.type is WSMsgType.BINARY:
                connection.close(CloseCode.BAD_MESSAGE, "frames are text")
            if connection.closing:
                return

    async def _write(self) -> None:
        connection = self._connection
        while True:
            await self._awake.wait()
            self._awake.clear()
            while frame := connection.frame():
                await self._socket.send_frame(frame, WSMsgType.TEXT)
                self._metrics.frames_out += 1
                self._metrics.bytes_out += len(frame)
            if connection.closing:
                code, reason = connection.closing
                await self._socket.close(code=code, message=reason.encode())
                return
