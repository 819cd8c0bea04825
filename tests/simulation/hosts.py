"""Shard hosts: the real running host, lease and links, with a data port on the simulated network."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass

from actors.host_server import HostSettings, RunningHost
from actors.lease import Evicted, Stage
from actors.router_link import RouterLink
from actors.section_actor import Clock
from cluster.stand_in import StandIn
from persistence.records import Unavailable
from tests.simulation.loop import Process
from tests.simulation.network import Closed, End
from tests.simulation.nodes import RESTART_S, Node, nothing
from tests.simulation.parts import Parts


class LinkSocket:
    """Implements actors.router_link.LinkSocket."""

    def __init__(self, end: End) -> None:
        self._end = end

    async def frames(self) -> AsyncIterator[bytes]:
        with contextlib.suppress(Closed):
            while True:
                yield await self._end.receive()

    async def send(self, frame: bytes) -> None:
        try:
            await self._end.send(frame)
        except Closed as closed:
            raise ConnectionResetError(str(closed)) from None

    async def close(self) -> None:
        await self._end.close()


class SimHost(RunningHost):
    """A running host whose data port is on the simulated network."""

    def __init__(self, node: "HostNode", process: Process, parts: Parts, settings: HostSettings) -> None:
        rng = node.rng
        clock = Clock(node.now_ms, rng.random, lambda: f"{parts.who}.{rng.getrandbits(32):08x}")
        super().__init__(
            settings, parts.map_store, parts.bus, parts.log, parts.store, clock, asyncio.get_running_loop().time
        )
        self._network, self._process = node.world.network, process
        self.who = parts.who
        self._open = True

    async def _listen(self) -> str:
        self._network.listen(self.who, self._process, self._accepted)
        return self.who

    def _accepted(self, end: End) -> None:
        socket = LinkSocket(end)
        asyncio.get_running_loop().create_task(self._serve(socket) if self._open else socket.close())

    async def _close_port(self) -> None:
        self._open = False
        self._network.close_port(self.who)
        await super()._close_port()

    async def _serve(self, socket: LinkSocket) -> None:
        self._links[socket] = None  # type: ignore[index]
        try:
            await RouterLink(self.host, socket).serve()
        finally:
            self._links.pop(socket, None)  # type: ignore[call-overload]
            await socket.close()

    async def evicted(self) -> None:
        """Wait until it is: nothing else may end it."""
        try:
            await self.failed()
        except* Evicted:
            pass


class HostNode(Node):
    running: SimHost | None = None

    async def _work(self) -> None:
        plan, process, parts = self.world.plan, self.process, self.parts
        assert process is not None
        self.running = None
        settings = HostSettings(self.name, "", "", "", lease_ttl_s=plan.lease_ttl_s, upkeep=plan.upkeep)
        while True:
            host = SimHost(self, process, parts, settings)
            try:
                await host.start()
                break
            except (Unavailable, Evicted) as error:
                self.world.trace.add("not started", self.name, error)
                await asyncio.sleep(RESTART_S)
        if self.process is process:
            self.running = host
        for zombie in self.world.zombies:
            if zombie.process is process:
                zombie.running = host
        time = asyncio.get_running_loop().time
        stand_in = StandIn(parts.map_store, self.name, plan.lease_ttl_s, time, lambda: host.stage() is Stage.HELD)
        standing_in = asyncio.get_running_loop().create_task(stand_in.run())
        try:
            await host.evicted()
        finally:
            standing_in.cancel()

    def _stop(self) -> Coroutine[None, None, None]:
        return self.running.stop() if self.running else nothing()

    def abandon(self) -> Process | None:
        """It is taken for dead and its slot given to another process, but it lives on. Returns what lives on."""
        process, self.process = self.process, None
        if process is not None:
            process.name += "'" * self.starts
            self.world.trace.add("abandon", self.name, process.name)
            self.world.zombies.append(Zombie(process, self.name, self.running))
            self.running = None
        return process


@dataclass(slots=True)
class Zombie:
    """What was taken for dead. It may go on only while it has the lease of its slot."""

    process: Process
    slot: str
    running: SimHost | None
