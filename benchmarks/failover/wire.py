"""A wire that can be harmed: it takes connections, on TCP or a Unix socket, and passes their bytes on to a server.

Harm touches the connections that are there; those that come later are good, as after a fault of a network in between.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

CHUNK_BYTES: Final = 1 << 16

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Connection:
    """Two ends and what passes between them."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.near, self.far = near, far
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.pumps: list[asyncio.Task[None]] = []

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                await self.flowing.wait()
                writer.write(data)
                await writer.drain()
        await self.flowing.wait()  # nor does an end pass where nothing passes

    def close(self) -> None:
        for pump in self.pumps:
            pump.cancel()
        for writer in (self.near, self.far):
            writer.close()


class Wire:
    """`connections` are those that are whole; `torn` those that have ended at one side only."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._server: asyncio.Server | None = None
        self.connections: dict[Connection, None] = {}
        self.torn: list[Connection] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server:
            self._server.close()
        for connection in [*self.connections, *self.torn]:
            connection.close()

    async def listen_tcp(self) -> int:
        """On loopback; returns the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def listen_unix(self, path: Path) -> None:
        self._server = await asyncio.start_unix_server(self._serve, path)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await self._connect()
        except OSError:
            writer.close()
            return
        connection = Connection(writer, far_writer)
        self.connections[connection] = None
        connection.pumps = [
            asyncio.create_task(connection.pump(reader, far_writer)),
            asyncio.create_task(connection.pump(far_reader, writer)),
        ]
        await asyncio.wait(connection.pumps, return_when=asyncio.FIRST_COMPLETED)
        if connection in self.connections:
            del self.connections[connection]
            connection.close()

    # --- Harm ---

    def stall(self) -> None:
        """Nothing passes on any of them, until `release`: no byte, no end."""
        for connection in self.connections:
            connection.flowing.clear()

    def release(self) -> None:
        """What was held back passes."""
        for connection in self.connections:
            connection.flowing.set()

    def half_open(self) -> None:
        """Each ends at one side, by turns the near and the far one. The other side hears nothing, for good."""
        self.torn += self.connections
        for number, connection in enumerate(self.connections):
            for pump in connection.pumps:
                pump.cancel()
            (connection.far if number % 2 else connection.near).close()
        self.connections.clear()
