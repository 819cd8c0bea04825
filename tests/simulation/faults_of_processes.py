"""Hosts, routers, the controller and people's tabs crash, stand still, come and go."""

import asyncio
from functools import partial

from cluster.cluster_map import ClusterMap
from tests.simulation.hosts import HostNode
from tests.simulation.loop import Process
from tests.simulation.nodes import ControllerNode, Node
from tests.simulation.routers import RouterNode
from tests.simulation.weather import Weather, fault

POINTS = ("activate", "commit", "commit", "mark", "clear", "trim", "release", "renew", "map", "read")
STORE_POINTS = ("durable", "flush", "flush", "snapshot", "newest", "entries")
TABS_MOST = 7
HOSTS_MOST = 4


def _crash(weather: Weather, kind: type[Node]) -> None:
    if (node := weather.up(kind)) and node.process:
        _kill(weather, node, node.process, weather.rng.choice((0.0, 0.0, 0.3, 12.0)))


def _pause(weather: Weather, process: Process | None) -> None:
    if process is None or process.paused:
        return
    weather.world.trace.add("pause", process.name)
    process.pause()
    seconds = weather.rng.choice((0.3, 1.5, 3.0)) * weather.about(weather.world.plan.lease_ttl_s)
    weather.lasting(f"pause {process.name}", seconds, process.go_on)


@fault("crash host")
def crash_host(weather: Weather) -> None:
    _crash(weather, HostNode)


@fault("crash at a step", weight=2)
def crash_at_a_step(weather: Weather) -> None:
    """At any await: after so many steps of the process, whatever it is about to do then."""
    node = weather.pick([node for node in weather.world.nodes.values() if node.up])
    if node is not None and (process := node.process) is not None:
        half_open_s = weather.rng.choice((0.0, 0.0, 3.0))
        process.fuse = weather.rng.randrange(150), partial(_kill, weather, node, process, half_open_s)


@fault("crash router")
def crash_router(weather: Weather) -> None:
    _crash(weather, RouterNode)


@fault("crash controller")
def crash_controller(weather: Weather) -> None:
    _crash(weather, ControllerNode)


@fault("no controller")
def no_controller(weather: Weather) -> None:
    """It stays away, and a host dies and stays away: another host must remove it from the map."""
    dead = [weather.up(ControllerNode), weather.up(HostNode)]
    seconds = weather.rng.uniform(3.0, 5.0) * weather.world.plan.lease_ttl_s
    for node in dead:
        if node is not None:
            node.kill(weather.rng.choice((0.0, 3.0)))
            weather.world.wanted.pop(node.name)
            weather.lasting(f"without {node.name}", seconds, partial(_want, node))


def _want(node: Node) -> None:
    node.world.wanted[node.name] = None
    node.start_again()


@fault("pause host")
def pause_host(weather: Weather) -> None:
    if node := weather.up(HostNode):
        _pause(weather, node.process)


@fault("pause router")
def pause_router(weather: Weather) -> None:
    if node := weather.up(RouterNode):
        _pause(weather, node.process)


@fault("pause controller")
def pause_controller(weather: Weather) -> None:
    if node := weather.up(ControllerNode):
        _pause(weather, node.process)


@fault("pause client")
def pause_client(weather: Weather) -> None:
    if tab := weather.pick(weather.world.open_tabs):
        _pause(weather, tab.process)


def _stop(weather: Weather, node: Node, back_after_s: float) -> None:
    async def stop() -> None:
        await node.stop()
        await asyncio.sleep(back_after_s)
        node.start_again()

    weather.world.loop.create_task(stop(), context=weather.world.loop.outside)


@fault("leave host")
def leave_host(weather: Weather) -> None:
    if node := weather.up(HostNode):
        _stop(weather, node, weather.rng.choice((0.1, 2.0)))


@fault("stop router")
def stop_router(weather: Weather) -> None:
    if node := weather.up(RouterNode):
        _stop(weather, node, weather.rng.choice((0.1, 2.0)))


@fault("abandon host")
def abandon_host(weather: Weather) -> None:
    """It cannot reach Redis, its supervisor believes it dead, and there are two processes of one slot."""
    node = weather.up(HostNode)
    if node is None or (process := node.abandon()) is None:
        return
    node.start()
    weather.world.network.partition(
        process.name, "redis", weather.world.plan.lease_ttl_s * weather.rng.choice((0.5, 2.0))
    )
    if weather.rng.random() < 0.3:
        _pause(weather, process)


@fault("join host")
def join_host(weather: Weather) -> None:
    number = len(weather.world.of(HostNode))
    if number < HOSTS_MOST:
        weather.world.add(HostNode(weather.world, f"host-{number}"))


@fault("place")
def place(weather: Weather) -> None:
    """An operator moves a section."""
    place = weather.pick(sorted({tab.key.placement() for tab in weather.world.tabs.values()}))

    def moved(present: ClusterMap) -> ClusterMap:
        host = weather.pick(sorted(present.hosts))
        overrides = {place: host} if place and host and weather.rng.random() < 0.8 else {}
        return ClusterMap(present.view + 1, present.hosts, overrides)

    weather.world.change_map(moved)


@fault("clock jumps")
def clock_jumps(weather: Weather) -> None:
    if node := weather.pick(list(weather.world.nodes.values())):
        node.skew_ms = weather.rng.choice((0, -600_000, 600_000, weather.rng.randint(-2_000, 2_000)))


@fault("close tab")
def close_tab(weather: Weather) -> None:
    tabs = weather.world.open_tabs
    if len(tabs) > 1 and (tab := weather.pick(tabs)):
        weather.world.close_tab(tab)
        if weather.rng.random() < 0.7:
            weather.world.open_tab()


@fault("open tab")
def open_tab(weather: Weather) -> None:
    if len(weather.world.open_tabs) < TABS_MOST:
        weather.world.open_tab()


@fault("trap", weight=3)
def trap(weather: Weather) -> None:
    """A process dies or stands still right after a store has done what it asked for, before it hears of it."""
    at_redis = weather.rng.random() < 0.7
    service = weather.world.redis_service if at_redis else weather.world.postgres_service
    point = weather.rng.choice(POINTS if at_redis else STORE_POINTS)
    dies, half_open_s = weather.rng.random() < 0.6, weather.rng.choice((0.0, 3.0))

    def snap(process: Process, name: str) -> bool:
        node = weather.world.nodes.get(process.name)
        if not name.startswith(point) or node is None or node.process is not process:
            return False
        weather.world.trace.add("trap", process.name, name)
        if dies:
            weather.world.loop.after(0.0, _kill, weather, node, process, half_open_s)
        else:
            _pause(weather, process)
        return True

    service.trap = snap


def _kill(weather: Weather, node: Node, process: Process, half_open_s: float) -> None:
    if node.process is process:
        node.kill(half_open_s)
        weather.world.loop.after(weather.rng.choice((0.2, 1.0, 5.0)), node.start_again)
