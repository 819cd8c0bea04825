"""What goes wrong, when and for how long: faults drawn from the seed, each undone after a while, and all by `clear`."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from cluster.cluster_map import ClusterMap
from cluster.controller import LEASE_NAME
from tests.simulation.loop import Process
from tests.simulation.nodes import ControllerNode, HostNode, Node, RouterNode

if TYPE_CHECKING:
    from tests.simulation.world import World

T = TypeVar("T")

POINTS = ("activate", "commit", "commit", "mark", "clear", "trim", "release", "renew", "map", "read")
STORE_POINTS = ("durable", "flush", "flush", "snapshot", "newest", "entries")
CALM_S = 1.0  # so that there is something to break
TABS_MOST = 7
HOSTS_MOST = 4


class Weather:
    def __init__(self, world: "World") -> None:
        self.world = world
        self._rng = random.Random(f"{world.seed}/weather")
        self._undo: dict[str, Callable[[], None]] = {}

    async def rage(self) -> None:
        """Until cancelled."""
        plan = self.world.plan
        await asyncio.sleep(CALM_S)
        while plan.faults:
            self.strike(self._rng.choice(plan.faults))
            await asyncio.sleep(self._rng.expovariate(1 / plan.fault_every_s))

    def strike(self, fault: str) -> None:
        """One fault, if there is something it can hit."""
        if fault in self._undo:
            return
        self.world.trace.add("fault", "", fault)
        getattr(self, "_" + fault.replace(" ", "_"))()

    def clear(self) -> None:
        """Everything heals: what was undone stays so, and whoever should be up is started."""
        self.world.trace.add("heal")
        for name in list(self._undo):
            self._end(name)
        for service in (self.world.redis_service, self.world.postgres_service):
            service.trap = service.ambush = None
        self.world.network.heal()
        for name in self.world.wanted:
            node = self.world.nodes[name]
            if node.process:
                node.process.go_on()
            node.start_again()
        for tab in self.world.open_tabs:
            tab.process.go_on()

    def _for(self, name: str, seconds: float, undo: Callable[[], None]) -> None:
        self._undo[name] = undo
        self.world.loop.after(seconds, self._end, name)

    def _end(self, name: str) -> None:
        if undo := self._undo.pop(name, None):
            self.world.trace.add("over", "", name)
            undo()

    def _pick(self, some: Sequence[T]) -> T | None:
        return self._rng.choice(some) if some else None

    def _up(self, kind: type[Node]) -> Node | None:
        return self._pick([node for node in self.world.of(kind) if node.up])

    def _about(self, seconds: float) -> float:
        return self._rng.uniform(0.2, 2.0) * seconds

    # --- Processes ---

    def _crash(self, kind: type[Node]) -> None:
        if (node := self._up(kind)) and node.process:
            self._kill(node, node.process, self._rng.choice((0.0, 0.0, 0.3, 12.0)))

    def _pause(self, name: str, process: Process | None) -> None:
        if process is None or process.paused:
            return
        self.world.trace.add("pause", process.name)
        process.pause()
        seconds = self._rng.choice((0.3, 1.5, 3.0)) * self._about(self.world.plan.lease_ttl_s)
        self._for(f"{name} {process.name}", seconds, process.go_on)

    def _crash_host(self) -> None:
        self._crash(HostNode)

    def _crash_router(self) -> None:
        self._crash(RouterNode)

    def _crash_controller(self) -> None:
        self._crash(ControllerNode)

    def _pause_host(self) -> None:
        if node := self._up(HostNode):
            self._pause("pause", node.process)

    def _pause_router(self) -> None:
        if node := self._up(RouterNode):
            self._pause("pause", node.process)

    def _pause_controller(self) -> None:
        if node := self._up(ControllerNode):
            self._pause("pause", node.process)

    def _pause_client(self) -> None:
        if tab := self._pick(self.world.open_tabs):
            self._pause("pause", tab.process)

    def _stop(self, node: Node, back_after_s: float) -> None:
        async def stop() -> None:
            await node.stop()
            await asyncio.sleep(back_after_s)
            node.start_again()

        self.world.loop.create_task(stop(), context=self.world.loop.outside)

    def _leave_host(self) -> None:
        if node := self._up(HostNode):
            self._stop(node, self._rng.choice((0.1, 2.0)))

    def _stop_router(self) -> None:
        if node := self._up(RouterNode):
            self._stop(node, self._rng.choice((0.1, 2.0)))

    def _join_host(self) -> None:
        number = len(self.world.of(HostNode))
        if number < HOSTS_MOST:
            self.world.add(HostNode(self.world, f"host-{number}"))

    def _place(self) -> None:
        """An operator moves a section."""
        place = self._pick([tab.key.placement() for tab in self.world.tabs.values()])

        def moved(present: ClusterMap) -> ClusterMap:
            host = self._pick(sorted(present.hosts))
            overrides = {place: host} if place and host and self._rng.random() < 0.8 else {}
            return ClusterMap(present.view + 1, present.hosts, overrides)

        self.world.change_map(moved)

    def _clock_jumps(self) -> None:
        if node := self._pick(list(self.world.nodes.values())):
            node.skew_ms = self._rng.choice((0, -600_000, 600_000, self._rng.randint(-2_000, 2_000)))

    def _close_tab(self) -> None:
        tabs = self.world.open_tabs
        if len(tabs) > 1 and (tab := self._pick(tabs)):
            self.world.close_tab(tab)
            if self._rng.random() < 0.7:
                self.world.open_tab()

    def _open_tab(self) -> None:
        if len(self.world.open_tabs) < TABS_MOST:
            self.world.open_tab()

    def _trap(self) -> None:
        """A process dies or stands still right after a store has done what it asked for, before it hears of it."""
        at_redis = self._rng.random() < 0.7
        service = self.world.redis_service if at_redis else self.world.postgres_service
        point = self._rng.choice(POINTS if at_redis else STORE_POINTS)
        dies, half_open_s = self._rng.random() < 0.6, self._rng.choice((0.0, 3.0))

        def snap(process: Process, name: str) -> bool:
            node = self.world.nodes.get(process.name)
            if not name.startswith(point) or node is None or node.process is not process:
                return False
            self.world.trace.add("trap", process.name, name)
            if dies:
                self.world.loop.after(0.0, self._kill, node, process, half_open_s)
            else:
                self._pause("pause", process)
            return True

        service.trap = snap

    def _kill(self, node: Node, process: Process, half_open_s: float) -> None:
        if node.process is process:
            node.kill(half_open_s)
            self.world.loop.after(self._rng.choice((0.2, 1.0, 5.0)), node.start_again)

    # --- Network ---

    def _partition(self) -> None:
        hosts, routers = [n.name for n in self.world.of(HostNode)], [n.name for n in self.world.of(RouterNode)]
        tabs = [tab.name for tab in self.world.open_tabs]
        ways = (routers, hosts), (tabs, routers), (hosts, ["redis"]), (routers, ["redis"]), (hosts, ["postgres"])
        one, other = self._rng.choice((*ways, ([LEASE_NAME], ["redis"])))
        pair = self._rng.choice(one), self._rng.choice(other)
        seconds = self._rng.choice((0.3, 2.0, 2.0, 12.0))
        self.world.trace.add("partition", "", f"{pair[0]} {pair[1]} {seconds}")
        self.world.network.partition(*pair, seconds)

    def _isolate_host(self) -> None:
        """Longer than its lease, while routers still reach it: for a while there are two owners."""
        if node := self._up(HostNode):
            seconds = self.world.plan.lease_ttl_s * self._rng.choice((1.2, 2.5, 4.0))
            self.world.trace.add("isolate", node.name, seconds)
            self.world.network.partition(node.name, "redis", seconds)

    def _ambush(self) -> None:
        """The same, just when a commit of the host is on its way: that arrives when there is another owner."""
        seconds = self.world.plan.lease_ttl_s * self._rng.choice((2.0, 3.0))

        def snap(process: Process, name: str) -> bool:
            if name.startswith("commit"):
                self.world.trace.add("ambush", process.name, name)
                self.world.network.partition(process.name, "redis", seconds)
            return name.startswith("commit")

        self.world.redis_service.ambush = snap

    def _isolate_router(self) -> None:
        """It goes by an old map meanwhile."""
        if node := self._up(RouterNode):
            self.world.network.partition(node.name, "redis", self._about(2.0))

    def _cut(self, kind: str) -> None:
        ends = [end for end in self.world.network.open_ends() if end.name.startswith(kind)]
        if end := self._pick(ends):
            self.world.trace.add("cut", "", end.name)
            first = self._rng.choice((end, end.peer))
            self.world.network.cut(first, self._rng.choice((0.0, 0.2, 3.0, 10.0)))

    def _cut_link(self) -> None:
        self._cut("host")

    def _cut_socket(self) -> None:
        self._cut("tab")

    def _slow_network(self) -> None:
        network = self.world.network
        network.slow = self._rng.choice((0.02, 0.3))
        self._for("slow network", self._about(2.0), lambda: setattr(network, "slow", 0.0))

    # --- Stores ---

    def _redis_down(self) -> None:
        self.world.redis_service.stop()
        self._for("redis down", self._about(1.5), self.world.redis_service.start)

    def _redis_stalls(self) -> None:
        self.world.redis_service.stall()
        self._for("redis stalls", self._about(2.0), self.world.redis_service.go_on)

    def _postgres_down(self) -> None:
        self.world.postgres_service.stop()
        self._for("postgres down", self._about(3.0), self.world.postgres_service.start)

    def _postgres_stalls(self) -> None:
        self.world.postgres_service.stall()
        self._for("postgres stalls", self._about(3.0), self.world.postgres_service.go_on)

    def _loses(self, name: str) -> None:
        service = self.world.redis_service if name == "redis loses" else self.world.postgres_service
        rates, rng = service.rates, self._rng
        rates.lost_replies = rng.choice((0.05, 0.3))
        rates.lost_requests, rates.late = rng.choice((0.0, 0.1)), rng.choice((0.0, 0.05))

        def undo() -> None:
            rates.lost_replies = rates.lost_requests = rates.late = 0.0

        self._for(name, self._about(2.0), undo)

    def _redis_loses(self) -> None:
        self._loses("redis loses")

    def _postgres_loses(self) -> None:
        self._loses("postgres loses")

    def _redis_slow(self) -> None:
        rates = self.world.redis_service.rates
        rates.slow = 0.3
        self._for("redis slow", self._about(2.0), lambda: setattr(rates, "slow", 0.0))

    def _bus_drops(self) -> None:
        rates = self.world.bus_rates
        rates.dropped = self._rng.choice((0.05, 0.5, 1.0))
        self._for("bus drops", self._about(2.0), lambda: setattr(rates, "dropped", 0.0))

    def _bus_cut(self) -> None:
        if (node := self._pick([node for node in self.world.nodes.values() if node.up])) is not None:
            node.parts.bus.cut()
