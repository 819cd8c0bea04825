"""A bad line to a server on a Unix socket: it can lose replies and be cut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


class Line:
    def __init__(self, server: Path) -> None:
        self._server = server
        self._writers: set[asyncio.StreamWriter] = set()
        self.replies_lost = 0
        self._lose_next = False

    def lose_next_reply(self) -> None:
        """The next request arrives; instead of its reply comes the end of the connection."""
        self._lose_next = True

    def lead_to(self, server: Path) -> None:
        """From now on; what is open stays until it is cut."""
        self._server = server

    def cut(self) -> None:
        for writer in self._writers:
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(self._server)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, up_writer}
        await asyncio.gather(
            self._pass(reader, up_writer, requests=True), self._pass(up_reader, writer, requests=False)
        )
        self._writers -= {writer, up_writer}

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, requests: bool) -> None:
        try:
            while data := await reader.read(1 << 16):
                if not requests and self._lose_next:
                    self._lose_next = False
                    self.replies_lost += 1
                    break
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            for each in self._writers if not requests else ():
                each.close()
            writer.close()


@asynccontextmanager
async def bad_line(url: str) -> AsyncIterator[tuple[Line, str]]:
    """The line and the URL to use instead."""
    credentials, _, path = url.rpartition("@")
    line, socket = Line(Path(path)), path + ".line"
    server = await asyncio.start_unix_server(line.serve, socket)
    try:
        yield line, f"{credentials}@{socket}"
    finally:
        server.close()
        line.cut()
        await server.wait_closed()
        Path(socket).unlink(missing_ok=True)  # noqa: ASYNC240
