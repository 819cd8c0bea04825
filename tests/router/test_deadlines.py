"""What ends a socket by itself: no hello, silence, an identity that runs out. And how it is kept."""

import asyncio
import json

from coscribe.protocol import CloseCode
from persistence.records import Unavailable
from router.auth import Identity
from router.connection import EXPIRING_S, HELLO_TIMEOUT_S
from tests.router.bench import LONG_AGO_S, bench, settle

NOW = int(LONG_AGO_S)


async def test_without_hello_the_socket_is_closed() -> None:
    async with bench() as b:
        tab = b.connect()
        await asyncio.sleep(HELLO_TIMEOUT_S - 0.5)
        assert not tab.connection.closing
        await asyncio.sleep(2)
        assert tab.connection.closing == (CloseCode.BAD_MESSAGE, "no hello in time")


async def test_twice_the_heartbeat_of_silence_closes_and_anything_heard_puts_it_off() -> None:
    async with bench(heartbeat_s=7.0) as b:
        ann, bob = await b.join("client-1"), await b.join("client-2")
        for _ in range(4):
            await asyncio.sleep(6)
            bob.say("ping")
        assert (ann.code, bob.code) == (CloseCode.GOING_AWAY, None)
        await asyncio.sleep(16)
        assert bob.code is CloseCode.GOING_AWAY


async def test_what_a_client_hears_does_not_count() -> None:
    async with bench(heartbeat_s=5.0) as b:
        tab = await b.join()
        for _ in range(12):
            await asyncio.sleep(1)
            await b.happen()
        assert tab.code is CloseCode.GOING_AWAY


async def test_an_identity_that_runs_out_is_announced_once_and_ends_the_socket() -> None:
    async with bench() as b:
        tab = await b.join(expires=NOW + 100)
        for _ in range(11):
            await asyncio.sleep(9)
            tab.say("ping")
        assert tab.all("expiring") == [{"t": "expiring", "at": NOW + 100}]
        assert tab.code is None
        await asyncio.sleep(3)
        assert tab.code is CloseCode.UNAUTHENTICATED


async def test_renewed_in_time_it_stays_and_is_announced_again() -> None:
    async with bench(heartbeat_s=300.0) as b:
        tab = await b.join(expires=NOW + 30)
        await asyncio.sleep(2)
        assert len(tab.all("expiring")) == 1
        b.tickets["good"] = Identity("ann", "Ann", "reader", NOW + 200)
        tab.say("auth", ticket="good")
        await asyncio.sleep(100)
        assert tab.code is None
        tab.op(1)
        await asyncio.sleep(200 - 100 - EXPIRING_S + 3)
        assert tab.all("nack")[0]["code"] == "forbidden", "the new identity's role counts"
        assert len(tab.all("expiring")) == 2
        await asyncio.sleep(EXPIRING_S)
        assert tab.code is CloseCode.UNAUTHENTICATED


async def test_a_ticket_that_is_none_is_spent_or_is_anothers_closes() -> None:
    async with bench() as b:
        b.tickets["once"] = Identity("ann", "Ann", "writer", None)
        b.tickets["bobs"] = Identity("bob", "Bob", "writer", None)
        first = await b.join("client-1")
        first.say("auth", ticket="once")
        await settle()
        assert first.code is None
        for client, ticket in (("client-2", "once"), ("client-3", "bobs"), ("client-4", "")):
            tab = await b.join(client)
            tab.say("auth", ticket=ticket)
            await settle()
            assert tab.code is CloseCode.UNAUTHENTICATED


async def test_a_ticket_that_nobody_can_look_up_now_makes_the_client_come_back() -> None:
    async with bench() as b:

        async def redeem(ticket: str, document: str) -> Identity | None:
            raise Unavailable("no Redis")

        b.router.redeem = redeem
        tab = await b.join()
        tab.say("auth", ticket="any")
        await settle()
        assert tab.code is CloseCode.OVERLOAD
        assert json.loads(tab.reason) == {"retry_after_s": 1.0}


async def test_a_client_id_belongs_to_its_first_user() -> None:
    async with bench() as b:
        ann = await b.join("client-1", user="ann")
        bob = await b.join("client-1", user="bob")
        again = await b.join("client-1", user="ann")
        elsewhere = await b.join("client-1", user="bob", document="other")
        assert [tab.code for tab in (ann, bob, again, elsewhere)] == [None, CloseCode.FORBIDDEN, None, None]
        assert bob.kinds == []


async def test_without_redis_a_newcomer_is_asked_to_come_back() -> None:
    async with bench() as b:
        b.roster.refusing = True
        tab = await b.join()
        assert tab.code is CloseCode.OVERLOAD
        b.roster.refusing, b.bus.refusing = False, True
        tab = await b.join()
        assert tab.code is CloseCode.OVERLOAD
        b.bus.refusing = False
        assert (await b.join()).code is None


async def test_a_router_that_stops_asks_everyone_to_come_back() -> None:
    async with bench() as b:
        tabs = [await b.join(f"client-{number}") for number in range(3)]
        await b.router.stop(retry_after_s=0.25)
        assert {(tab.code, tab.reason) for tab in tabs} == {(CloseCode.RESTART, '{"retry_after_s":0.25}')}
