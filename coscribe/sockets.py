"""A client's WebSockets: opened at one address after the other, read frame by frame, closed in bounded time."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Final

import aiohttp

from coscribe.policy import CONNECT_TIMEOUT_S, End
from coscribe.protocol import SUBPROTOCOLS
from coscribe.readings import welcomes

FRAME_BYTES: Final = 64 * 1024 * 1024  # a snapshot of the largest document is one frame
ABNORMAL: Final = 1006

Socket = aiohttp.ClientWebSocketResponse


class Sockets:
    """Of one document: all that are open, so that none is forgotten however a connection ends."""

    def __init__(
        self, http: aiohttp.ClientSession, urls: Sequence[str], document: str, headers: Mapping[str, str]
    ) -> None:
        self.tries = 0
        self._http, self._urls, self._document, self._headers = http, urls, document, headers
        self._open: list[Socket] = []

    async def open(self) -> Socket | None:
        """A socket at the next address, None where there is none to be had."""
        base = self._urls[self.tries % len(self._urls)]
        self.tries += 1
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                socket = await self._http.ws_connect(
                    f"{base}/v1/documents/{self._document}/socket", protocols=list(SUBPROTOCOLS),
                    headers=self._headers, max_msg_size=FRAME_BYTES, compress=0,
                )  # fmt: skip
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None
        self._open.append(socket)
        return socket

    async def leave(self, socket: Socket, patience_s: float) -> None:
        self._open.remove(socket)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await socket.close()

    async def leave_all(self, patience_s: float) -> None:
        await asyncio.gather(*(self.leave(socket, patience_s) for socket in self._open))


async def receive(socket: Socket) -> str | End:
    """The next frame, or how the socket ended."""
    while True:
        message = await socket.receive()
        if message.type is aiohttp.WSMsgType.TEXT:
            return str(message.data)
        if message.type is aiohttp.WSMsgType.CLOSE:
            return End(message.data, message.extra or "")
        if message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.ERROR):
            return End(socket.close_code or ABNORMAL, "")


async def greet(socket: Socket, hello: bytes) -> str | End:
    """Say hello; returns the frame that welcomes, or how the socket ended instead. Raises BadMessage."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await socket.send_str(hello.decode())
            while not isinstance(answer := await receive(socket), End):
                if welcomes(answer):
                    break
            return answer
    except (aiohttp.ClientError, OSError, TimeoutError):
        return End(ABNORMAL, "")
