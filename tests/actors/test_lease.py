"""A host's lease runs from when it was asked for, so the host stops before anybody else may begin."""

import asyncio

import pytest

from actors.lease import Evicted, HostLease
from persistence.records import Unavailable
from tests.actors.maps import MemoryMapStore
from tests.support.virtual_time import virtual_time

TTL_S = 3.0


def lease(store: MemoryMapStore, instance: str = "ours") -> HostLease:
    return HostLease(store, "host-0", instance, TTL_S)


@virtual_time
async def test_before_it_is_taken_it_is_over() -> None:
    assert lease(MemoryMapStore()).over


@virtual_time
async def test_it_is_over_after_its_time() -> None:
    ours = lease(MemoryMapStore())
    await ours.take()
    assert not ours.over
    await asyncio.sleep(TTL_S - 0.1)
    assert not ours.over
    await ours.renew()
    await asyncio.sleep(TTL_S - 0.1)
    assert not ours.over
    await asyncio.sleep(0.2)
    assert ours.over


@virtual_time
async def test_the_time_of_the_answer_does_not_count() -> None:
    """The server may have counted from when it was asked."""
    store = MemoryMapStore()
    ours = lease(store)
    await ours.take()
    store.stall()
    renewing = asyncio.create_task(ours.renew())
    await asyncio.sleep(2.0)
    store.go_on()
    assert await renewing
    await asyncio.sleep(0.9)
    assert not ours.over
    await asyncio.sleep(0.2)
    assert ours.over


@virtual_time
async def test_a_renewal_that_hangs_is_given_up_when_the_lease_ends() -> None:
    store = MemoryMapStore()
    ours = lease(store)
    await ours.take()
    await asyncio.sleep(1.0)
    store.stall()
    with pytest.raises(Unavailable):
        await ours.renew()
    assert ours.over
    assert asyncio.get_running_loop().time() == pytest.approx(TTL_S)
    with pytest.raises(Unavailable):
        await ours.renew()
    assert asyncio.get_running_loop().time() < TTL_S + 2
    store.go_on()
    assert await ours.renew()
    assert not ours.over


@virtual_time
async def test_that_of_a_process_which_died_is_waited_for() -> None:
    store = MemoryMapStore()
    store.holders["host-0"] = "of the dead"
    ours = lease(store)
    taking = asyncio.create_task(ours.take())
    await asyncio.sleep(TTL_S)
    assert not taking.done()
    del store.holders["host-0"]
    await taking
    assert not ours.over


@virtual_time
async def test_one_that_is_alive_is_not() -> None:
    store = MemoryMapStore()
    first, second = lease(store), lease(store, "theirs")
    await first.take()
    with pytest.raises(Evicted):
        await second.take()
    assert second.over
    assert await first.renew()


@virtual_time
async def test_dropped_it_is_over_at_once() -> None:
    store = MemoryMapStore()
    ours = lease(store)
    await ours.take()
    await ours.drop()
    assert ours.over
    await lease(store, "theirs").take()
