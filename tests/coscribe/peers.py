"""A small server for tests of the client: it does what a test says, connection by connection."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from coscribe.protocol import SUBPROTOCOLS, BadMessage, ClientMessage, Hello, decode_client_message
from tests.coscribe.sessions import head, snapshot, welcome


class Peer:
    """The server's end of one connection."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.socket, self.request = socket, request

    async def say(self, *frames: bytes) -> None:
        for frame in frames:
            await self.socket.send_str(frame.decode())

    async def hear(self) -> ClientMessage:
        return decode_client_message(await self.socket.receive_str())

    async def greet(self, rev: int = 3) -> ClientMessage:
        """Take the hello, and answer with a document, or on a resume with nothing new."""
        hello = await self.hear()
        assert isinstance(hello, Hello)
        await self.say(welcome(), head(rev) if hello.resume else snapshot("text\n", rev))
        return hello

    async def close(self, code: int, reason: str = "") -> None:
        await self.socket.close(code=code, message=reason.encode())

    async def gone(self) -> None:
        """Wait until the client has left."""
        async for _ in self.socket:
            pass


Script = Callable[[Peer], Awaitable[object]]


@asynccontextmanager
async def served(*scripts: Script) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """A server whose n-th connection follows the n-th script, the last one for ever."""
    count = 0
    failures: list[BaseException] = []

    async def accept(request: web.Request) -> web.WebSocketResponse:
        nonlocal count
        script = scripts[min(count, len(scripts) - 1)]
        count += 1
        socket = web.WebSocketResponse(protocols=list(SUBPROTOCOLS), timeout=0.2)
        await socket.prepare(request)
        try:
            await script(Peer(socket, request))
        except (AssertionError, BadMessage) as error:
            failures.append(error)
        return socket

    app = web.Application()
    app.router.add_get("/v1/documents/{document}/socket", accept)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with aiohttp.ClientSession() as http:
            yield http, f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
    assert not failures, failures


async def stay(peer: Peer) -> None:
    await peer.greet()
    await peer.gone()
