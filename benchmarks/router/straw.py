"""A client on a bad line: it reads 1 kB a second from a socket with a small buffer, so the rest waits in the router."""

import asyncio
import contextlib
import random
import socket
from typing import Final

from benchmarks.router.connected import Network
from benchmarks.router.light import LightClient
from benchmarks.router.reading import Reader
from benchmarks.router.websocket import WebSocket

BYTES_PER_S: Final = 1_000
SIP: Final = 250
BUFFER_BYTES: Final = 4_096  # asked of the kernel, which makes at least 2,304 of less
FAST_BYTES: Final = 64 * 1024


class Straw(asyncio.Transport):
    """Reads a socket itself, as slowly as it is told: a loop's own transport takes all that the kernel has."""

    def __init__(self, line: socket.socket, protocol: WebSocket) -> None:
        super().__init__()
        self.slow = False
        self._line, self._protocol = line, protocol
        self._reading: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._protocol.connection_made(self)
        self._reading = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while data := await loop.sock_recv(self._line, SIP if self.slow else FAST_BYTES):
                self._protocol.data_received(data)
                if self.slow:
                    await asyncio.sleep(SIP / BYTES_PER_S)
        except OSError:
            pass
        finally:
            self._line.close()
            self._protocol.connection_lost(None)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """What a client says is small and rare; a line that takes nothing more is broken."""
        with contextlib.suppress(OSError):
            self._line.send(data)

    def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()

    abort = close


class SlowReader(LightClient):
    """Types nothing."""

    def __init__(self, network: Network, document: str, rng: random.Random, reader: Reader) -> None:
        super().__init__(network, document, rng, reader)
        self._straw: Straw | None = None
        self._slow = False

    @property
    def slow(self) -> bool:
        return self._slow

    @slow.setter
    def slow(self, slow: bool) -> None:
        self._slow = slow
        if self._straw is not None:
            self._straw.slow = slow

    async def open(self) -> WebSocket:
        line = socket.socket()
        line.setblocking(False)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)  # before it connects, or it is too late
        await asyncio.get_running_loop().sock_connect(line, (self.network.host, self.network.port))
        protocol = self.socket()
        self._straw = Straw(line, protocol)
        self._straw.slow = self._slow
        self._straw.begin()
        return protocol
