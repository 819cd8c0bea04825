"""A Redis that lost its tail: the server fails over to a replica that was behind, and everything since is gone.

What is kept is a prefix of all that was written, of every kind: logs, marks, the cluster map, leases.
"""

import copy
from functools import partial
from typing import TYPE_CHECKING

from coscribe.names import SectionKey
from tests.simulation.histories import Owner
from tests.simulation.hosts import SimHost
from tests.simulation.loop import Process
from tests.simulation.redis_server import RedisServer

if TYPE_CHECKING:
    from actors.section_actor import SectionActor
    from tests.simulation.world import World

NOT_KEPT = ("now_ms", "witness", "channels")  # subscriptions end with their connections


class Replica:
    """The server as it is now; what is written from here on does not reach it."""

    def __init__(self, server: RedisServer) -> None:
        self._state = {name: copy.deepcopy(kept) for name, kept in vars(server).items() if name not in NOT_KEPT}

    def take_over(self, world: "World") -> None:
        """All connections break, and the server goes on as this one."""
        owners = {key: _owner(world, key, history.newest) for key, history in world.logs.of.items()}
        vars(world.redis).update(self._state)
        world.redis_service.fail_over()
        for key, owner in owners.items():
            world.logs.failed_over(key, world.redis.logs.get(key), owner)


def _owner(world: "World", key: SectionKey, epoch: int) -> Owner | None:
    """Who is active under the newest epoch."""
    for node_process, running in world.hosts_alive():
        actor = running.host.sections.get(key)
        if actor is not None and actor.section.epoch == epoch and not actor.closed:
            excused = partial(_excused, node_process, running, actor, running.host._suspensions)
            return Owner(running.who, excused)
    return None


def _excused(process: Process, running: SimHost, actor: "SectionActor", suspensions: int, revision: int) -> bool:
    gone = not process.alive or running.host._suspensions != suspensions
    return gone or actor._closing or (revision > 0 and actor.section.epoch_at(revision) is None)
