"""The simulated map store, roster, reader and bus do what the real ones do: one suite on both.

The log and the long-term store have theirs in tests/persistence.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import pytest

from persistence import keys
from persistence.bus import RedisBus
from persistence.log import RedisLog
from persistence.map_store import RedisMapStore
from persistence.presence import RedisRoster
from persistence.reader import RedisLogReader
from persistence.records import Answer, Bus, Log, LogReader, LogState, MapStore
from persistence.redis_client import shared_client
from persistence.script_calls import ScriptCalls
from router.presence import Roster
from tests.persistence.samples import KEY, NEW, OTHER, batch
from tests.simulation.bus import BusRates, SimBus
from tests.simulation.loop import Process, SimLoop
from tests.simulation.redis_server import RedisServer
from tests.simulation.stores import SimLog, SimMapStore, SimReader, SimRoster
from tests.simulation.trace import Trace
from tests.simulation.wires import DirectWire, Service, SimWire

pytestmark = pytest.mark.services

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Ports:
    log: Log
    reader: LogReader
    map_store: MapStore
    roster: Roster
    bus: Bus


Test = Callable[[Ports], Coroutine[None, None, None]]
Play = Callable[[Test], None]


def never(one: str, other: str) -> bool:
    return False


@asynccontextmanager
async def real(url: str) -> AsyncIterator[Ports]:
    log = RedisLog.connect(url)
    async with shared_client(url) as client, ScriptCalls.connect(url) as calls, RedisBus(url) as bus:
        yield Ports(log, RedisLogReader(client), RedisMapStore(client), RedisRoster(calls), bus)
    await log.aclose()


@asynccontextmanager
async def simulated(loop: SimLoop) -> AsyncIterator[Ports]:
    server = RedisServer(lambda: 1_700_000_000_000 + int(loop.time() * 1000))
    process, service, trace, rng = Process(loop, "one"), Service("redis"), Trace(loop.time), random.Random(1)
    wire = SimWire(process, service, never, rng, trace)
    bus = SimBus(process, server, wire, service, never, BusRates(), rng, trace)
    direct = DirectWire()
    yield Ports(
        SimLog(server, direct), SimReader(server, direct), SimMapStore(server, direct), SimRoster(server, direct), bus
    )


@pytest.fixture(params=["redis", "simulated"])
def play(request: pytest.FixtureRequest) -> Play:
    """Run a test of the ports in a loop of the kind that they need."""

    async def run(ports: AbstractAsyncContextManager[Ports], test: Test) -> None:
        async with ports as opened, asyncio.timeout(30):
            await test(opened)

    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        return lambda test: asyncio.run(run(real(url), test))
    loop = SimLoop(lambda message, error: pytest.fail(f"{message}: {error}"))
    return lambda test: loop.play(run(simulated(loop), test))


def test_the_map_goes_view_by_view(play: Play) -> None:
    async def test(ports: Ports) -> None:
        store = ports.map_store
        assert await store.read() is None
        assert [await store.write(view, b"map") for view in (2, 1, 1, 3, 2)] == [False, True, True, False, True]
        assert not await store.write(2, b"another")
        assert await store.read() == b"map"

    play(test)


def test_a_lease_has_one_holder_and_runs_out(play: Play) -> None:
    async def test(ports: Ports) -> None:
        store = ports.map_store
        assert await store.renew_lease("host-0", "first", 50)
        assert not await store.renew_lease("host-0", "second", HOUR_MS)
        assert await store.leases(["host-0", "host-1"]) == ["first", None]
        await asyncio.sleep(0.1)
        assert await store.leases(["host-0"]) == [None]
        assert await store.renew_lease("host-0", "second", HOUR_MS)
        await store.drop_lease("host-0", "first")
        assert await store.leases(["host-0"]) == ["second"]
        await store.drop_lease("host-0", "second")
        assert await store.leases(["host-0"]) == [None]

    play(test)


def test_presences_expire_and_client_ids_have_owners(play: Play) -> None:
    async def test(ports: Ports) -> None:
        roster = ports.roster
        await roster.set("notes", "life1", "ann", b"here", HOUR_MS, b"")
        await roster.set("notes", "life1", "ben", b"there", 50, b"")
        assert await roster.all("notes", "life1") == {"ann": b"here", "ben": b"there"}
        await asyncio.sleep(0.1)
        assert await roster.all("notes", "life1") == {"ann": b"here"}
        assert await roster.set("notes", "life1", "ann", None, HOUR_MS, b"") == ["ben"]
        await roster.set("notes", "life1", "cat", b"here", 80, b"")
        assert await roster.keep("notes", "life1", ["ann", "cat"], HOUR_MS) == ["ann"]
        await asyncio.sleep(0.1)
        assert await roster.all("notes", "life1") == {"cat": b"here"}
        await roster.set("notes", "life1", "cat", None, HOUR_MS, b"")
        assert await roster.all("notes", "life1") == {}
        assert await roster.claim_client("notes", "life1", "client-1", "ann") == "ann"
        assert await roster.claim_client("notes", "life1", "client-1", "ben") == "ann"
        assert await roster.claim_client("notes", "life2", "client-1", "ben") == "ben"

    play(test)


def test_heads_name_the_epoch_of_the_entry_and_not_of_the_owner(play: Play) -> None:
    async def test(ports: Ports) -> None:
        first = (await ports.log.activate(KEY, NEW)).epoch
        assert await ports.reader.heads([KEY, OTHER]) == [(0, 0), None]
        assert await ports.log.commit(KEY, batch(0, 2, first)) is Answer.OK
        await ports.log.activate(KEY, NEW)
        assert await ports.reader.heads([OTHER, KEY]) == [None, (2, first)]
        assert len(await ports.reader.read(KEY, 1, 9)) == 1
        assert await ports.log.unreleased() == [KEY]

    play(test)


def test_a_released_section_vanishes_in_time(play: Play) -> None:
    async def test(ports: Ports) -> None:
        epoch = (await ports.log.activate(KEY, NEW)).epoch
        assert await ports.log.commit(KEY, batch(0, 2, epoch)) is Answer.OK
        assert await ports.log.release(KEY, LogState(epoch, 2), 50)
        assert await ports.log.unreleased() == []
        await asyncio.sleep(0.1)
        assert await ports.log.state(KEY) is None
        assert await ports.reader.read(KEY, 0, 9) == []
        assert await ports.log.commit(KEY, batch(2, 3, epoch)) is Answer.FENCED

    play(test)


def test_the_bus_brings_what_is_committed_and_published_in_order(play: Play) -> None:
    async def test(ports: Ports) -> None:
        heard: list[bytes] = []
        last = asyncio.Event()

        def published(channel: str, message: bytes) -> None:
            heard.append(message)
            if message == b"last":
                last.set()

        ports.bus.listen(published, lambda channel: pytest.fail(f"{channel} was interrupted"))
        await ports.bus.subscribe(keys.channel(KEY))
        await ports.bus.subscribe(keys.CLUSTER_MAP_NOTICE)
        epoch = (await ports.log.activate(KEY, NEW)).epoch
        for base in (0, 0, 2):
            await ports.log.commit(KEY, batch(base, base + 2, epoch))
        await ports.map_store.write(1, b"map")
        await ports.bus.unsubscribe(keys.CLUSTER_MAP_NOTICE)
        await ports.bus.subscribe("another")
        await ports.map_store.write(2, b"map")
        await ports.log.announce(KEY, b"last")
        await last.wait()
        assert heard == [batch(0, 2, epoch).published, batch(2, 4, epoch).published, b"1", b"last"]

    play(test)
