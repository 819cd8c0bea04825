"""How a client comes level with its room: by a snapshot, from the ring, from the owner, composed; and never past a
revision that it has read under another epoch."""

import asyncio

import pytest

from coscribe import link
from coscribe.protocol import CloseCode
from tests.router.bench import Bench, bench, settle

PAST = 1_000  # entries; enough for pages


async def grown(b: Bench, count: int) -> None:
    """A log that somebody else filled before anyone came here."""
    for _ in range(count):
        b.log.append()


async def test_a_newcomer_hears_welcome_roster_snapshot_head_and_then_what_happens() -> None:
    async with bench() as b:
        await grown(b, 3)
        tab = await b.join()
        assert tab.kinds == ["welcome", "presence", "snapshot", "head"]
        assert tab.heard[0] == {
            "t": "welcome", "v": 1, "document": "notes", "incarnation": "life1", "user": {"id": "ann", "name": "Ann"},
            "role": "writer", "durability": "fsync", "sections": ["0"],
            "limits": {"frame_bytes": 4096, "op_bytes": 256, "presence_bytes": 128, "ops_per_s": 50},
            "heartbeat_s": 20.0, "expires": None,
        }  # fmt: skip
        assert tab.heard[2]["rev"] == 3
        assert tab.heard[3] == {"t": "head", "s": "0", "rev": 3, "epoch": 1}
        await b.happen(2)
        assert tab.revisions == [4, 5]


async def test_a_cached_snapshot_is_followed_by_what_came_after_it() -> None:
    async with bench() as b:
        await grown(b, 9)
        b.host.snapshot_lag = 5
        tab = await b.join()
        await settle()
        assert tab.all("snapshot")[0]["rev"] == 4
        assert tab.revisions == [5, 6, 7, 8, 9]


async def test_what_is_published_while_the_snapshot_is_on_its_way_comes_once() -> None:
    async with bench() as b:
        await b.join("client-0")
        b.host.silent = (link.FetchSnapshot,)
        tab = b.hello("client-1")
        await settle()
        (ask,) = [m for m in b.host.received if isinstance(m, link.FetchSnapshot)][1:]
        answer = b.host.answers(ask)  # at revision 0
        await b.happen(3)
        b.host.links[-1].reply(*answer)
        await settle()
        assert tab.all("snapshot")[0]["rev"] == 0
        assert tab.revisions == [1, 2, 3]


async def test_who_was_here_before_hears_first_what_was_accepted_of_it() -> None:
    async with bench() as b:
        b.log.append("client-1", 7)
        tab = await b.join()
        assert tab.kinds == ["welcome", "presence", "acked", "snapshot", "head"]
        assert tab.heard[2] == {"t": "acked", "s": "0", "cseq": 7, "rev": 1}


async def test_a_resume_is_answered_from_the_ring_without_the_owner() -> None:
    async with bench() as b:
        await b.join("client-0")
        await b.happen(9)
        b.host.received.clear()
        tab = await b.join("client-1", resume=(4, 1))
        assert tab.revisions == [5, 6, 7, 8, 9]
        assert tab.all("snapshot") == []
        assert b.host.received == []


async def test_a_resume_from_before_the_ring_is_answered_by_the_owner_in_pages() -> None:
    async with bench() as b:
        await grown(b, 10)
        tab = await b.join("client-1", resume=(2, 1))
        assert tab.revisions == [3, 4, 5, 6, 7, 8, 9, 10]
        assert b.host.asked(link.FetchEntries) == 3
        await b.happen(1)
        assert tab.revisions[-2:] == [10, 11]


async def test_a_resume_of_a_section_that_it_does_not_name_begins_anew() -> None:
    async with bench() as b:
        tab = b.connect()
        tab.say("hello", v=1, client="client-1", resume={"incarnation": "life1", "sections": {"17": [3, 1]}})
        await settle()
        assert len(tab.all("snapshot")) == 1


@pytest.mark.parametrize("known", [True, False], ids=["the ring knows", "the owner knows"])
@pytest.mark.parametrize(
    ("resume", "forked"),
    [((5, 1), False), ((5, 2), True), ((10, 1), False), ((10, 9), True), ((11, 1), True), ((0, 0), False)],
)
async def test_a_resume_is_a_fork_where_revision_and_epoch_do_not_belong_together(
    known: bool, resume: tuple[int, int], forked: bool
) -> None:
    async with bench() as b:
        if known:
            await b.join("client-0")
            await b.happen(10)
        else:
            await grown(b, 10)
        tab = await b.join("client-1", resume=resume)
        assert tab.code is (CloseCode.FORK if forked else None)
        assert tab.revisions == ([] if forked else list(range(resume[0] + 1, 11)))


async def test_another_incarnation_is_a_fork() -> None:
    async with bench() as b:
        tab = b.connect()
        tab.say("hello", v=1, client="client-1", resume={"incarnation": "life0", "sections": {"0": [0, 0]}})
        await settle()
        assert tab.code is CloseCode.FORK
        assert tab.kinds == []
        assert b.host.received == []


async def test_an_owner_that_was_overtaken_makes_no_fork() -> None:
    """It has never heard of the revision, but the log has."""
    async with bench() as b:
        await grown(b, 10)
        b.host.refuse = lambda message: (
            link.Refused(message.request, "ahead", "no such revision")
            if isinstance(message, link.FetchEntries)
            else None
        )
        reads = b.map_store.reads
        tab = await b.join("client-1", resume=(7, 1))
        assert tab.code is None
        assert b.map_store.reads > reads
        b.host.refuse = lambda message: None
        await asyncio.sleep(1)
        assert tab.revisions == [8, 9, 10]


async def test_a_question_that_is_moved_is_asked_again_by_a_newer_map() -> None:
    async with bench() as b:
        b.host.refuse = lambda message: (
            link.Refused(message.request, "moved", "not mine") if isinstance(message, link.FetchAcked) else None
        )
        tab = await b.join()
        assert tab.kinds == ["welcome", "presence"]
        b.host.refuse = lambda message: None
        await asyncio.sleep(1)
        assert tab.kinds[2:] == ["snapshot", "head"]
