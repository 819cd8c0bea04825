"""A slow reader is told that it lags and goes on exactly where it stood; only a far too slow one is closed."""

import asyncio
import json

from coscribe.protocol import CloseCode
from router.outbox import HARD_BYTES, SOFT_BYTES
from router.room import RING_ENTRIES
from tests.router.bench import Bench, Tab, bench, settle

LARGE = b'["%s"]' % (b"x" * 64 * 1024)


async def write(b: Bench, count: int = 1, delta: bytes = LARGE) -> None:
    for _ in range(count):
        b.log.append("somebody", 0, delta)
        await b.publish(b.log.head)


async def lag(b: Bench, tab: Tab) -> None:
    """The tab stops reading until it is told that it lags."""
    tab.reading = False
    await write(b, SOFT_BYTES // len(LARGE) + 3)


def resume(tab: Tab) -> None:
    tab.reading = True
    tab.read()


async def test_past_the_soft_bound_a_socket_is_told_once_and_gets_nothing_more_of_the_section() -> None:
    async with bench() as b:
        slow, quick = await b.join("client-1"), await b.join("client-2")
        await lag(b, slow)
        size = slow.connection.outbox.size
        await write(b, 5)
        assert slow.connection.outbox.size == size
        assert size < SOFT_BYTES + 2 * len(LARGE)
        resume(slow)
        assert slow.kinds[-1] == "lagging"
        assert len(slow.all("lagging")) == 1
        assert slow.revisions == list(range(1, slow.all("lagging")[0]["rev"]))
        await write(b, 5)
        assert slow.kinds[-1] == "lagging"
        assert quick.revisions == list(range(1, b.log.head + 1))


async def test_its_catch_up_goes_on_exactly_there() -> None:
    async with bench() as b:
        slow = await b.join()
        await lag(b, slow)
        await write(b, 7)
        resume(slow)
        slow.say("catchup", s="0", **{"from": slow.revisions[-1]}, epoch=1)
        await settle()
        await write(b, 3)
        assert slow.revisions == list(range(1, b.log.head + 1))
        assert slow.code is None


async def test_who_lags_beyond_the_ring_reads_the_rest_from_the_owner_page_by_page() -> None:
    async with bench() as b:
        slow = await b.join()
        await lag(b, slow)
        at = b.log.head
        await write(b, RING_ENTRIES + 10, b'["x"]')
        resume(slow)
        last = slow.revisions[-1]
        assert last < at
        slow.say("catchup", s="0", **{"from": last}, epoch=1)
        await settle()
        assert slow.revisions == list(range(1, b.log.head + 1))


async def test_a_catch_up_waits_until_the_client_has_read() -> None:
    async with bench() as b:
        slow = await b.join()
        await lag(b, slow)
        size = slow.connection.outbox.size
        for _ in range(5):
            for question in (
                {"t": "catchup", "s": "0", "from": 0, "epoch": 0},
                {"t": "fetch", "s": "0"},
                {"t": "catchup", "s": "0", "from": 0, "epoch": 0, "composed": True},
            ):
                slow.say_text(json.dumps(question))
                await settle()
        assert slow.connection.outbox.size == size
        slow.say("catchup", s="0", **{"from": 3}, epoch=1)
        slow.heard.clear()
        resume(slow)
        await settle()
        after = slow.all("lagging")[0]["rev"]
        told = slow.revisions
        assert told[-(b.log.head - 3) :] == list(range(4, b.log.head + 1))
        assert after <= b.log.head


async def test_a_large_snapshot_alone_makes_nobody_lag() -> None:
    async with bench() as b:
        tab = b.hello("client-1")
        tab.reading = False
        await settle()
        tab.connection.outbox.push(b'{"t":"snapshot","s":"0","rev":0,"x":"%s"}' % (b"x" * 4 * SOFT_BYTES))
        await write(b, 2)
        resume(tab)
        await settle()
        tab.say("catchup", s="0", **{"from": 0}, epoch=0)
        await settle()
        assert tab.revisions[-2:] == [1, 2]
        assert tab.code is None


async def test_heads_and_acknowledgements_reach_a_socket_that_lags() -> None:
    async with bench() as b:
        slow = await b.join()
        await lag(b, slow)
        slow.op(1)
        await settle()
        assert slow.connection.places["0"].pending is None
        slow.say("ping")
        resume(slow)
        assert slow.kinds[-2:] == ["pong", "head"]
        assert slow.heard[-1]["rev"] == b.log.head


async def test_past_the_hard_bound_the_socket_is_closed_and_what_waits_is_dropped() -> None:
    async with bench() as b:
        slow, quick = await b.join("client-1"), await b.join("client-2")
        slow.reading = False
        part = b'{"t":"pong","x":"%s"}' % (b"x" * 1024 * 1024)
        for _ in range(HARD_BYTES // len(part) + 1):
            slow.connection.outbox.push(part)
        await asyncio.sleep(1.5)
        assert slow.code is CloseCode.SLOW_CONSUMER
        assert slow.connection.frame() is None
        await write(b, 1, b'["x"]')
        assert quick.revisions == [1]
