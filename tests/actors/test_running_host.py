"""A host on its real port, with lease, map and stores in memory: what it does when it may not own anything any more.

The port is real, so time is too: the lease is short, and tests wait for what must happen, not for how long it takes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from actors.host_server import HostSettings, RunningHost
from actors.lease import Evicted, Stage
from actors.section_actor import SectionActor
from cluster.cluster_map import HostEntry
from coscribe import link
from coscribe.protocol import NackCode
from persistence.records import Interrupted, Published, Unavailable
from tests.actors.maps import MemoryMapStore, op
from tests.actors.owners import KEY, Time, moved
from tests.actors.stores import MemoryLog, MemoryStore

TTL_S = 0.4
SECRET = "a secret of the tests"


class MemoryBus:
    """Implements records.Bus, and carries nothing: maps are read now and then."""

    def listen(self, published: Published, interrupted: Interrupted) -> None: ...

    async def subscribe(self, channel: str) -> None: ...

    async def unsubscribe(self, channel: str) -> None: ...

    async def publish(self, channel: str, message: bytes) -> None: ...


class Site:
    """What hosts share."""

    def __init__(self) -> None:
        self.map = MemoryMapStore()
        self.log, self.store, self.time = MemoryLog(), MemoryStore(), Time()
        self.stores: tuple[Path, ...] = ()
        self.disk_free_bytes = 0
        self.stands_at: float | None = None  # the clock of leases, when a test moves it

    def _lease_time(self) -> float:
        return asyncio.get_running_loop().time() if self.stands_at is None else self.stands_at

    def host(self, name: str = "host-0") -> RunningHost:
        settings = HostSettings(
            name, "", "", SECRET, lease_ttl_s=TTL_S, stores=self.stores, disk_free_bytes=self.disk_free_bytes
        )
        clock = self.time.clock()
        return RunningHost(settings, self.map, MemoryBus(), self.log, self.store, clock, self._lease_time)

    @asynccontextmanager
    async def running(self, name: str = "host-0") -> AsyncIterator[RunningHost]:
        host = self.host(name)
        await host.start()
        try:
            yield host
        finally:
            await host.stop()


@asynccontextmanager
async def router(
    host: RunningHost, secret: str = SECRET, offered: Iterable[str] = link.LINK_SUBPROTOCOLS
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(
            f"http://{host.address}{link.LINK_PATH}",
            protocols=list(offered),
            headers={"Authorization": f"Bearer {secret}"},
        ) as socket,
    ):
        yield socket


async def say(socket: aiohttp.ClientWebSocketResponse, *messages: link.ToHost) -> None:
    await socket.send_bytes(link.encode(link.HostFrame(0, list(messages))))


async def hear(socket: aiohttp.ClientWebSocketResponse) -> list[link.ToRouter]:
    return link.decode_router_frame(await socket.receive_bytes()).messages


async def until(reached: Callable[[], bool]) -> None:
    while not reached():  # noqa: ASYNC110 - what is waited for says nothing of itself
        await asyncio.sleep(0.005)


async def active(host: RunningHost) -> SectionActor:
    """The owner of a section on which something was typed."""
    async with router(host) as socket:
        await say(socket, op(1), link.FetchSnapshot(KEY, 1, True))
        await hear(socket)
    return host.host.sections[KEY]


# --- Start ---


async def test_it_joins_the_map_under_its_address_and_serves_links() -> None:
    site = Site()
    async with site.running() as host, router(host) as socket:
        assert site.map.map.hosts == {"host-0": HostEntry(host.address, host.instance)}
        assert site.map.holders == {"host-0": host.instance}
        await say(socket, op(1), link.FetchSnapshot(KEY, 7, True))
        (answer,) = await hear(socket)
        assert isinstance(answer, link.SnapshotIs)
        assert (answer.request, answer.revision) == (7, 1)
    assert site.map.map.hosts == {}
    assert site.map.holders == {}


async def test_a_stranger_is_turned_away() -> None:
    site = Site()
    async with site.running() as host:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with router(host, "another secret"):
                pass
        assert refused.value.status == 401
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(
                f"http://{host.address}{link.LINK_PATH}", headers={"Authorization": f"Bearer {SECRET}"}
            ) as socket,
        ):
            closed = await socket.receive()
            assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 4400)
            assert closed.extra == "this host speaks coscribe-link.v1"


@pytest.mark.parametrize(
    ("offered", "taken"),
    [(["coscribe-link.v2", "coscribe-link.v1"], "coscribe-link.v1"), (["coscribe-link.v3", "coscribe-link.v2"], None)],
)
async def test_a_router_of_the_next_version_is_served_and_one_further_on_is_told_why_not(
    offered: list[str], taken: str | None
) -> None:
    site = Site()
    async with site.running() as host, router(host, offered=offered) as socket:
        assert socket.protocol == taken
        if taken:
            await say(socket, op(1), link.FetchSnapshot(KEY, 7, True))
            assert len(await hear(socket)) == 1
        else:
            closed = await socket.receive()
            assert (closed.data, closed.extra) == (4400, "this host speaks coscribe-link.v1")


async def test_the_same_slot_is_not_started_twice() -> None:
    site = Site()
    async with site.running() as host:
        second = site.host()
        with pytest.raises(Evicted):
            await second.start()
        assert site.map.map.hosts["host-0"].instance == host.instance
        with pytest.raises(OSError):
            await asyncio.open_connection(*second.address.split(":"))  # its port is closed again


async def test_a_start_without_the_map_leaves_nothing_open() -> None:
    site = Site()
    site.map.down = True
    host = site.host()
    with pytest.raises(Unavailable):
        await host.start()
    with pytest.raises(OSError):
        await asyncio.open_connection(*host.address.split(":"))


# --- The disk ---


async def test_with_less_free_on_its_disk_than_it_wants_it_takes_no_operation_and_reading_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.host_server.LOOK_EVERY_S", 0.02)
    site = Site()
    site.stores, site.disk_free_bytes = (tmp_path,), 2**62
    async with site.running() as host, router(host) as socket:
        await say(socket, op(1), link.FetchSnapshot(KEY, 1, True))
        refused, snapshot = await hear(socket)
        assert isinstance(refused, link.Refusal)
        assert (refused.code, refused.message) == (NackCode.UNAVAILABLE, "the server's disk is nearly full")
        assert isinstance(snapshot, link.SnapshotIs)
        assert snapshot.revision == 0
        monkeypatch.setattr("persistence.disk._free_bytes", lambda folder: 2**63)
        await until(lambda: not host.host.backlog.disk_short)
        await active(host)


# --- The lease ---


async def test_a_stalled_store_of_leases_stops_an_owner_before_its_lease_can_be_anothers() -> None:
    site = Site()
    async with site.running() as host:
        await active(host)
        site.map.stall()
        await until(lambda: not host.host.sections)
        async with router(host) as socket:
            await say(socket, op(2))
            assert await hear(socket) == [moved(op(2))]
        site.map.go_on()
        await until(lambda: host.host._serving)
        await active(host)


async def test_so_does_one_that_is_down() -> None:
    site = Site()
    async with site.running() as host:
        await active(host)
        site.map.down = True
        await until(lambda: not host.host.sections)
        site.map.down = False
        await until(lambda: host.host._serving)


async def test_by_the_time_of_its_lease_it_puts_off_and_then_stops_though_no_timer_fired() -> None:
    """As when the machine slept: the clock of leases has gone on, that of timers has not."""
    site = Site()
    site.stands_at = 0.0
    async with site.running() as host, router(host) as socket:
        actor = await active(host)
        site.map.down = True
        await until(lambda: host.stage() is Stage.HELD and site.map.calls[-1].startswith("renew"))
        site.stands_at += 0.7 * TTL_S
        await say(socket, op(2))
        (answer,) = await hear(socket)
        assert isinstance(answer, link.Refusal)
        assert (answer.code, answer.retry_after_s) == (NackCode.UNAVAILABLE, 0.5)
        assert not actor.closed
        site.map.down = False
        await until(lambda: host.stage() is Stage.HELD)
        await say(socket, op(2), link.FetchSnapshot(KEY, 8, True))
        assert isinstance((await hear(socket))[0], link.SnapshotIs)
        site.map.down = True
        site.stands_at += TTL_S
        await say(socket, op(3))
        assert await hear(socket) == [moved(op(3))]
        assert actor.closed
        site.map.down = False
        await until(lambda: host.host._serving)


async def test_who_has_lost_its_slot_cannot_go_on() -> None:
    site = Site()
    async with site.running() as host:
        await active(host)
        theirs = HostEntry("127.0.0.1:1", "another process")
        site.map.holders["host-0"] = theirs.instance
        site.map.put(site.map.map.with_host("host-0", theirs))
        with pytest.raises(BaseExceptionGroup) as failed:
            await host.failed()
        assert failed.value.subgroup(Evicted)
        assert not host.host.sections
    assert site.map.holders == {"host-0": theirs.instance}
    assert site.map.map.hosts == {"host-0": theirs}


async def test_who_lost_it_for_a_moment_goes_on() -> None:
    site = Site()
    async with site.running() as host:
        site.map.holders["host-0"] = "another process"
        await until(lambda: not host.host._serving)
        del site.map.holders["host-0"]
        await until(lambda: host.host._serving)


@pytest.mark.parametrize("entry", [None, HostEntry("127.0.0.1:1", "the process before")])
async def test_who_holds_the_slot_is_on_the_map(entry: HostEntry | None) -> None:
    """It was evicted while it stalled; or the map's store lost its last write."""
    site = Site()
    async with site.running() as host:
        present = site.map.map
        site.map.put(present.with_host("host-0", entry) if entry else present.without_host("host-0"))
        await until(lambda: site.map.map.hosts.get("host-0") == HostEntry(host.address, host.instance))


# --- A fault of our own, and the end ---


@pytest.mark.parametrize("part", ["_watcher", "_upkeep", "_lease"])
async def test_when_a_part_of_it_ends_it_serves_nothing(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site()
    host = site.host()
    taken = False

    async def ends(*_: object) -> bool:
        nonlocal taken
        if part == "_lease" and not taken:  # at its start
            taken = True
            return True
        raise LookupError("a mistake of ours")

    monkeypatch.setattr(type(getattr(host, part)), "renew" if part == "_lease" else "run", ends)
    await host.start()
    with pytest.raises(BaseExceptionGroup) as failed:
        await host.failed()
    assert failed.value.subgroup(LookupError)
    assert not host.host._serving
    await host.stop()


async def test_stopping_leaves_the_map_though_a_section_cannot_be_flushed() -> None:
    site = Site()
    async with site.running() as host:
        await active(host)
        site.store.failures.extend([LookupError("a mistake of ours")] * 9)
    assert site.map.map.hosts == {}
    assert [entry.revision for entry in site.log.committed(KEY)] == [1]


async def test_stopping_without_the_map_still_hands_off() -> None:
    site = Site()
    async with site.running() as host:
        actor = await active(host)
        site.map.down = site.store.down = True
    assert actor.closed
