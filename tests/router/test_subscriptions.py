"""Rooms and presence share channels between sockets that come and go at any moment. Whoever is here must hear."""

import asyncio
from unittest.mock import patch

import pytest

from coscribe.protocol import CloseCode
from router.router import EMPTY_ROOM_S
from tests.router.bench import CHANNEL, PRESENCE, Bench, Tab, bench, settle

STEPS = 40  # turns of the loop within which a socket is opened, and more


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def hears(b: Bench, tab: Tab) -> None:
    """Both the room's batches and presences reach the tab."""
    tab.heard.clear()
    await b.happen()
    assert tab.revisions == [b.log.head]
    b.bus.push(PRESENCE, b'{"t":"presence","p":{"somebody":null}}')
    await asyncio.sleep(0.1)  # told together with what comes soon
    assert len(tab.all("presence")) == 1


async def test_the_second_to_come_waits_for_the_subscription_too() -> None:
    async with bench() as b:
        b.bus.held = True
        ann, bob = b.hello("client-a"), b.hello("client-b")
        await settle()
        assert (ann.kinds, bob.kinds) == ([], [])
        b.bus.release()
        await settle()
        assert b.bus.orders.count((True, CHANNEL)) == b.bus.orders.count((True, PRESENCE)) == 1
        for tab in (ann, bob):
            await hears(b, tab)


async def test_who_comes_while_a_subscription_is_failing_hears() -> None:
    async with bench() as b:
        b.bus.held = True
        ann = b.hello("client-a")
        await asyncio.sleep(4)
        bob = b.hello("client-b")
        await asyncio.sleep(1.5)
        assert ann.code is CloseCode.OVERLOAD
        b.bus.release()
        await settle()
        if bob.code is None:
            await hears(b, bob)


async def test_a_subscription_that_fails_fails_all_who_wait_for_it_and_is_tried_by_the_next() -> None:
    async with bench() as b:
        b.bus.held = True
        ann, bob = b.hello("client-a"), b.hello("client-b")
        await asyncio.sleep(6)
        assert (ann.code, bob.code) == (CloseCode.OVERLOAD, CloseCode.OVERLOAD)
        await ann.leave()
        await bob.leave()
        b.bus.release()
        await settle()
        await hears(b, await b.join("client-c"))


@pytest.mark.parametrize("later", range(4))
async def test_who_leaves_while_opening_takes_nothing_from_who_opens_beside(later: int) -> None:
    for steps in range(STEPS):
        async with bench() as b:
            ann = b.hello("client-a")
            await turns(later)
            bob = b.hello("client-b")
            await turns(steps)
            await ann.leave()
            await settle()
            assert bob.code is None, steps
            await hears(b, bob)


async def test_who_leaves_while_opening_leaves_nothing_behind() -> None:
    for steps in range(STEPS):
        async with bench() as b:
            ann = b.hello("client-a")
            await turns(steps)
            await ann.leave()
            await settle()
            assert not b.router.connections
            assert not b.router.waiting
            assert PRESENCE not in b.bus.server, steps
            await asyncio.sleep(EMPTY_ROOM_S + 2)
            assert not b.router.rooms
            assert CHANNEL not in b.bus.server, steps


async def test_who_comes_while_the_last_one_leaves_hears() -> None:
    for steps in range(STEPS):
        async with bench() as b:
            ann = await b.join("client-a")
            bob = b.hello("client-b")
            await turns(steps)
            await ann.leave()
            await settle()
            await hears(b, bob)


@pytest.mark.parametrize("steps", range(4))
async def test_who_comes_while_the_room_is_closed_for_being_empty_hears(steps: int) -> None:
    async with bench() as b:
        ann = await b.join("client-a")
        await ann.leave()
        b.reader.refusing = True
        b.room.head_is(5)
        close = b.room.close  # which waits for a repair that is under way
        came: list[Tab] = []

        async def close_while_bob_comes() -> None:
            b.reader.refusing = False
            came.append(b.hello("client-b"))
            await turns(steps)
            await close()

        with patch.object(b.room, "close", close_while_bob_comes):
            await asyncio.sleep(EMPTY_ROOM_S + 2)
        (bob,) = came
        assert bob.code is None
        await hears(b, bob)


async def test_the_time_of_an_empty_room_starts_anew_with_each_visit() -> None:
    async with bench() as b:
        ann = await b.join("client-a")
        room = b.room
        for _ in range(5):
            await ann.leave()
            await asyncio.sleep(EMPTY_ROOM_S / 2)
            ann = await b.join("client-a")
        assert b.room is room
