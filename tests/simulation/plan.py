"""What a seed decides before its run: the size of the cluster, its settings, and which faults there are how often.

Each run has a part of the faults only: with all of them at once nothing would go on long enough to meet the rare ones.
Limits are small, so that paths which take a million edits in the open are walked in a hundred.
"""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any
from unittest.mock import patch

from actors.host import HostLimits
from actors.upkeep import UpkeepSettings
from cluster.cluster_map import ClusterMap, decode_map, encode_map
from cluster.ring import Ring
from coscribe.ot import Limits
from coscribe.protocol import WireLimits
from coscribe.section import WindowLimits
from persistence.flusher import Flusher, FlushLimits
from router.outbox import Outbox
from tests.simulation import faults_of_processes as faults_of_processes
from tests.simulation import faults_of_ways as faults_of_ways
from tests.simulation.weather import WEIGHTS


@dataclass(frozen=True, slots=True)
class Plan:
    hosts: int
    routers: int
    documents: int
    clients: int
    chaos_s: float
    """How long people type while things break; then everything heals."""

    faults: tuple[str, ...]
    fault_every_s: float
    edit_every_s: float
    lease_ttl_s: float
    heartbeat_s: float
    latency_s: float
    slow: float
    """Share of messages and calls that take much longer, in fair weather too."""

    round_s: float
    """CPU time that a round of a room takes."""

    window_frames: int
    ops_per_s: int
    outbox_soft_bytes: int
    upkeep: UpkeepSettings
    window: WindowLimits
    host_idle_ms: int
    flush: FlushLimits
    constants: dict[str, int] = field(default_factory=dict)
    """Limits of the product that are module constants, by dotted name."""

    @property
    def host_limits(self) -> HostLimits:
        return HostLimits(Limits(), self.window, self.host_idle_ms)

    @property
    def wire_limits(self) -> WireLimits:
        return WireLimits(1024 * 1024, 256 * 1024, 4096, self.ops_per_s)

    def without_faults(self) -> "Plan":
        return replace(self, faults=())


def draw_plan(rng: random.Random) -> Plan:
    share = rng.choice((0.15, 0.3, 0.6))
    return Plan(
        hosts=rng.choice((1, 2, 2, 3)),
        routers=rng.choice((1, 2, 2)),
        documents=rng.choice((1, 1, 1, 2)),
        clients=rng.choice((2, 3, 3, 4)),
        chaos_s=rng.uniform(5.0, 12.0),
        faults=tuple(name for name, often in WEIGHTS.items() for _ in range(often) if rng.random() < share),
        fault_every_s=rng.choice((0.4, 1.0, 2.5)),
        edit_every_s=rng.choice((0.15, 0.3, 0.8)),
        lease_ttl_s=rng.choice((1.0, 3.0)),
        heartbeat_s=rng.choice((3.0, 20.0)),
        latency_s=rng.choice((0.0005, 0.005, 0.03)),
        slow=rng.choice((0.0, 0.0, 0.03, 0.1)),
        round_s=rng.choice((0.0, 0.001, 0.02)),
        window_frames=rng.choice((2, 8, 64)),
        ops_per_s=rng.choice((2, 100, 100, 100)),
        outbox_soft_bytes=rng.choice((150, 600, 1024 * 1024)),
        upkeep=UpkeepSettings(
            look_every_s=rng.choice((0.2, 1.0)),
            sweep_every_s=rng.choice((0.7, 3.0)),
            reclaim_every_s=rng.choice((1.0, 120.0)),
            snapshot_entries=rng.choice((4, 20, 1000)),
            snapshot_quiet_ms=rng.choice((300, 2_000)),
            idle_ms=rng.choice((400, 5_000)),
            flush_rest_ms=rng.choice((0, 1_000)),
            flush_latest_ms=rng.choice((200, 5_000)),
            flush_entries=rng.choice((3, 500)),
        ),
        window=WindowLimits(
            entries=rng.choice((4, 40, 4096)), min_age_ms=rng.choice((0, 500, 10_000)),
            hard_entries=rng.choice((8, 65_536)),
        ),
        host_idle_ms=rng.choice((1_000, 300_000)),
        flush=FlushLimits(
            page_entries=rng.choice((3, 250)), chunk_entries=rng.choice((4, 2_000)),
            kept_entries=rng.choice((0, 3, 1_000)),
        ),
        constants=_constants(rng),
    )  # fmt: skip


def _constants(rng: random.Random) -> dict[str, int]:
    small = {
        "coscribe.section.BATCH_ENTRIES": (1, 3),
        "actors.questions.SNAPSHOT_LAG": (0, 4),
        "actors.questions.PAGE_ENTRIES": (1, 5),
        "actors.section_actor.HELD_MOST": (1, 4),
        "actors.section_actor.UNCOMMITTED_MOST": (2, 10),
        "actors.host.LOADING_MOST": (1, 3),
        "router.room.RING_ENTRIES": (1, 6),
        "router.room.REPAIR_PAGE": (2, 4),
    }
    chosen = {name: rng.choice(values) for name, values in small.items() if rng.random() < 0.25}
    return {**chosen, "coscribe.session.COMPOSED_FROM": rng.choice((1, 4, 64))}


@lru_cache(maxsize=1_000)
def _ring_of(encoded: bytes) -> Ring:
    return Ring(decode_map(encoded))


def _cached_ring(cluster_map: ClusterMap) -> Ring:
    """A ring is pure and takes 2 ms to make; every process of every run makes the same few."""
    return _ring_of(encode_map(cluster_map))


@contextmanager
def in_force(plan: Plan, time: Any) -> Iterator[None]:
    """The plan's limits where the product has constants or defaults, and virtual time where it takes a clock itself."""
    with ExitStack() as patches:
        for name, value in plan.constants.items():
            patches.enter_context(patch(name, value))
        patches.enter_context(patch("cluster.watcher.Ring", _cached_ring))
        patches.enter_context(patch("cluster.controller.boot_time", time))
        patches.enter_context(patch("router.connection.Outbox", partial(Outbox, soft_bytes=plan.outbox_soft_bytes)))
        patches.enter_context(patch("actors.upkeep.Flusher", partial(Flusher, limits=plan.flush)))
        patches.enter_context(patch("actors.host_server.HostLimits", lambda *_, **__: plan.host_limits))
        yield
