"""The listening socket while it is left alone: who comes waits, is not refused, and is served later."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop
from aiohttp import web

from router.listener import Listener
from tests.support.ports import free_port


@contextlib.asynccontextmanager
async def listening(host: str, port: int) -> AsyncIterator[Listener]:
    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.add_routes([web.get("/", hello)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    listener = await Listener.open(runner, host, port)
    try:
        yield listener
    finally:
        await listener.close()
        await runner.cleanup()


async def asked(port: int, host: str = "127.0.0.1") -> asyncio.Task[bytes]:
    """A question on a connection that the kernel has accepted."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    async def answer() -> bytes:
        try:
            return await reader.read()
        finally:
            writer.close()

    return asyncio.create_task(answer())


async def paused_and_served() -> None:
    port = free_port()
    async with listening("127.0.0.1", port) as listener:
        await listener.serve()
        await listener.serve()  # twice is once
        assert (await (await asked(port))).endswith(b"hello")
        for _ in range(3):
            await listener.pause()
            waiting = [await asked(port) for _ in range(20)]
            for _ in range(50):  # turns of the loop in which a server would answer
                await asyncio.sleep(0)
            assert not any(each.done() for each in waiting)
            await listener.serve()
            assert all(answer.endswith(b"hello") for answer in await asyncio.gather(*waiting))
        await listener.pause()
        await listener.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_who_comes_meanwhile_is_served_later(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(paused_and_served())


async def two_on_one_port() -> None:
    port = free_port()
    async with listening("127.0.0.1", port) as one:
        await one.serve()
        async with listening("127.0.0.1", port) as other:
            await other.serve()
            await one.close()
            for _ in range(8):
                assert (await (await asked(port))).endswith(b"hello")


def test_routers_share_a_port_and_one_that_closes_leaves_it_to_the_others() -> None:
    asyncio.run(two_on_one_port())


def test_a_port_that_is_taken_is_an_error() -> None:
    async def take(port: int) -> None:
        async with listening("127.0.0.1", port):
            pass

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            asyncio.run(take(taken.getsockname()[1]))
