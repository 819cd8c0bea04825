"""A whole cluster under one seed: the servers, the network, the processes, the people, and those who watch.

`play` runs it: people type while the weather is bad, then everything heals, and within a bounded time all of it must
be at rest and agree.
"""

import asyncio
import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from actors.section_actor import SectionActor
from cluster.cluster_map import ClusterMap, decode_map, encode_map
from coscribe.names import FIRST_SECTION, SectionKey
from persistence.records import Document
from tests.simulation import checkers
from tests.simulation.author import new_alphabet
from tests.simulation.bus import BusRates
from tests.simulation.clients import Tab
from tests.simulation.histories import History
from tests.simulation.hosts import HostNode, SimHost, Zombie
from tests.simulation.loop import Process, SimLoop, Stuck
from tests.simulation.network import Network
from tests.simulation.nodes import ControllerNode, Node
from tests.simulation.plan import Plan, draw_plan, in_force
from tests.simulation.postgres_server import PostgresServer
from tests.simulation.redis_server import RedisServer
from tests.simulation.routers import RouterNode
from tests.simulation.trace import ProductLog, Trace
from tests.simulation.weather import Weather
from tests.simulation.wires import Service

N = TypeVar("N", bound=Node)

START_MS = 1_700_000_000_000
SETTLE_S = 45.0  # longer than the longest backoff and patience in a row
LOOK_EVERY_S = 0.25
DULL = tuple(f" {what} " for what in ("frame", "leases ->", "renew ->", "map ->", "heads ->", "dirty ->"))


@dataclass(frozen=True, slots=True)
class Outcome:
    seed: int
    plan: Plan
    violation: str | None
    digest: str
    lines: list[str]
    steps: int
    entries: int
    settled_s: float

    @property
    def story(self) -> list[str]:
        """The lines without what goes on all the time."""
        return [line for line in self.lines if not any(dull in line for dull in DULL)]


class World:
    def __init__(self, seed: int, plan: Plan | None = None) -> None:
        self.seed = seed
        self.plan = plan or draw_plan(random.Random(f"{seed}/plan"))
        self.violation: str | None = None
        self.loop = SimLoop(self._raised)
        self.trace = Trace(self.loop.time)
        self.network = Network(self.loop, random.Random(f"{seed}/network"), self.trace)
        self.network.delay_s = self.plan.latency_s
        self.network.window_frames = self.plan.window_frames
        self.logs = checkers.Logs(self.fail, self.words)
        self.redis = RedisServer(lambda: START_MS + int(self.loop.time() * 1000), self.logs)
        self.postgres = PostgresServer(self.logs)
        self.redis_service, self.postgres_service = Service("redis"), Service("postgres")
        self.network.slow = self.redis_service.rates.slow = self.plan.slow
        self.redis_service.rates.delay_s = self.plan.latency_s / 2
        self.postgres_service.rates.delay_s = self.plan.latency_s * 3
        self.bus_rates = BusRates()
        self.alphabet = new_alphabet()
        names = [f"notes-{number}" for number in range(self.plan.documents)]
        self.documents = {name: Document(name, "life1", "acme", "user-0", START_MS) for name in names}
        self._words: dict[str, checkers.Words] = {}
        self.typing = True
        self.nodes: dict[str, Node] = {}
        self.wanted: dict[str, None] = {}  # names of the nodes that should be up
        self.tabs: dict[str, Tab] = {}
        self.zombies: list[Zombie] = []
        self._opened = 0
        self._failed = self.loop.create_future()

    # --- What goes wrong ---

    def fail(self, text: str) -> None:
        """The first violation ends the run."""
        if self.violation is None:
            self.violation = text
            self.trace.add("VIOLATION", "", text)
            self._failed.set_result(None)

    def _raised(self, message: str, error: BaseException | None) -> None:
        lines = traceback.format_exception(error) if error else []
        self.fail("".join((message, "\n", *lines)))

    def words(self, document: str) -> checkers.Words:
        return self._words.setdefault(document, checkers.Words(self.fail))

    # --- Who is there ---

    def add(self, node: Node) -> None:
        self.nodes[node.name] = node
        self.wanted[node.name] = None
        node.start()

    def of(self, kind: type[N]) -> list[N]:
        return [node for node in self.nodes.values() if isinstance(node, kind)]

    def open_tab(self) -> Tab:
        self._opened += 1
        document = list(self.documents.values())[self._opened % len(self.documents)]
        key = SectionKey(document.id, document.incarnation, FIRST_SECTION)
        tab = Tab(self, self._opened, key, random.Random(f"{self.seed}/tab-{self._opened}"))
        self.tabs[tab.name] = tab
        self.trace.add("open", tab.name)
        tab.open()
        return tab

    def close_tab(self, tab: Tab) -> None:
        self.trace.add("close", tab.name)
        tab.close()

    @property
    def open_tabs(self) -> list[Tab]:
        return [tab for tab in self.tabs.values() if tab.process.alive]

    def router_addresses(self) -> list[str]:
        return [node.name for node in self.of(RouterNode)]

    def change_map(self, change: Callable[[ClusterMap], ClusterMap]) -> None:
        """As an operator, at the store itself."""
        changed = change(decode_map(self.redis.map[1]) if self.redis.map else ClusterMap())
        self.redis.write_map(changed.view, encode_map(changed))

    # --- A run ---

    async def play(self) -> float:
        """Returns how long it took to settle after everything had healed."""
        for number in range(self.plan.hosts):
            self.add(HostNode(self, f"host-{number}"))
        for number in range(self.plan.routers):
            self.add(RouterNode(self, f"router-{number}"))
        self.add(ControllerNode(self, "controller"))
        for _ in range(self.plan.clients):
            self.open_tab()
        weather = Weather(self)
        raging = self.loop.create_task(weather.rage(), context=self.loop.outside)
        await self._unless_failed(self.plan.chaos_s)
        raging.cancel()
        weather.clear()
        self.typing = False
        healed = self.loop.time()
        while not self.violation and (missing := self._restless()):
            if self.loop.time() - healed > SETTLE_S:
                self.fail(f"not at rest {SETTLE_S:.0f} s after everything healed: {missing}")
            await self._unless_failed(LOOK_EVERY_S)
        if not self.violation:
            self._at_rest()
        return self.loop.time() - healed

    async def _unless_failed(self, seconds: float) -> None:
        await asyncio.wait((self._failed,), timeout=seconds)

    def _restless(self) -> str:
        """What is not done yet, empty when everything is."""
        tabs = self.open_tabs
        waiting = [tab.name for tab in tabs if not tab.at_rest]
        if waiting:
            return f"{', '.join(waiting)} not settled"
        if left := [zombie.process.name for zombie in self.zombies if not self._may_live(zombie)]:
            return f"{', '.join(left)} lost the slot and goes on"
        for key, history in self.logs.of.items():
            head = len(history.entries)
            behind = [tab.name for tab in tabs if tab.key == key and tab.stands != history.head]
            if behind:
                return f"{', '.join(behind)} not at revision {history.head}"
            if owner := self.logs.owes(key):
                return f"{owner} has not appended again what the log lost"
            if self.postgres.durable(key).revision != head:
                return f"Postgres has {self.postgres.durable(key).revision} of {head} entries"
            if any(actor.section.unanswered for actor in self._owners(key, history)):
                return "a commit is not answered"
        return ""

    def _may_live(self, zombie: Zombie) -> bool:
        """One that never got the lease serves nobody and waits for it."""
        holder = self.redis.holders([zombie.slot])[0]
        return not zombie.process.alive or zombie.running is None or zombie.running.instance == holder

    def _at_rest(self) -> None:
        tabs = self.open_tabs
        for tab in tabs:
            tab.look()
            tab.words.at_rest(tab.session.content())
            other = next(other for other in tabs if other.key == tab.key)
            if tab.session.content() != other.session.content():
                self.fail(f"{tab.name} and {other.name} do not read the same")
        for key, history in self.logs.of.items():
            self.words(key.document).at_rest(history.content.delta())
            checkers.at_rest(self.fail, key, history, self.redis, self.postgres)
            self._check_owner(key, history)

    def _check_owner(self, key: SectionKey, history: History) -> None:
        for actor in self._owners(key, history):
            found = actor.section.snapshot(actor.section.committed_revision)
            if found is None or found.revision != len(history.entries):
                self.fail("the owner has no snapshot of the newest revision")
            else:
                self.logs.seen("the owner", key, found.revision, found.epoch, found.content)
                self.logs.on_line("the owner", key, found.revision, found.epoch)

    def _owners(self, key: SectionKey, history: History) -> list[SectionActor]:
        """The owner under the newest epoch, if it is active: one at most."""
        actors = [found.host.sections[key] for _, found in self.hosts_alive() if key in found.host.sections]
        return [actor for actor in actors if actor.section.epoch == history.epoch]

    def hosts_alive(self) -> list[tuple[Process, SimHost]]:
        """Also those that stand still, or that others take for dead."""
        found = [(node.process, node.running) for node in self.of(HostNode)]
        found += [(zombie.process, zombie.running) for zombie in self.zombies]
        return [(process, running) for process, running in found if process and process.alive and running]

    def end(self) -> None:
        for node in self.nodes.values():
            node.kill()
        for process in (*(tab.process for tab in self.open_tabs), *(zombie.process for zombie in self.zombies)):
            process.kill()


def play(seed: int, plan: Plan | None = None) -> Outcome:
    """One run, from beginning to end."""
    world = World(seed, plan)
    settled_s = -1.0
    with in_force(world.plan, world.loop.time), ProductLog(world.trace, world._raised).listening():
        try:
            settled_s = world.loop.play(_play_and_end(world))
        except Stuck as stuck:
            world.fail(str(stuck))
    entries = sum(len(history.entries) for history in world.logs.of.values())
    lines = world.trace.lines
    return Outcome(seed, world.plan, world.violation, world.trace.digest, lines, world.loop.steps, entries, settled_s)


async def _play_and_end(world: World) -> float:
    try:
        return await world.play()
    finally:
        world.end()
