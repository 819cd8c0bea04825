"""Operations on their way: refused here or sent to the owner, remembered until there is an answer, and sent again."""

import asyncio
from typing import Any

import pytest

from cluster.cluster_map import ClusterMap, HostEntry
from coscribe import link
from coscribe.protocol import NackCode
from persistence import keys
from router.connection import RESEND_AFTER_S
from router.router import RESEND_TICK_S
from tests.router.bench import KEY, LIMITS, Bench, Tab, bench, settle


async def lose_operations(b: Bench) -> None:
    b.host.silent = (link.Submit,)


def refuse_with(b: Bench, code: NackCode, retry_after_s: float | None = None) -> None:
    def refuse(message: link.ToHost) -> link.ToRouter | None:
        if not isinstance(message, link.Submit):
            return None
        return link.Refusal(message.key, message.ref, message.client, message.cseq, code, "why", retry_after_s)

    b.host.refuse = refuse


def move(message: link.ToHost) -> link.Moved | None:
    if not isinstance(message, link.Submit):
        return None
    return link.Moved(message.key, message.ref, message.client, message.cseq)


def nack(tab: Tab) -> dict[str, Any]:
    (found,) = tab.all("nack")
    return dict(found)


async def test_an_operation_reaches_the_owner_as_it_was_sent_and_its_entry_is_the_acknowledgement() -> None:
    async with bench() as b:
        tab = await b.join(user="ann", role="owner")
        tab.say_text('{"t":"op","s":"0","base":0,"cseq":1,"delta":[ "\\u00e9" , 1.0 ]}')
        await settle()
        (message,) = [m for m in b.host.received if isinstance(m, link.Submit)]
        assert message == link.Submit(
            KEY, tab.connection.ref, "client-1", 1, 0, "ann", "owner", b'[ "\\u00e9" , 1.0 ]'
        )  # fmt: skip
        assert tab.all(None) == [{"s": "0", "rev": 1, "epoch": 1, "e": [["client-1", 1, ["\u00e9", 1.0]]]}]
        await asyncio.sleep(10)
        assert b.host.submitted == [("client-1", 1)]
        assert not b.router.waiting


async def test_a_reader_is_told_so_and_the_owner_is_not_asked() -> None:
    async with bench() as b:
        tab = await b.join(role="reader")
        tab.op(1)
        assert b.host.submitted == []
        await settle()
        assert (nack(tab)["code"], nack(tab)["retry"], tab.code) == ("forbidden", "rights", None)


async def test_an_operation_may_be_as_long_as_the_limit() -> None:
    async with bench() as b:
        tab = await b.join()
        tab.op(1, delta=["x" * (LIMITS.op_bytes - 4)])
        tab.op(2, delta=["x" * (LIMITS.op_bytes - 3)])
        await settle()
        assert b.host.submitted == [("client-1", 1)]
        assert (nack(tab)["cseq"], nack(tab)["code"], nack(tab)["retry"]) == (2, "too_large", "never")


async def test_over_the_rate_an_operation_waits_as_long_as_it_is_told() -> None:
    async with bench() as b:
        tab = await b.join()
        for cseq in range(1, 2 * LIMITS.ops_per_s + 2):
            tab.op(cseq)
        await settle()
        told = nack(tab)
        assert (told["code"], told["retry"], told["cseq"]) == ("rate", "later", 2 * LIMITS.ops_per_s + 1)
        await asyncio.sleep(told["retry_after_s"])
        tab.op(told["cseq"])
        await settle()
        assert b.host.submitted[-1] == ("client-1", told["cseq"])


@pytest.mark.parametrize("code", list(NackCode))
async def test_a_refusal_of_the_owner_reaches_its_author_alone(code: NackCode) -> None:
    async with bench() as b:
        ann, bob = await b.join("client-1"), await b.join("client-2")
        refuse_with(b, code, 0.5)
        ann.op(4)
        await settle()
        assert nack(ann) == {
            "t": "nack", "s": "0", "cseq": 4, "code": code.value, "message": "why", "retry": code.retry.value,
            "retry_after_s": 0.5,
        }  # fmt: skip
        assert bob.all("nack") == []
        await asyncio.sleep(10)
        assert b.host.submitted == [("client-1", 4)], "what was answered is not sent again"


async def test_a_refusal_of_an_operation_that_is_not_in_flight_is_dropped() -> None:
    async with bench() as b:
        tab = await b.join()
        for ref, cseq in ((tab.connection.ref, 3), (999, 1)):
            b.host.links[0].reply(link.Refusal(KEY, ref, "client-1", cseq, NackCode.INVALID, "why", None))
            b.host.links[0].reply(link.Moved(KEY, ref, "client-1", cseq))
            b.host.links[0].reply(link.Duplicate(KEY, ref, "client-1", cseq, 0))
        await settle()
        assert tab.all("nack") == []


async def test_without_any_answer_it_is_sent_again_until_there_is_one() -> None:
    async with bench() as b:
        tab = await b.join()
        await lose_operations(b)
        tab.op(1)
        await asyncio.sleep(2 * RESEND_AFTER_S + 1)
        assert b.host.submitted == [("client-1", 1)] * 3
        b.host.silent = ()
        await asyncio.sleep(RESEND_AFTER_S)
        assert tab.revisions == [1]
        await asyncio.sleep(20)
        assert len(b.host.submitted) == 4


async def test_an_accepted_one_whose_entry_was_lost_is_found_by_sending_it_again() -> None:
    async with bench() as b:
        tab = await b.join()
        b.bus.deaf = True
        tab.op(1)
        await settle()
        assert (tab.revisions, b.log.head) == ([], 1)
        await asyncio.sleep(RESEND_AFTER_S + 1)
        assert (tab.revisions, b.log.head) == ([1], 1)


async def test_the_same_operation_three_times_is_one_entry() -> None:
    async with bench() as b:
        tab = await b.join()
        for _ in range(3):
            tab.op(1)
            await settle()
        assert tab.revisions == [1]
        assert tab.all("nack") == []


async def test_moved_is_sent_to_the_next_owner() -> None:
    async with bench() as b:
        tab = await b.join()
        b.host.refuse = move
        b.map_store.map = ClusterMap(2, {"host-1": HostEntry("host:2", "b")})  # and the notice of it was lost
        tab.op(1)
        await settle()
        b.host.refuse = lambda message: None
        await asyncio.sleep(0.2)
        assert [pipe.address for pipe in b.host.links] == ["host:1", "host:2"]
        assert tab.revisions == [1]


@pytest.mark.parametrize("map_first", [True, False])
async def test_what_was_moved_is_sent_again_as_soon_as_the_map_is_newer(map_first: bool) -> None:
    """Not a tick later: at a planned hand-off nobody is to notice anything."""
    async with bench() as b:
        tab = await b.join()
        b.host.refuse = move
        if map_first:
            await lose_operations(b)
        tab.op(1)
        await settle()
        now = b.router.now()
        b.map_store.map = ClusterMap(2, {"host-1": HostEntry("host:2", "b")})
        b.bus.push(keys.CLUSTER_MAP_NOTICE, b"2")
        b.host.refuse, b.host.silent = lambda message: None, ()
        await settle()
        if map_first:
            assert tab.revisions == []
            (unanswered,) = [message for message in b.host.received if isinstance(message, link.Submit)]
            b.host.links[0].reply(link.Moved(KEY, unanswered.ref, unanswered.client, unanswered.cseq))
            await settle()
        assert tab.revisions == [1]
        assert b.router.now() - now < RESEND_TICK_S / 10, "the bench moves time by a hair at each turn"


async def test_a_host_that_always_says_moved_is_not_asked_all_the_time() -> None:
    async with bench() as b:
        tab = await b.join()
        b.host.refuse = move
        tab.op(1)
        await asyncio.sleep(1.0)
        assert 5 <= len(b.host.submitted) <= 21


async def test_a_broken_link_loses_nothing_and_keeps_each_clients_order() -> None:
    async with bench() as b:
        tabs = [await b.join(f"client-{number}") for number in range(5)]
        await lose_operations(b)
        for cseq in (1, 2):
            for tab in tabs:
                tab.op(cseq)
            await settle()
        b.host.silent = ()
        b.host.received.clear()
        b.host.links[0].cut()
        await asyncio.sleep(0.5)
        assert b.host.submitted == [(f"client-{number}", 2) for number in range(5)]
        assert tabs[0].revisions == [1, 2, 3, 4, 5]


async def test_while_no_host_is_there_an_operation_waits() -> None:
    async with bench() as b:
        tab = await b.join()
        b.map_store.map = ClusterMap(2)
        await b.router.refresh_map()
        b.host.links[0].cut()
        tab.op(1)
        await asyncio.sleep(30)
        tab.say("ping")
        assert (tab.code, tab.all("nack")) == (None, [])
        b.map_store.map = ClusterMap(3, {"host-1": HostEntry("host:2", "b")})
        await asyncio.sleep(2)
        assert tab.revisions == [1]


async def test_what_waits_is_forgotten_with_its_socket() -> None:
    async with bench() as b:
        tab = await b.join()
        await lose_operations(b)
        tab.op(1)
        await tab.leave()
        assert not b.router.waiting
        await asyncio.sleep(10)
        assert b.host.submitted == [("client-1", 1)]


async def test_two_sockets_of_one_client_each_have_an_operation_of_their_own() -> None:
    """Make before break: the new one sends again what the old one has in flight."""
    async with bench() as b:
        await b.join("client-0")
        old = await b.join("client-1")
        await lose_operations(b)
        old.op(1)
        new = await b.join("client-1", resume=(0, 0))
        b.host.silent = ()
        new.op(1)
        await settle()
        assert old.revisions == new.revisions == [1]
        await old.leave()
        new.op(2, base=1)
        await asyncio.sleep(10)
        assert new.revisions == [1, 2]
        assert b.log.head == 2


@pytest.mark.parametrize(
    ("sent", "reaches"),
    [
        (r'["\ud83d"]', r'["\u0000"]'),
        (r'["\ude00\uD83D"]', r'["\u0000\u0000"]'),
        (r'["\\\ud83d\ud83d\ude00\\ud83d"]', r'["\\\u0000\ud83d\ude00\\ud83d"]'),
        (r'[{"insert":"x","attributes":{"\udfff":1}}]', r'[{"insert":"x","attributes":{"\u0000":1}}]'),
    ],
)
async def test_half_a_surrogate_pair_reaches_the_owner_as_what_it_refuses(sent: str, reaches: str) -> None:
    async with bench() as b:
        tab = await b.join()
        b.host.silent = (link.Submit,)
        tab.say_text('{"t":"op","s":"0","base":0,"cseq":1,"delta":' + sent + "}")
        await settle()
        assert tab.code is None
        assert [m.delta.decode() for m in b.host.received if isinstance(m, link.Submit)] == [reaches]
