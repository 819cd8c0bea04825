"""The processes of the cluster: hosts, routers and the controller, each the real class between simulated parts.

A node is a slot with a name; each start of it is a new process with nothing in memory.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import WSMsgType

from actors import host_server
from actors.host_server import HostSettings, RunningHost
from actors.section_actor import Clock as HostClock
from cluster.controller import Controller
from cluster.watcher import MapWatcher
from persistence.records import Unavailable
from router.auth import Identity
from router.connection import Connection
from router.link import LinkClosed, Transport
from router.router import Clock, Router, RouterSettings
from tests.simulation.loop import Process
from tests.simulation.network import Closed, End, Refused
from tests.simulation.parts import Parts

if TYPE_CHECKING:
    from tests.simulation.world import World

CLOSE_PATIENCE_S = 5.0
RESTART_S = 0.5


class Node:
    """A slot and the process that runs in it now, if one does."""

    def __init__(self, world: "World", name: str) -> None:
        self.world, self.name = world, name
        self.rng = random.Random(f"{world.seed}/{name}")
        self.starts = 0
        self.process: Process | None = None
        self.parts: Parts
        self.skew_ms = 0
        self._stopping = False

    @property
    def up(self) -> bool:
        return self.process is not None

    def start(self) -> None:
        assert self.process is None
        self.starts += 1
        self._stopping = False
        self.process = Process(self.world.loop, self.name)
        self.parts = Parts(self.world, self.process, f"{self.name}.{self.starts}")
        self.world.trace.add("start", self.name, self.starts)
        self.process.start(self._serve(self.process))

    def kill(self, half_open_s: float = 0.0) -> None:
        """kill -9, or the power goes: its peers hear of it after `half_open_s`."""
        if self.process is None:
            return
        self.world.trace.add("kill", self.name, round(half_open_s, 3))
        process, self.process = self.process, None
        process.kill()
        self.parts.close()
        self.world.network.drop_all(process, half_open_s)

    async def stop(self) -> None:
        """End as on SIGTERM, which may take a while; then it is gone."""
        process = self.process
        if process is None or self._stopping:
            return
        self._stopping = True
        self.world.trace.add("stop", self.name)
        await asyncio.wait((process.start(self._stop()),))
        if self.process is process:
            self.kill()

    async def _serve(self, process: Process) -> None:
        """What a supervisor does: start it, and when it has failed, start it again."""
        await self._work()
        if not self._stopping:
            self.world.trace.add("failed", self.name)
            self.world.loop.after(0.0, self._failed, process)

    def _failed(self, process: Process) -> None:
        if self.process is process:
            self.kill()
            self.world.loop.after(RESTART_S, self.start_again)

    def start_again(self) -> None:
        if self.process is None and self.name in self.world.wanted:
            self.start()

    async def _work(self) -> None:
        """Until it fails."""
        raise NotImplementedError

    async def _stop(self) -> None:
        raise NotImplementedError

    def now_ms(self) -> int:
        return self.world.redis.now_ms() + self.skew_ms


@dataclass(frozen=True, slots=True)
class Message:
    data: bytes
    type: WSMsgType = WSMsgType.BINARY


class LinkSocket:
    """The host's end of a link, as aiohttp shows a WebSocket."""

    def __init__(self, end: End) -> None:
        self._end = end

    def __aiter__(self) -> "LinkSocket":
        return self

    async def __anext__(self) -> Message:
        try:
            return Message(await self._end.receive())
        except Closed:
            raise StopAsyncIteration from None

    async def frames(self) -> AsyncIterator[bytes]:
        async for message in self:
            yield message.data

    async def send(self, frame: bytes) -> None:
        await self.send_bytes(frame)

    async def send_bytes(self, frame: bytes) -> None:
        try:
            await self._end.send(frame)
        except Closed as closed:
            raise ConnectionResetError(str(closed)) from None

    async def close(self) -> None:
        await self._end.close()


class SimHost(RunningHost):
    """A running host whose data port is on the simulated network."""

    def __init__(self, node: "HostNode", process: Process, settings: HostSettings) -> None:
        parts, rng = node.parts, node.rng
        clock = HostClock(node.now_ms, rng.random, lambda: f"{node.name}.{node.starts}.{rng.getrandbits(32):08x}")
        super().__init__(settings, parts.map_store, parts.bus, parts.log, parts.store, clock)
        self._node, self._process = node, process

    async def _listen(self) -> str:
        address = f"{self._node.name}:{self._node.starts}"
        self._node.world.network.listen(address, self._process, self._accepted)
        return address

    def _accepted(self, end: End) -> None:
        socket = LinkSocket(end)
        asyncio.get_running_loop().create_task(self._serve(socket))

    async def _serve(self, socket: LinkSocket) -> None:
        self._links[socket] = None  # type: ignore[index]
        try:
            await host_server.RouterLink(self.host, socket).serve()  # type: ignore[attr-defined]
        finally:
            self._links.pop(socket, None)  # type: ignore[call-overload]
            await socket.close()

    async def ended(self) -> None:
        """Wait until it has failed."""
        assert self._task is not None
        await asyncio.wait((self._task,))


class HostNode(Node):
    running: SimHost | None = None

    async def _work(self) -> None:
        plan, process = self.world.plan, self.process
        assert process is not None
        self.running = None
        settings = HostSettings(self.name, "", "", "", lease_ttl_s=plan.lease_ttl_s, upkeep=plan.upkeep)
        while True:
            host = SimHost(self, process, settings)
            try:
                await host.start()
                break
            except Unavailable as error:
                self.world.trace.add("not started", self.name, error)
                await asyncio.sleep(RESTART_S)
        self.running = host
        await host.ended()

    async def _stop(self) -> None:
        if self.running:
            await self.running.stop()


class LinkTransport:
    """Implements router.link.Transport."""

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

    async def _work(self) -> None:
        plan, parts, process = self.world.plan, self.parts, self.process
        assert process is not None
        self.router = Router(
            RouterSettings("memory", plan.heartbeat_s, plan.wire_limits),
            MapWatcher(parts.map_store), parts.bus, parts.reader, parts.roster, self._connect_link, self._redeem,
            Clock(self.world.loop.time, lambda: self.now_ms() / 1000),
        )  # fmt: skip
        self.world.network.listen(self.name, process, self._accepted)
        with contextlib.suppress(Unavailable, ExceptionGroup):
            await self.router.run()

    async def _stop(self) -> None:
        self.world.network.close_port(self.name)
        if self.router:
            await self.router.stop()
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
        identity = Identity(tab.user, tab.user, "writer", None)
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


class ControllerNode(Node):
    async def _work(self) -> None:
        await Controller(self.parts.map_store, f"{self.name}.{self.starts}", self.world.plan.lease_ttl_s).run()

    async def _stop(self) -> None:
        return
