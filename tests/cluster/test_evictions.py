"""Who is removed from the cluster map, and when nobody may be."""

from collections.abc import Sequence

import msgspec
import pytest

from cluster.cluster_map import ClusterMap, HostEntry, decode_map, encode_map
from cluster.evictions import Evictor, evictions
from persistence.records import Unavailable

TTL_S = 3.0


def cluster_map(*names: str, spare: Sequence[str] = (), draining: Sequence[str] = ()) -> ClusterMap:
    entries = {name: HostEntry(f"{name}:1", f"{name}-a") for name in names}
    entries |= {name: HostEntry(f"{name}:1", f"{name}-a", weight=0) for name in spare}
    entries |= {name: HostEntry(f"{name}:1", f"{name}-a", state="draining") for name in draining}
    return ClusterMap(7, entries)


@pytest.mark.parametrize(
    ("present", "alive", "healthy_s", "expected"),
    [
        pytest.param(cluster_map(), "", 9, [], id="an empty map"),
        pytest.param(cluster_map("a", "b"), "ab", 9, [], id="everyone lives"),
        pytest.param(cluster_map("a", "b"), "a", 9, ["b"], id="one of two is gone"),
        pytest.param(cluster_map("a", "b"), "a", TTL_S, ["b"], id="Redis is trusted after a lease time"),
        pytest.param(cluster_map("a", "b"), "a", 2.9, [], id="Redis is not trusted yet"),
        pytest.param(cluster_map("a", "b"), "a", None, [], id="Redis failed"),
        pytest.param(cluster_map("a"), "", 9, [], id="the only host"),
        pytest.param(cluster_map("a", "b", "c"), "", 9, [], id="everyone at once is Redis, or nobody takes over"),
        pytest.param(cluster_map("a", "b", "c", "d", "e"), "e", 9, ["a", "b"], id="half at once"),
        pytest.param(cluster_map("a", "b", "c"), "c", 9, ["a"], id="one at least"),
        pytest.param(cluster_map("a", spare="b"), "b", 9, [], id="a host of weight 0 takes nothing over"),
        pytest.param(cluster_map("a", draining="b"), "b", 9, [], id="nor does a draining one"),
        pytest.param(cluster_map("a", spare="b", draining="c"), "a", 9, ["b"], id="those are removed too"),
    ],
)
def test_evictions(present: ClusterMap, alive: str, healthy_s: float | None, expected: list[str]) -> None:
    leases = {name: f"{name}-a" if name in alive else None for name in present.hosts}
    healthy_since = None if healthy_s is None else 100 - healthy_s
    assert evictions(present, leases, 100, healthy_since, TTL_S) == expected


def test_a_host_never_removes_itself() -> None:
    present, leases = cluster_map("a", "b", "c"), {"a": None, "b": None, "c": "c-a"}
    assert evictions(present, leases, 100, 0, TTL_S) == ["a"]
    assert evictions(present, leases, 100, 0, TTL_S, "a") == ["b"]
    assert evictions(present, leases | {"b": "b-a"}, 100, 0, TTL_S, "a") == []


def test_a_lease_of_the_successor_counts() -> None:
    assert evictions(cluster_map("a", "b"), {"a": "a-a", "b": "b-second"}, 100, 0, TTL_S) == []


class Store:
    """A map store that a test can stall. `faster`: another writer comes between reading and writing."""

    def __init__(self, present: ClusterMap, alive: str) -> None:
        self.map = present
        self.alive = alive
        self.fails = False
        self.faster = False
        self.dropped: list[str] = []

    async def read(self) -> bytes | None:
        if self.fails:
            raise Unavailable("stalled")
        return encode_map(self.map)

    async def write(self, view: int, encoded: bytes) -> bool:
        if self.faster or view != self.map.view + 1:
            return False
        self.map = decode_map(encoded)
        return True

    async def leases(self, hosts: Sequence[str]) -> Sequence[str | None]:
        return [f"{host}-a" if host in self.alive else None for host in hosts]

    async def renew_lease(self, host: str, instance: str, ttl_ms: int) -> bool:
        return True

    async def drop_lease(self, host: str, instance: str) -> None:
        self.dropped.append(instance)


class Bench:
    """An evictor that looks every half second of a clock which the test moves."""

    def __init__(self, present: ClusterMap, alive: str) -> None:
        self.store = Store(present, alive)
        self.now = 0.0
        self.ended: set[str] = set()
        self.evictor = Evictor(self.store, TTL_S, lambda: self.now, ended=self.ended.__contains__)

    async def run(self, seconds: float) -> list[str]:
        gone: list[str] = []
        end = self.now + seconds
        while self.now < end:
            try:
                gone += await self.evictor.look()
            except Unavailable:
                assert self.store.fails
            self.now += 0.5
        return gone


async def test_the_dead_go_half_by_half_with_a_lease_time_between() -> None:
    bench = Bench(cluster_map("a", "b", "c", "d"), "d")
    assert await bench.run(3.5) == ["a", "b"]
    assert await bench.run(2.5) == []
    assert await bench.run(1) == ["c"]
    assert list(bench.store.map.hosts) == ["d"]


async def test_a_failure_starts_the_trust_anew() -> None:
    bench = Bench(cluster_map("a", "b"), "ab")
    await bench.run(10)
    bench.store.alive, bench.store.fails = "b", True
    assert await bench.run(5) == []
    bench.store.fails = False
    assert await bench.run(2.5) == []
    assert await bench.run(1) == ["a"]


async def test_after_a_pause_of_ours_everyone_may_renew_first() -> None:
    """As when the machine slept: every lease ran out, and hosts renew one after the other."""
    bench = Bench(cluster_map("a", "b"), "ab")
    await bench.run(10)
    bench.now += 3600
    bench.store.alive = "b"
    assert await bench.run(2.5) == []
    bench.store.alive = "ab"
    assert await bench.run(10) == []


async def test_when_every_lease_ran_out_the_first_to_come_back_does_not_evict_the_others() -> None:
    bench = Bench(cluster_map("a", "b", "c"), "abc")
    await bench.run(10)
    bench.store.alive = ""
    assert await bench.run(10) == []
    bench.store.alive = "a"
    assert await bench.run(2.5) == []
    bench.store.alive = "abc"
    assert await bench.run(10) == []


async def test_a_faster_writer_ends_the_round_and_the_next_one_looks_again() -> None:
    bench = Bench(cluster_map("a", "b"), "b")
    bench.store.faster = True
    assert await bench.run(4) == []
    bench.store.faster = False
    assert await bench.run(4) == ["a"]


async def test_an_evicted_host_takes_its_overrides_along() -> None:
    bench = Bench(ClusterMap(7, cluster_map("a", "b").hosts, {"doc": "a", "other": "b"}), "b")
    await bench.run(4)
    assert bench.store.map == ClusterMap(8, cluster_map("b").hosts, {"other": "b"})


async def test_several_evictors_remove_no_more_than_one_would() -> None:
    """Half in one lease time, whoever does it: who sees that another removed somebody waits as long."""
    bench = Bench(cluster_map("a", "b", "c", "d"), "d")
    others = [Evictor(bench.store, TTL_S, lambda: bench.now, name) for name in "dx"]
    gone: list[tuple[float, str]] = []
    while bench.now < 7:
        for evictor in (*others, bench.evictor):
            gone += [(bench.now, name) for name in await evictor.look()]
        bench.now += 0.5
    assert gone == [(3.0, "a"), (3.0, "b"), (6.0, "c")]


def named(present: ClusterMap) -> ClusterMap:
    """Every host has told the name of its process."""
    hosts = {name: msgspec.structs.replace(entry, process=f"process {name}") for name, entry in present.hosts.items()}
    return ClusterMap(present.view, hosts)


async def test_whose_process_is_gone_is_removed_at_once_and_its_lease_too() -> None:
    bench = Bench(named(cluster_map("a", "b")), "ab")
    assert await bench.run(0.5) == []
    assert not bench.evictor.sees_death()
    bench.ended.add("process a")
    assert bench.evictor.sees_death()
    assert await bench.run(0.5) == ["a"]
    assert bench.store.dropped == ["a-a"]
    assert not bench.evictor.sees_death()


async def test_the_only_host_stays_on_the_map_and_its_successor_need_not_wait() -> None:
    bench = Bench(named(cluster_map("a")), "a")
    bench.ended.add("process a")
    assert await bench.run(5) == []
    assert bench.store.dropped == ["a-a"], "once"
    assert not bench.evictor.sees_death(), "that is known, and looking more often does not help"
    successor = msgspec.structs.replace(bench.store.map.hosts["a"], instance="a-b", process="process b")
    bench.store.map = bench.store.map.with_host("a", successor)
    assert await bench.run(5) == []


async def test_all_that_died_are_removed_if_one_serves() -> None:
    bench = Bench(named(cluster_map("a", "b", "c", "d")), "abcd")
    bench.ended |= {"process a", "process b", "process c"}
    assert await bench.run(0.5) == ["a", "b", "c"]
    bench.ended.add("process d")
    assert await bench.run(5) == []


async def test_a_host_that_told_no_process_is_judged_by_its_lease() -> None:
    bench = Bench(cluster_map("a", "b"), "b")
    assert not bench.evictor.sees_death()
    assert await bench.run(2.5) == []
    assert await bench.run(1) == ["a"]
