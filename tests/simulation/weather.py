"""What goes wrong, when and for how long: faults drawn from the seed, each undone after a while, and all by `clear`.

The faults themselves are functions that register here; to add one, write one.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from tests.simulation.nodes import Node

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")
N = TypeVar("N", bound=Node)

CALM_S = 1.0  # so that there is something to break

FAULTS: dict[str, Callable[["Weather"], None]] = {}
WEIGHTS: dict[str, int] = {}


def fault(name: str, weight: int = 1) -> Callable[[Callable[["Weather"], None]], Callable[["Weather"], None]]:
    """Register a fault, which strikes if there is something it can hit. The weight is how often it is drawn."""

    def register(strike: Callable[["Weather"], None]) -> Callable[["Weather"], None]:
        FAULTS[name], WEIGHTS[name] = strike, weight
        return strike

    return register


class Weather:
    def __init__(self, world: "World") -> None:
        self.world = world
        self.rng = random.Random(f"{world.seed}/weather")
        self._undo: dict[str, Callable[[], None]] = {}

    async def rage(self) -> None:
        """Until cancelled."""
        plan = self.world.plan
        await asyncio.sleep(CALM_S)
        while plan.faults:
            name = self.rng.choice(plan.faults)
            if name not in self._undo:
                self.world.trace.add("fault", "", name)
                FAULTS[name](self)
            await asyncio.sleep(self.rng.expovariate(1 / plan.fault_every_s))

    def clear(self) -> None:
        """Everything heals, and whoever should be up is started."""
        world = self.world
        world.trace.add("heal")
        for name in list(self._undo):
            self._end(name)
        for service in (world.redis_service, world.postgres_service):
            service.trap = service.ambush = None
        world.network.heal()
        for name in world.wanted:
            node = world.nodes[name]
            if node.process:
                node.process.fuse = None
                node.process.go_on()
            node.start_again()
        for process in (*(tab.process for tab in world.open_tabs), *(zombie.process for zombie in world.zombies)):
            process.fuse = None
            process.go_on()

    # --- What faults use ---

    def lasting(self, name: str, seconds: float, undo: Callable[[], None]) -> None:
        self._undo[name] = undo
        self.world.loop.after(seconds, self._end, name)

    def _end(self, name: str) -> None:
        if undo := self._undo.pop(name, None):
            self.world.trace.add("over", "", name)
            undo()

    def pick(self, some: Sequence[T]) -> T | None:
        return self.rng.choice(some) if some else None

    def up(self, kind: type[N]) -> N | None:
        return self.pick([node for node in self.world.of(kind) if node.up])

    def about(self, seconds: float) -> float:
        return self.rng.uniform(0.2, 2.0) * seconds
