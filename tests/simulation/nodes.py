"""Nodes: the slots of a cluster, and the processes in them. Each start is a new process with nothing in memory."""

import asyncio
import random
from collections.abc import Coroutine
from typing import TYPE_CHECKING

from cluster.controller import Controller
from tests.simulation.loop import Process
from tests.simulation.parts import Parts

if TYPE_CHECKING:
    from tests.simulation.world import World

RESTART_S = 0.5


async def nothing() -> None:
    """No phases."""


class Node:
    """A slot and the process that runs in it now, if one does."""

    def __init__(self, world: "World", name: str) -> None:
        self.world, self.name = world, name
        self.rng = random.Random(f"{world.seed}/{name}")
        self.starts = 0
        self.process: Process | None = None
        self.parts: Parts
        self.skew_ms = 0
        self._stopping: Process | None = None

    @property
    def up(self) -> bool:
        return self.process is not None

    def start(self) -> None:
        assert self.process is None
        self.starts += 1
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
        if process is None or self._stopping is process:
            return
        self._stopping = process
        self.world.trace.add("stop", self.name)
        await asyncio.wait((process.start(self._stop()),))
        self._gone(process)

    async def _serve(self, process: Process) -> None:
        """What a supervisor does: start it, and when it has failed, start it again."""
        await self._work()
        if self._stopping is not process:
            self.world.trace.add("failed", self.name)
            self.world.loop.after(0.0, self._failed, process)

    def _failed(self, process: Process) -> None:
        if self.process is process:
            self.world.loop.after(RESTART_S, self.start_again)
        self._gone(process)

    def _gone(self, process: Process) -> None:
        if self.process is process:
            self.kill()
        else:
            process.kill()
            self.world.network.drop_all(process, 0.0)

    def start_again(self) -> None:
        if self.process is None and self.name in self.world.wanted:
            self.start()

    async def _work(self) -> None:
        """Until it fails."""
        raise NotImplementedError

    def _stop(self) -> Coroutine[None, None, None]:
        """What ends the process of now, in phases; another one may have the slot before that is done."""
        return nothing()

    def now_ms(self) -> int:
        return self.world.redis.now_ms() + self.skew_ms


class ControllerNode(Node):
    async def _work(self) -> None:
        await Controller(self.parts.map_store, f"{self.name}.{self.starts}", self.world.plan.lease_ttl_s).run()
