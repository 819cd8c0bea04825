"""Routers: the real router, its rooms, links and connections, under sockets of the simulated network."""

import asyncio
import contextlib
from collections.abc import Coroutine

from cluster.watcher import MapWatcher
from coscribe.link import LINK_VERSION
from persistence.records import Unavailable
from router.auth import Identity
from router.connection import Connection
from router.link import LinkClosed, Transport
from router.router import Clock, Router, RouterSettings
from tests.simulation.network import Closed, End, Refused
from tests.simulation.nodes import Node, nothing

CLOSE_PATIENCE_S = 5.0


class LinkTransport:
    """Implements router.link.Transport."""

    version = LINK_VERSION

    def __init__(self, end: End) -> None:
        self._end = end

    async def send(self, frame: bytes) -> None:
        try:
            await self._end.send(frame)
        except Closed as closed:
            raise LinkClosed(str(closed)) from None

    async def receive(self) -> bytes:
        try:
            return await self._end.receive()
        except Closed as closed:
            raise LinkClosed(str(closed)) from None

    async def close(self) -> None:
        await self._end.close()


class RouterNode(Node):
    router: Router | None = None
    _used_s = 0.0

    async def _work(self) -> None:
        plan, parts, process = self.world.plan, self.parts, self.process
        assert process is not None
        self.router = Router(
            RouterSettings("memory", plan.heartbeat_s, plan.wire_limits),
            MapWatcher(parts.map_store), parts.bus, parts.reader, parts.roster, self._connect_link, self._redeem,
            Clock(self.world.loop.time, lambda: self.now_ms() / 1000, self._cpu),
        )  # fmt: skip
        self.world.network.listen(self.name, process, self._accepted)
        with contextlib.suppress(Unavailable, ExceptionGroup):
            await self.router.run()

    def _cpu(self) -> float:
        """Each look at it costs, so that rooms have to wait between their rounds."""
        self._used_s += self.world.plan.round_s
        return self._used_s

    def _stop(self) -> Coroutine[None, None, None]:
        return self._stop_router(self.router) if self.router else nothing()

    async def _stop_router(self, router: Router) -> None:
        self.world.network.close_port(self.name)
        await router.stop()
        await asyncio.sleep(self.rng.random())

    async def _connect_link(self, address: str) -> Transport:
        assert self.process is not None
        try:
            return LinkTransport(await self.world.network.connect(self.process, address))
        except Refused as error:
            raise LinkClosed(str(error)) from None

    async def _redeem(self, ticket: str, document: str) -> Identity | None:
        return None

    def _accepted(self, end: End) -> None:
        asyncio.get_running_loop().create_task(self._converse(end))

    async def _converse(self, end: End) -> None:
        """As router.app does it: one task reads, one writes."""
        assert self.router is not None
        tab = self.world.tabs[end.peer.process.name]
        awake = asyncio.Event()
        identity = Identity(tab.user, tab.user, tab.role, None)
        connection = self.router.accept(self.world.documents[tab.key.document], identity, awake.set)
        writer = asyncio.get_running_loop().create_task(_write(connection, end, awake))
        reader = asyncio.get_running_loop().create_task(_read(connection, end))
        try:
            await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            reader.cancel()
            writer.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)
            await end.close()
            with contextlib.suppress(Unavailable):
                await connection.leave()


async def _read(connection: Connection, end: End) -> None:
    with contextlib.suppress(Closed):
        while not connection.closing:
            connection.receive((await end.receive()).decode())
        await asyncio.sleep(CLOSE_PATIENCE_S)


async def _write(connection: Connection, end: End, awake: asyncio.Event) -> None:
    with contextlib.suppress(Closed):
        while True:
            await awake.wait()
            awake.clear()
            while frame := connection.frame():
                await end.send(frame)
            if connection.closing:
                code, reason = connection.closing
                await end.close(int(code), reason)
                return
