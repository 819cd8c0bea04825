"""The sockets on which a router listens, which can be left alone for a while: who comes then waits in their backlog.

Neither asyncio nor uvloop pauses a server; closing it closes its socket, and the kernel resets all who wait there. So
the sockets are ours, and aiohttp serves duplicates of them: those are closed for a pause, and the sockets, with their
backlogs, stay. Beyond the backlog the kernel drops the first packet of a connection, and the client's kernel sends it
again after a second.
"""

import asyncio
import socket
from typing import Final

from aiohttp import web

BACKLOG: Final = 512


class Listener:
    """Serves `runner` at an address, which other routers may share: the kernel spreads connections over them."""

    def __init__(self, runner: web.AppRunner, sockets: list[socket.socket]) -> None:
        self._runner, self._sockets = runner, sockets
        self._sites: list[web.SockSite] = []
        self._changing = asyncio.Lock()

    @classmethod
    async def open(cls, runner: web.AppRunner, host: str, port: int) -> "Listener":
        """Raises OSError where the address cannot be had."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        sockets: list[socket.socket] = []
        try:
            for family, kind, protocol, _, address in dict.fromkeys(found):
                sockets.append(listening := socket.socket(family, kind, protocol))
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if family == socket.AF_INET6:
                    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listening.setblocking(False)
                listening.bind(address)
                listening.listen(BACKLOG)
        except OSError:
            for listening in sockets:
                listening.close()
            raise
        return cls(runner, sockets)

    async def serve(self) -> None:
        """Take connections, from now on or again. Raises OSError where there is no descriptor for that."""
        async with self._changing:
            if self._sites:
                return
            try:
                for listening in self._sockets:
                    self._sites.append(web.SockSite(self._runner, listening.dup(), backlog=BACKLOG))
                    await self._sites[-1].start()
            except OSError:
                await self._stop()
                raise

    async def pause(self) -> None:
        """Take no connections for now."""
        async with self._changing:
            await self._stop()

    async def _stop(self) -> None:
        while self._sites:
            await self._sites.pop().stop()

    async def close(self) -> None:
        """Listen no more."""
        await self.pause()
        for listening in self._sockets:
            listening.close()
        self._sockets.clear()
