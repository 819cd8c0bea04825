"""The cluster map as a process follows it: never older than what it was asked for, applied one after the other."""

import asyncio

import pytest

from cluster.cluster_map import HostEntry, encode_map
from cluster.watcher import JOIN_TRIES, POLL_S, MapWatcher, change_map, join_map
from coscribe.names import SectionKey
from persistence.records import Unavailable
from tests.actors.maps import MemoryMapStore, cluster_map
from tests.support.virtual_time import until_idle, virtual_time

KEY = SectionKey("notes", "life1", "0")
ENTRY = HostEntry("127.0.0.1:7000", "one life")


# --- Refreshing ---


@virtual_time
async def test_before_there_is_a_map_nobody_owns_anything() -> None:
    watcher = MapWatcher(MemoryMapStore())
    await watcher.refresh()
    assert (watcher.ring.view, watcher.ring.owner(KEY)) == (0, None)


@virtual_time
async def test_a_view_that_is_known_is_not_read_again() -> None:
    store = MemoryMapStore(cluster_map(3, "a"))
    watcher = MapWatcher(store)
    await watcher.refresh()
    await watcher.refresh(3)
    await watcher.refresh(2)
    assert store.calls == ["read"]
    await watcher.refresh()
    assert store.calls == ["read"] * 2


@virtual_time
async def test_many_who_ask_share_a_read() -> None:
    store = MemoryMapStore(cluster_map(3, "a"))
    watcher = MapWatcher(store)
    await asyncio.gather(*(watcher.refresh(3) for _ in range(20)))
    assert watcher.ring.view == 3
    assert len(store.calls) <= 2


@pytest.mark.parametrize("view", [4, 0])
@virtual_time
async def test_a_read_that_began_before_is_not_new_enough(view: int) -> None:
    """The view that somebody tells of may have been written since."""
    store = MemoryMapStore(cluster_map(3, "a"))
    watcher = MapWatcher(store)
    store.stall()
    before = asyncio.create_task(watcher.refresh())
    await until_idle()
    store.put(cluster_map(4, "a", "b"))
    asking = asyncio.create_task(watcher.refresh(view))
    await until_idle()
    assert not asking.done()
    store.go_on()
    await asking
    assert watcher.ring.view == 4
    await before


@virtual_time
async def test_a_map_that_went_back_counts_for_the_store_has_lost_what_was_newer() -> None:
    """Who went on from the lost one would send everything to hosts that turn it away, for ever."""
    store = MemoryMapStore(cluster_map(4, "a"))
    watcher = MapWatcher(store)
    await watcher.refresh()
    store.put(cluster_map(3, "b"))
    await watcher.refresh()
    assert watcher.ring.view == 3
    store.put(cluster_map(3, "c"))
    await watcher.refresh()
    assert list(watcher.ring.map.hosts) == ["c"]


@virtual_time
async def test_a_store_that_is_down_is_said_to_all_and_tried_by_the_next() -> None:
    store = MemoryMapStore(cluster_map(4, "a"))
    store.down = True
    watcher = MapWatcher(store)
    asked = await asyncio.gather(*(watcher.refresh() for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in asked] == [Unavailable] * 3
    store.down = False
    await watcher.refresh()
    assert watcher.ring.view == 4


@virtual_time
async def test_who_gives_up_waiting_does_not_end_the_read_of_others() -> None:
    store = MemoryMapStore(cluster_map(4, "a"))
    watcher = MapWatcher(store)
    store.stall()
    impatient, patient = asyncio.create_task(watcher.refresh()), asyncio.create_task(watcher.refresh(4))
    await until_idle()
    impatient.cancel()
    await until_idle()
    store.go_on()
    await patient
    assert watcher.ring.view == 4


# --- Following ---


class Follower:
    """A process that follows the map, and takes its time over a change if `slow`."""

    def __init__(self, store: MemoryMapStore) -> None:
        self.watcher = MapWatcher(store, self._changed)
        self.seen: list[int] = []
        self.done = asyncio.Event()
        self.done.set()
        self.faults: list[Exception] = []
        self.task = asyncio.create_task(self.watcher.run())

    async def _changed(self) -> None:
        self.seen.append(self.watcher.ring.view)
        if self.faults:
            raise self.faults.pop()
        await self.done.wait()

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@virtual_time
async def test_a_notice_is_followed_at_once_and_a_lost_one_soon() -> None:
    store = MemoryMapStore(cluster_map(1, "a"))
    follower = Follower(store)
    await until_idle()
    assert follower.seen == [1]
    store.put(cluster_map(2, "a", "b"))
    follower.watcher.notice()
    await until_idle()
    assert follower.seen == [1, 2]
    store.put(cluster_map(3, "b"))
    await until_idle()
    assert follower.seen == [1, 2]
    await asyncio.sleep(POLL_S)
    await until_idle()
    assert follower.seen == [1, 2, 3]
    await follower.end()


@virtual_time
async def test_a_map_that_did_not_change_is_no_change() -> None:
    follower = Follower(MemoryMapStore(cluster_map(1, "a")))
    await asyncio.sleep(5 * POLL_S)
    assert follower.seen == [1]
    await follower.end()


@virtual_time
async def test_a_notice_while_a_change_is_applied_is_not_lost() -> None:
    store = MemoryMapStore(cluster_map(1, "a"))
    follower = Follower(store)
    follower.done.clear()
    await until_idle()
    store.put(cluster_map(2, "a", "b"))
    follower.watcher.notice()
    await until_idle()
    assert follower.seen == [1]
    follower.done.set()
    await until_idle()
    assert follower.seen == [1, 2]
    await follower.end()


@virtual_time
async def test_a_newer_map_that_came_meanwhile_is_a_change_of_its_own() -> None:
    store = MemoryMapStore(cluster_map(1, "a"))
    follower = Follower(store)
    follower.done.clear()
    await until_idle()
    store.put(cluster_map(2, "a", "b"))
    await follower.watcher.refresh()  # by a link frame
    follower.done.set()
    await asyncio.sleep(POLL_S)
    await until_idle()
    assert follower.seen == [1, 2]
    await follower.end()


@pytest.mark.parametrize("fault", [Unavailable("the log is down"), LookupError("a mistake of ours")])
@virtual_time
async def test_a_change_that_could_not_be_applied_is_tried_again(fault: Exception) -> None:
    store = MemoryMapStore(cluster_map(1, "a"))
    follower = Follower(store)
    follower.faults.append(fault)
    await asyncio.sleep(POLL_S)
    await until_idle()
    assert follower.seen == [1, 1]
    await follower.end()


@virtual_time
async def test_no_trouble_ends_it() -> None:
    store = MemoryMapStore(cluster_map(1, "a"))
    follower = Follower(store)
    await until_idle()
    store.down = True
    await asyncio.sleep(3 * POLL_S)
    store.down = False
    store.encoded = b"no map of ours"
    await asyncio.sleep(3 * POLL_S)
    store.put(cluster_map(2, "a"))
    await asyncio.sleep(3 * POLL_S)
    assert follower.seen == [1, 2]
    await follower.end()


# --- Changing ---


@virtual_time
async def test_the_first_host_makes_the_map() -> None:
    store = MemoryMapStore()
    joined = await join_map(store, "host-0", ENTRY)
    assert (joined.view, joined.hosts) == (1, {"host-0": ENTRY})
    assert store.map == joined


@virtual_time
async def test_joining_again_changes_nothing() -> None:
    store = MemoryMapStore()
    await join_map(store, "host-0", ENTRY)
    assert (await join_map(store, "host-0", ENTRY)).view == 1
    assert (await join_map(store, "host-0", HostEntry("127.0.0.1:7001", "another life"))).view == 2
    assert store.map.hosts["host-0"].instance == "another life"


@virtual_time
async def test_who_joins_again_keeps_what_its_operator_set() -> None:
    """A drain must survive a restart of the host."""
    store = MemoryMapStore()
    await join_map(store, "host-0", ENTRY)
    drained = HostEntry(ENTRY.address, ENTRY.instance, weight=3, state="draining")
    store.put(store.map.with_host("host-0", drained))
    assert (await join_map(store, "host-0", ENTRY)).view == 2
    await join_map(store, "host-0", HostEntry("127.0.0.1:7001", "another life"))
    assert store.map.hosts["host-0"] == HostEntry("127.0.0.1:7001", "another life", weight=3, state="draining")


@virtual_time
async def test_all_who_join_at_once_are_there() -> None:
    store = MemoryMapStore()
    await asyncio.gather(*(join_map(store, f"host-{number}", ENTRY) for number in range(8)))
    assert sorted(store.map.hosts) == [f"host-{number}" for number in range(8)]
    assert store.map.view == 8


@virtual_time
async def test_who_is_always_too_late_gives_up() -> None:
    store = MemoryMapStore(cluster_map(1, "a"))

    async def another_is_faster(view: int, encoded: bytes) -> bool:
        store.calls.append("write")
        return False

    store.write = another_is_faster  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await change_map(store, lambda present: present.without_host("a"))
    assert store.calls.count("write") == JOIN_TRIES


@virtual_time
async def test_a_change_sees_the_present_map_each_time() -> None:
    store = MemoryMapStore(cluster_map(1, "a"))
    write, tries = store.write, 0

    async def once_too_late(view: int, encoded: bytes) -> bool:
        nonlocal tries
        tries += 1
        if tries == 1:
            store.encoded = encode_map(cluster_map(2, "a", "b"))
        return await write(view, encoded)

    store.write = once_too_late  # type: ignore[method-assign]
    changed = await change_map(store, lambda present: present.without_host("a"))
    assert (changed.view, list(changed.hosts)) == (3, ["b"])
