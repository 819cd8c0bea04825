"""What one process is given: clients of the two stores, over wires of its own."""

import random
from typing import TYPE_CHECKING

from tests.simulation.bus import SimBus
from tests.simulation.loop import Process
from tests.simulation.stores import SimLog, SimMapStore, SimReader, SimRoster, SimStore
from tests.simulation.wires import SimWire

if TYPE_CHECKING:
    from tests.simulation.world import World


class Parts:
    """`who` names the process and which start of its slot it is."""

    def __init__(self, world: "World", process: Process, who: str) -> None:
        self.who = who
        blocked, trace = world.network.blocked, world.trace
        rng = random.Random(f"{world.seed}/{who}/wires")
        redis = SimWire(process, world.redis_service, blocked, rng, trace)
        postgres = SimWire(process, world.postgres_service, blocked, rng, trace)
        self.log = SimLog(world.redis, redis, who)
        self.reader = SimReader(world.redis, redis, who)
        self.map_store = SimMapStore(world.redis, redis)
        self.roster = SimRoster(world.redis, redis)
        self.store = SimStore(world.postgres, postgres)
        self.bus = SimBus(process, world.redis, redis, world.redis_service, blocked, world.bus_rates, rng, trace)

    def close(self) -> None:
        self.bus.close()
