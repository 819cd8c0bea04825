"""A host stands in for a controller that is away, not sooner than its lease time later, and with the same care."""

import asyncio
import contextlib

import pytest

from cluster.controller import LEASE_NAME, Controller
from cluster.stand_in import StandIn
from persistence.records import Unavailable
from tests.actors.maps import MemoryMapStore, cluster_map
from tests.support.virtual_time import virtual_time

TTL_S = 3.0
ROUND_S = 0.5


class Bench:
    """Three hosts, of which host-2 is dead. `present` hold their leases; each look is half a second after the last."""

    def __init__(self, *names: str) -> None:
        self.store = MemoryMapStore(cluster_map(1, "host-0", "host-1", "host-2"))
        self.now, self.holds = 0.0, True
        self.stand_ins = [StandIn(self.store, name, TTL_S, lambda: self.now, lambda: self.holds) for name in names]
        self.alive("host-0", "host-1")

    def alive(self, *names: str) -> None:
        self.store.holders = {name: f"life of {name}" for name in names}

    async def run(self, seconds: float) -> list[str]:
        gone: list[str] = []
        end = self.now + seconds
        while self.now < end:
            for stand_in in self.stand_ins:
                with contextlib.suppress(Unavailable):
                    gone += await stand_in.look()
            self.now += ROUND_S
        return gone


@pytest.fixture
def bench() -> Bench:
    return Bench("host-0")


async def test_while_the_controller_is_there_it_removes_nobody(bench: Bench) -> None:
    bench.alive("host-0", "host-1", LEASE_NAME)
    assert await bench.run(20) == []
    assert bench.store.calls == []  # the map is not even read


async def test_it_begins_when_the_controller_has_been_away_for_a_lease_time(bench: Bench) -> None:
    bench.alive("host-0", "host-1", LEASE_NAME)
    await bench.run(10)
    bench.alive("host-0", "host-1")
    assert await bench.run(TTL_S) == []
    assert await bench.run(ROUND_S) == ["host-2"]
    assert list(bench.store.map.hosts) == ["host-0", "host-1"]


async def test_a_controller_that_comes_back_for_a_moment_begins_it_anew(bench: Bench) -> None:
    assert await bench.run(TTL_S - ROUND_S) == []
    bench.alive("host-0", "host-1", LEASE_NAME)
    assert await bench.run(ROUND_S) == []
    bench.alive("host-0", "host-1")
    assert await bench.run(TTL_S) == []
    assert await bench.run(ROUND_S) == ["host-2"]


async def test_so_does_a_redis_that_fails(bench: Bench) -> None:
    assert await bench.run(TTL_S - ROUND_S) == []
    bench.store.down = True
    assert await bench.run(ROUND_S) == []
    bench.store.down = False
    assert await bench.run(TTL_S) == []
    assert await bench.run(ROUND_S) == ["host-2"]


async def test_one_that_has_not_its_own_lease_removes_nobody(bench: Bench) -> None:
    bench.holds = False
    assert await bench.run(20) == []
    bench.holds = True
    assert await bench.run(TTL_S) == []
    assert await bench.run(ROUND_S) == ["host-2"]


async def test_it_never_removes_itself(bench: Bench) -> None:
    bench.alive("host-1")
    assert await bench.run(20) == ["host-2"]
    assert list(bench.store.map.hosts) == ["host-0", "host-1"]


async def test_nobody_is_removed_while_nobody_serves(bench: Bench) -> None:
    bench.alive()
    assert await bench.run(20) == []


async def test_several_remove_one_once() -> None:
    bench = Bench("host-0", "host-1")
    assert await bench.run(20) == ["host-2"]
    assert bench.store.map.view == 2


async def test_several_at_once_remove_half_in_a_lease_time() -> None:
    bench = Bench("host-0", "host-1")
    bench.store.put(cluster_map(1, *(f"host-{number}" for number in range(6))))
    assert await bench.run(TTL_S + ROUND_S) == ["host-2", "host-3", "host-4"]
    assert await bench.run(TTL_S - ROUND_S) == []
    assert await bench.run(ROUND_S) == ["host-5"]


@virtual_time
async def test_it_runs_beside_a_controller_that_comes_and_goes() -> None:
    """`run` itself, with a controller that works, dies, and finds a map that is right when it comes back."""
    bench = Bench()
    loop = asyncio.get_running_loop()
    stand_in = asyncio.create_task(StandIn(bench.store, "host-0", TTL_S, loop.time, lambda: True).run())
    await asyncio.sleep(TTL_S + 1)
    assert list(bench.store.map.hosts) == ["host-0", "host-1"]
    controller = asyncio.create_task(Controller(bench.store, "one", TTL_S).run())
    await asyncio.sleep(TTL_S)
    bench.store.down = True
    await asyncio.sleep(TTL_S)
    assert not stand_in.done()
    assert not controller.done()
    for task in (stand_in, controller):
        task.cancel()
    await asyncio.gather(stand_in, controller, return_exceptions=True)
