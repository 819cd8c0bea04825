"""What lies between processes and stores fails: connections, whole ways, and the stores at their ends."""

from cluster.controller import LEASE_NAME
from coscribe.protocol import Move
from tests.simulation.failover import Replica
from tests.simulation.hosts import HostNode
from tests.simulation.loop import Process
from tests.simulation.routers import RouterNode
from tests.simulation.weather import Weather, fault


@fault("partition")
def partition(weather: Weather) -> None:
    hosts, routers = [n.name for n in weather.world.of(HostNode)], [n.name for n in weather.world.of(RouterNode)]
    tabs = [tab.name for tab in weather.world.open_tabs]
    ways = (routers, hosts), (tabs, routers), (hosts, ["redis"]), (routers, ["redis"]), (hosts, ["postgres"])
    one, other = weather.rng.choice((*ways, ([LEASE_NAME], ["redis"])))
    zombies = [zombie.process.name for zombie in weather.world.zombies if zombie.process.alive]
    everyone = [*hosts, *routers, *tabs, *zombies, LEASE_NAME, "redis", "postgres"]
    pair = weather.rng.choice(one), weather.rng.choice(other)
    if weather.rng.random() < 0.2:  # any two parts, whether they speak or not
        first, second = weather.rng.sample(everyone, 2)
        pair = first, second
    seconds = weather.rng.choice((0.3, 2.0, 2.0, 12.0))
    weather.world.trace.add("partition", "", f"{pair[0]} {pair[1]} {seconds}")
    weather.world.network.partition(*pair, seconds)


@fault("cut off")
def cut_off(weather: Weather) -> None:
    """One part hears from no other."""
    if node := weather.pick([node for node in weather.world.nodes.values() if node.up]):
        seconds = weather.rng.choice((0.3, 2.0, 12.0))
        weather.world.trace.add("cut off", node.name, seconds)
        others = [*weather.world.nodes, *(tab.name for tab in weather.world.open_tabs), "redis", "postgres"]
        for other in others:
            if other != node.name:
                weather.world.network.partition(node.name, other, seconds)


@fault("isolate host")
def isolate_host(weather: Weather) -> None:
    """Longer than its lease, while routers still reach it: for a while there are two owners."""
    if node := weather.up(HostNode):
        seconds = weather.world.plan.lease_ttl_s * weather.rng.choice((1.2, 2.5, 4.0))
        weather.world.trace.add("isolate", node.name, seconds)
        weather.world.network.partition(node.name, "redis", seconds)


@fault("ambush", weight=2)
def ambush(weather: Weather) -> None:
    """The same, just when a commit of the host is on its way: that arrives when there is another owner."""
    seconds = weather.world.plan.lease_ttl_s * weather.rng.choice((2.5, 4.5))

    def snap(process: Process, name: str) -> bool:
        if name.startswith("commit"):
            weather.world.trace.add("ambush", process.name, name)
            weather.world.network.partition(process.name, "redis", seconds)
        return name.startswith("commit")

    weather.world.redis_service.ambush = snap


@fault("isolate router")
def isolate_router(weather: Weather) -> None:
    """It goes by an old map meanwhile."""
    if node := weather.up(RouterNode):
        weather.world.network.partition(node.name, "redis", weather.about(2.0))


def _cut(weather: Weather, kind: str) -> None:
    ends = [end for end in weather.world.network.open_ends() if end.name.startswith(kind)]
    if end := weather.pick(ends):
        weather.world.trace.add("cut", "", end.name)
        first = weather.rng.choice((end, end.peer))
        weather.world.network.cut(first, weather.rng.choice((0.0, 0.2, 3.0, 10.0)))


@fault("cut link")
def cut_link(weather: Weather) -> None:
    _cut(weather, "host")


@fault("cut socket")
def cut_socket(weather: Weather) -> None:
    _cut(weather, "tab")


@fault("ask to move", weight=2)
def ask_to_move(weather: Weather) -> None:
    """As a router that drains does, but it stays: whoever it asked may come back to it."""
    if (node := weather.up(RouterNode)) and node.router:
        within_s = weather.about(2.0)
        for connection in node.router.connections.values():
            if connection.places:  # welcomed
                connection.send(Move(within_s))


@fault("slow network")
def slow_network(weather: Weather) -> None:
    network = weather.world.network
    network.slow = weather.rng.choice((0.02, 0.3))
    weather.lasting("slow network", weather.about(2.0), lambda: setattr(network, "slow", weather.world.plan.slow))


@fault("redis down")
def redis_down(weather: Weather) -> None:
    weather.world.redis_service.stop()
    weather.lasting("redis down", weather.about(1.5), weather.world.redis_service.start)


@fault("redis stalls")
def redis_stalls(weather: Weather) -> None:
    weather.world.redis_service.stall()
    weather.lasting("redis stalls", weather.about(2.0), weather.world.redis_service.go_on)


@fault("lost tail")
def lost_tail(weather: Weather) -> None:
    """A replica falls behind, and a while later Redis fails over to it."""
    replica = Replica(weather.world.redis)
    seconds = weather.rng.choice((0.02, 0.2, 1.0)) * weather.about(1.0)
    weather.lasting("lost tail", seconds, lambda: replica.take_over(weather.world))


@fault("postgres down")
def postgres_down(weather: Weather) -> None:
    weather.world.postgres_service.stop()
    weather.lasting("postgres down", weather.about(3.0), weather.world.postgres_service.start)


@fault("postgres stalls")
def postgres_stalls(weather: Weather) -> None:
    weather.world.postgres_service.stall()
    weather.lasting("postgres stalls", weather.about(3.0), weather.world.postgres_service.go_on)


def _loses(weather: Weather, name: str) -> None:
    service = weather.world.redis_service if name == "redis loses" else weather.world.postgres_service
    rates, rng = service.rates, weather.rng
    rates.lost_replies = rng.choice((0.05, 0.3))
    rates.lost_requests, rates.late = rng.choice((0.0, 0.1)), rng.choice((0.0, 0.05))

    def undo() -> None:
        rates.lost_replies = rates.lost_requests = rates.late = 0.0

    weather.lasting(name, weather.about(2.0), undo)


@fault("redis loses")
def redis_loses(weather: Weather) -> None:
    _loses(weather, "redis loses")


@fault("postgres loses")
def postgres_loses(weather: Weather) -> None:
    _loses(weather, "postgres loses")


@fault("redis slow")
def redis_slow(weather: Weather) -> None:
    rates = weather.world.redis_service.rates
    rates.slow = 0.3
    weather.lasting("redis slow", weather.about(2.0), lambda: setattr(rates, "slow", weather.world.plan.slow))


@fault("slow map")
def slow_map(weather: Weather) -> None:
    """Everybody goes by an older map for longer, and nobody by the same."""
    service = weather.world.redis_service
    service.sluggish = ("map", weather.rng.choice((1.0, 4.0)))
    weather.lasting("slow map", weather.about(4.0), lambda: setattr(service, "sluggish", None))


@fault("bus drops")
def bus_drops(weather: Weather) -> None:
    rates = weather.world.bus_rates
    rates.dropped = weather.rng.choice((0.05, 0.5, 1.0))
    weather.lasting("bus drops", weather.about(2.0), lambda: setattr(rates, "dropped", 0.0))


@fault("bus cut")
def bus_cut(weather: Weather) -> None:
    if (node := weather.pick([node for node in weather.world.nodes.values() if node.up])) is not None:
        node.parts.bus.cut()
