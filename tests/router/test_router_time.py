"""What happens by itself in a router: faults end nothing, and nothing that time decides waits for a store."""

import asyncio
from unittest.mock import patch

import msgspec

from cluster.cluster_map import ClusterMap, HostEntry
from coscribe import link
from coscribe.protocol import CloseCode
from persistence import keys
from router.connection import HELLO_TIMEOUT_S
from router.presence import REFRESH_S
from router.router import POLL_HEADS_S
from tests.router.bench import KEY, LONG_AGO_S, Bench, bench, settle


async def works(b: Bench) -> None:
    ann = await b.join("client-w")
    ann.op(1, base=b.log.head)
    await settle()
    assert ann.revisions == [b.log.head]
    await ann.leave()


async def test_without_redis_at_the_start_the_router_waits_for_it() -> None:
    async with bench() as b:
        b.running.cancel()
        b.bus.refusing = b.map_store.refusing = True
        b.running = asyncio.create_task(b.router.run())
        await asyncio.sleep(10)
        b.bus.refusing = b.map_store.refusing = False
        await asyncio.sleep(2)
        assert keys.CLUSTER_MAP_NOTICE in b.bus.server
        await works(b)


async def test_without_redis_for_a_while_everything_goes_on_after_it() -> None:
    async with bench() as b:
        await b.join()
        b.bus.refusing = b.map_store.refusing = b.reader.refusing = b.roster.refusing = True
        await asyncio.sleep(30)
        b.bus.refusing = b.map_store.refusing = b.reader.refusing = b.roster.refusing = False
        await asyncio.sleep(6)
        await works(b)


async def test_a_fault_in_what_happens_by_itself_costs_one_round_of_it() -> None:
    async with bench() as b:
        ann = await b.join()
        ann.say("presence", s="0", rev=0, state={"a": 1})
        b.map_store.map = msgspec.structs.replace(b.map_store.map, view=2)
        b.log.append()
        fault = KeyError("a fault of ours")
        with (
            patch.object(b.router.presence, "refresh", side_effect=fault),
            patch.object(b.router.links, "forget_hosts_gone", side_effect=fault),
            patch.object(b.reader, "heads", side_effect=fault),
            patch("cluster.watcher.decode_map", side_effect=fault),
        ):
            await asyncio.sleep(10)
            assert ann.revisions == []
            assert b.router.view == 1
        await asyncio.sleep(POLL_HEADS_S + 1)
        assert ann.revisions == [1]
        assert b.router.view == 2


async def test_presence_that_waits_for_redis_holds_up_no_deadline() -> None:
    async with bench() as b:
        ann, bob = await b.join("client-a"), await b.join("client-b", expires=int(LONG_AGO_S) + 40)
        for tab in (ann, bob):
            tab.say("presence", s="0", rev=0, state={"a": 1})
        await settle()
        b.roster.gate = asyncio.Event()  # Redis says nothing any more
        await asyncio.sleep(REFRESH_S + 1)
        silent = b.connect()
        await asyncio.sleep(HELLO_TIMEOUT_S + 2)
        assert silent.code is CloseCode.BAD_MESSAGE
        bob.say("ping")
        await asyncio.sleep(15)
        assert bob.code is CloseCode.UNAUTHENTICATED
        b.roster.gate.set()


async def test_a_head_from_beyond_is_found_by_looking() -> None:
    async with bench() as b:
        ann = await b.join()
        b.bus.deaf = True
        await b.happen(3)
        assert ann.revisions == []
        await asyncio.sleep(POLL_HEADS_S + 1)
        assert ann.revisions == [1, 2, 3]


async def test_what_was_said_of_hosts_that_are_gone_is_forgotten() -> None:
    """Each start of a host has an address of its own."""
    async with bench() as b:
        ann = await b.join()
        for number in range(2, 30):
            entry = HostEntry(f"host:{number}", "a")
            b.map_store.map = ClusterMap(number, {"host-0": entry})
            await b.router.refresh_map()
            b.host.links[-1].cut()
            await asyncio.sleep(1)
            ann.op(number, base=b.log.head)
            await settle()
        await asyncio.sleep(2)
        assert len(b.router.links._retry) <= 1
        assert ann.revisions == list(range(1, 29))


async def test_a_fault_in_one_connection_costs_that_connection() -> None:
    async with bench() as b:
        ann, bob = await b.join("client-a"), await b.join("client-b")
        with patch.object(b.router.links, "entries", side_effect=KeyError("a fault of ours")):
            ann.say("catchup", s="0", **{"from": 1}, epoch=1)
            await settle()
        assert ann.code is CloseCode.RESTART
        assert "fault" not in ann.reason
        bob.op(1)
        await settle()
        assert bob.revisions == [1]


async def test_those_who_ask_for_a_snapshot_at_one_time_share_one_question() -> None:
    async with bench() as b:
        await b.join("client-0")
        b.host.received.clear()
        tabs = [b.hello(f"client-{number}") for number in range(1, 20)]
        await settle()
        assert b.host.asked(link.FetchSnapshot) == 1
        assert all(len(tab.all("snapshot")) == 1 for tab in tabs)


async def test_a_shared_question_outlives_who_asked_it_and_leaves_nothing() -> None:
    async with bench() as b:
        b.host.silent = (link.FetchSnapshot,)
        ann, bob = b.hello("client-a"), b.hello("client-b")
        await settle()
        await ann.leave()
        b.host.silent = ()
        request = next(m.request for m in b.host.received if isinstance(m, link.FetchSnapshot))
        b.host.links[-1].reply(*b.host.answers(link.FetchSnapshot(KEY, request)))
        await settle()
        assert len(bob.all("snapshot")) == 1
        b.host.silent = (link.FetchSnapshot,)
        cat = b.hello("client-c")
        await settle()
        await cat.leave()
        b.host.links[-1].cut()
        await settle()
        assert not b.router._snapshots
