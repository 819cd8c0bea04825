"""Catching up: exactly what follows, composed where asked for, never from a void revision, and not too often."""

import asyncio

import pytest

from coscribe import link
from coscribe.protocol import CloseCode
from router.connection import QUESTIONS_PER_S
from tests.router.bench import CHANNEL, bench, settle
from tests.router.test_bringing_up import grown


async def test_a_catch_up_sends_exactly_what_follows() -> None:
    async with bench() as b:
        tab = await b.join()
        await b.happen(6)
        tab.heard.clear()
        tab.say("catchup", s="0", **{"from": 2}, epoch=1)
        await settle()
        assert tab.revisions == [3, 4, 5, 6]
        await b.happen(1)
        assert tab.revisions == [3, 4, 5, 6, 7]


async def test_a_later_question_replaces_an_earlier_one() -> None:
    async with bench() as b:
        await grown(b, 10)
        b.host.silent = (link.FetchSnapshot,)
        tab = await b.join()
        b.host.silent = ()
        tab.say("catchup", s="0", **{"from": 8}, epoch=1)
        await settle()
        assert tab.revisions == [9, 10]
        assert tab.all("snapshot") == []


async def test_a_composed_change_is_followed_by_plain_entries() -> None:
    async with bench() as b:
        tab = await b.join()
        await b.happen(5)
        tab.heard.clear()
        tab.say("catchup", s="0", **{"from": 2}, epoch=1, composed=True)
        await settle()
        assert tab.kinds == ["catchup", "head"]
        assert (tab.heard[0]["from"], tab.heard[0]["rev"]) == (2, 5)
        await b.happen(1)
        assert tab.revisions == [6]


async def test_nothing_else_of_the_section_comes_before_the_answer() -> None:
    async with bench() as b:
        tab = await b.join()
        await b.happen(5)
        b.host.silent = (link.FetchComposed,)
        tab.heard.clear()
        tab.say("catchup", s="0", **{"from": 2}, epoch=1, composed=True)
        await settle()
        await b.happen(2)
        assert tab.heard == []
        (ask,) = [m for m in b.host.received if isinstance(m, link.FetchComposed)]
        b.host.links[-1].reply(*b.host.answers(ask))
        await b.happen(1)
        assert tab.kinds[0] == "catchup"
        assert (tab.heard[0]["rev"], tab.revisions) == (7, [8])


async def test_where_there_is_no_composed_change_plain_entries_come() -> None:
    async with bench() as b:
        await grown(b, 5)
        tab = await b.join()
        b.host.refuse = lambda message: (
            link.Refused(message.request, "stale", "too old") if isinstance(message, link.FetchComposed) else None
        )
        tab.say("catchup", s="0", **{"from": 1}, epoch=1, composed=True)
        await settle()
        assert tab.revisions == [2, 3, 4, 5]


@pytest.mark.parametrize("composed", [False, True])
async def test_a_catch_up_from_a_void_revision_is_a_fork(composed: bool) -> None:
    """The room was opened after it, so it does not know that revision: the owner does."""
    async with bench() as b:
        await grown(b, 5)
        b.log.lose(2)
        await grown(b, 5)
        tab = await b.join()
        tab.heard.clear()
        tab.say("catchup", s="0", **{"from": 4}, epoch=1, composed=composed)
        await settle()
        assert tab.code is CloseCode.FORK
        assert tab.heard == []


async def test_what_the_owner_says_of_the_head_is_told_to_the_room() -> None:
    """A room that pub/sub left behind would hold back those who are level with it."""
    async with bench() as b:
        ann = await b.join("client-1")
        b.bus.deaf = True
        await b.happen(4)
        bob = await b.join("client-2")
        assert bob.all("snapshot")[0]["rev"] == 4
        assert ann.revisions == [1, 2, 3, 4]


async def test_an_owner_that_gives_nothing_is_not_asked_in_a_circle() -> None:
    async with bench() as b:
        await grown(b, 5)
        b.host.refuse = lambda message: (
            link.EntriesAre(message.request, message.after, 5, 1, 1, [])
            if isinstance(message, link.FetchEntries)
            else None
        )
        tab = await b.join(resume=(1, 1))
        await asyncio.sleep(10)
        assert b.host.asked(link.FetchEntries) < 60
        b.host.refuse = lambda message: None
        await asyncio.sleep(1)
        assert tab.revisions == [2, 3, 4, 5]


async def test_who_joins_a_room_that_forks_begins_anew() -> None:
    async with bench() as b:
        await grown(b, 5)
        ann = await b.join("client-1")
        b.log.lose(3)
        await grown(b, 1)
        b.bus.push(CHANNEL, b.log.batch(4, 4))
        await settle()
        assert ann.code is CloseCode.FORK
        bob = await b.join("client-2")
        await b.happen(1)
        assert (bob.all("snapshot")[0]["rev"], bob.revisions) == (4, [5])


async def test_who_asks_too_often_waits_and_only_the_last_question_counts() -> None:
    async with bench() as b:
        await grown(b, 10)
        tab = await b.join()
        b.host.received.clear()
        for _ in range(10):
            for _ in range(30):
                tab.say("catchup", s="0", **{"from": 2}, epoch=1)
                tab.say("fetch", s="0")
                tab.say("catchup", s="0", **{"from": 7}, epoch=1)
            await asyncio.sleep(0.2)
        assert tab.code is None
        assert b.host.asked(link.FetchEntries) <= 2 * QUESTIONS_PER_S + 2 * QUESTIONS_PER_S
        await asyncio.sleep(1)
        assert tab.revisions[-3:] == [8, 9, 10]
