"""The links to hosts: order, questions and answers, what happens when one breaks, and what may wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from cluster.cluster_map import ClusterMap, HostEntry
from cluster.ring import Ring
from coscribe import link
from coscribe.names import SectionKey
from router.link import (
    ASK_TIMEOUT_S,
    CONNECT_TIMEOUT_S,
    QUEUE_BYTES,
    RETRY_CAP_S,
    RETRY_FIRST_S,
    Answerless,
    Links,
)
from tests.router.bench import KEY, settle
from tests.router.owner import MemoryHost, MemoryReader, Pipe
from tests.router.ports import MemoryBus

OTHER = SectionKey("other", "life1", "0")


def submit(cseq: int, delta: bytes = b'["x"]') -> link.Submit:
    return link.Submit(KEY, 1, "client-1", cseq, 0, "ann", "writer", delta)


class Wired:
    """`Links` to a host in memory."""

    def __init__(self) -> None:
        self.reader = MemoryReader()
        self.host = MemoryHost(self.reader, MemoryBus())
        self.ring = Ring(ClusterMap(7, {"host-0": HostEntry("host:1", "a")}))
        self.heard: list[link.ToRouter] = []
        self.broken = 0
        self.links = Links(
            lambda: self.ring, self.host.connect, self.heard.append, self._broke, asyncio.get_running_loop().time
        )

    def _broke(self) -> None:
        self.broken += 1


@asynccontextmanager
async def wires() -> AsyncIterator[Wired]:
    wired = Wired()
    yield wired
    await wired.links.close()


async def refused(asking: "asyncio.Task[link.AckedIs]") -> str:
    with pytest.raises(Answerless) as caught:
        await asking
    return caught.value.code


async def test_a_link_is_opened_once_and_keeps_the_order() -> None:
    async with wires() as wired:
        assert all(wired.links.submit(submit(cseq)) for cseq in range(1, 500))
        await settle()
        for cseq in range(500, 1000):
            wired.links.submit(submit(cseq))
        await settle()
        assert [cseq for _, cseq in wired.host.submitted] == list(range(1, 1000))
        assert len(wired.host.connects) == 1
        assert set(wired.host.views) == {7}


async def test_answers_find_their_questions_in_any_order() -> None:
    async with wires() as wired:
        wired.host.silent = (link.FetchAcked,)
        asking = [asyncio.create_task(wired.links.acked(KEY, f"client-{number}")) for number in range(5)]
        await settle()
        for message in reversed(wired.host.received):
            assert isinstance(message, link.FetchAcked)
            wired.host.links[0].reply(link.AckedIs(message.request, int(message.client[-1]), 0))
        assert [(await task).cseq for task in asking] == [0, 1, 2, 3, 4]


async def test_a_broken_link_fails_its_questions_and_says_so_once() -> None:
    async with wires() as wired:
        wired.host.silent = (link.FetchAcked,)
        asking = [asyncio.create_task(wired.links.acked(KEY, "client-1")) for _ in range(3)]
        await settle()
        wired.host.links[0].cut()
        assert [await refused(task) for task in asking] == ["unavailable"] * 3
        assert wired.broken == 1
        wired.host.silent = ()
        await asyncio.sleep(RETRY_FIRST_S)
        assert (await wired.links.acked(KEY, "client-1")).cseq == 0


async def test_a_question_without_an_answer_ends_and_a_late_answer_is_nobodys() -> None:
    async with wires() as wired:
        wired.host.silent = (link.FetchAcked,)
        asking = asyncio.create_task(wired.links.acked(KEY, "client-1"))
        await asyncio.sleep(ASK_TIMEOUT_S - 1)
        assert not asking.done()
        await asyncio.sleep(2)
        assert await refused(asking) == "unavailable"
        (message,) = wired.host.received
        assert isinstance(message, link.FetchAcked)
        wired.host.links[0].reply(link.AckedIs(message.request, 1, 1))
        wired.host.silent = ()
        assert (await wired.links.acked(KEY, "client-1")).cseq == 0
        assert wired.broken == 0


async def test_a_host_of_an_earlier_version_is_asked_only_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(link.SINCE, link.FetchAcked, link.LINK_VERSION + 1)
    async with wires() as wired:
        wired.links.submit(submit(1))
        assert await refused(asyncio.create_task(wired.links.acked(KEY, "client-1"))) == "unavailable"
        assert (await wired.links.snapshot(KEY)).request == 2
        assert not wired.host.asked(link.FetchAcked)
        assert wired.broken == 0
        monkeypatch.setattr(Pipe, "version", link.LINK_VERSION + 1)
        wired.host.links[0].cut()
        await asyncio.sleep(RETRY_FIRST_S)
        assert (await wired.links.acked(KEY, "client-1")).cseq == 1


async def test_a_host_without_a_common_version_is_told_of_and_tried_again() -> None:
    async with wires() as wired:
        wired.host.version = None
        with capture_logs() as logs:
            for _ in range(1000):
                wired.links.submit(submit(1))
                await asyncio.sleep(0.01)
        told = [entry["reason"] for entry in logs if entry["event"] == "no common version"]
        assert 5 < len(told) < 12, "in growing steps, up to a cap"
        assert set(told) == {"they speak another one"}
        wired.host.version = link.LINK_VERSION
        await asyncio.sleep(RETRY_CAP_S)
        assert (await wired.links.acked(KEY, "client-1")).cseq == 0


@pytest.mark.parametrize("code", ["moved", "unavailable", "stale", "ahead"])
async def test_a_refusal_keeps_its_code(code: str) -> None:
    async with wires() as wired:
        wired.host.refuse = lambda message: (
            link.Refused(message.request, code, "why") if isinstance(message, link.FetchEntries) else None
        )
        with pytest.raises(Answerless) as caught:
            await wired.links.entries(KEY, 0)
        assert caught.value.code == code


async def test_the_wait_between_tries_doubles_up_to_a_cap() -> None:
    async with wires() as wired:
        wired.host.down = True
        for _ in range(2000):
            wired.links.submit(submit(1))
            await asyncio.sleep(0.01)
        times = [at for at, _ in wired.host.connects]
        waits = [round(later - earlier, 2) for earlier, later in pairwise(times)]
        assert waits[:4] == pytest.approx([RETRY_FIRST_S, 0.1, 0.2, 0.4], abs=0.02)
        assert waits[6:] == pytest.approx([RETRY_CAP_S] * len(waits[6:]), abs=0.02)
        assert not wired.links.submit(submit(1)), "nothing waits for a host that is not there"


async def test_a_link_that_worked_is_opened_again_at_once() -> None:
    async with wires() as wired:
        for number in range(5):
            assert (await wired.links.acked(KEY, "client-1")).cseq == 0
            wired.host.links[number].cut()
            await settle()
        times = [at for at, _ in wired.host.connects]
        assert times[-1] - times[0] < RETRY_FIRST_S


async def test_a_host_that_accepts_and_says_nothing_is_no_reason_to_hurry() -> None:
    async with wires() as wired:
        wired.host.silent = (link.Submit,)
        for _ in range(300):
            wired.links.submit(submit(1))
            await asyncio.sleep(0.01)
            for pipe in wired.host.links:
                pipe.cut()
        assert len(wired.host.connects) < 10


async def test_a_host_that_does_not_let_one_in_is_given_up() -> None:
    async with wires() as wired:
        wired.host.hanging = True
        asking = asyncio.create_task(wired.links.acked(KEY, "client-1"))
        await asyncio.sleep(CONNECT_TIMEOUT_S + 0.1)
        assert asking.done()
        assert await refused(asking) == "unavailable"
        assert wired.broken == 1


@pytest.mark.parametrize("frame", [b"", b"\xc1", b"{}", b"\x92\x01\x91\x91\xa7unknown"])
async def test_what_is_no_frame_ends_the_link_and_no_more(frame: bytes) -> None:
    async with wires() as wired:
        wired.host.silent = (link.FetchAcked,)
        asking = asyncio.create_task(wired.links.acked(KEY, "client-1"))
        await settle()
        wired.host.links[0].reply_bytes(frame)
        assert await refused(asking) == "unavailable"
        assert wired.broken == 1
        assert not wired.host.links[0].open


async def test_a_host_that_is_not_understood_is_no_reason_to_hurry() -> None:
    async with wires() as wired:
        for _ in range(300):
            wired.links.submit(submit(1))
            await asyncio.sleep(0.01)
            for pipe in wired.host.links:
                pipe.reply()
                pipe.reply_bytes(b"\xc1")
        assert 2 < len(wired.host.connects) < 10


async def test_what_waits_for_a_host_that_does_not_read_is_bounded() -> None:
    async with wires() as wired:
        wired.links.submit(submit(1))
        await settle()
        wired.host.links[0].stalled = asyncio.Event()
        delta = b'["%s"]' % (b"x" * 1024 * 1024)
        taken = 0
        for cseq in range(2, 200):
            taken += wired.links.submit(submit(cseq, delta))
            await settle()
        assert taken * len(delta) <= 2 * QUEUE_BYTES, "one part is on its way, one waits"
        asking = asyncio.create_task(wired.links.acked(KEY, "client-1"))
        assert await refused(asking) == "unavailable"
        wired.host.links[0].stalled.set()
        await settle()
        assert [cseq for _, cseq in wired.host.submitted] == list(range(1, 2 + taken))
        assert wired.links.submit(submit(200, delta))


async def test_where_there_is_no_host_nothing_is_taken() -> None:
    async with wires() as wired:
        wired.ring = Ring(ClusterMap())
        assert not wired.links.submit(submit(1))
        assert await refused(asyncio.create_task(wired.links.acked(KEY, "client-1"))) == "unavailable"


async def test_each_section_goes_to_its_owner() -> None:
    async with wires() as wired:
        hosts = {f"host-{number}": HostEntry(f"host:{number}", "a") for number in range(4)}
        overrides = {"notes": "host-1", "other": "host-2"}
        wired.ring = Ring(ClusterMap(8, hosts, overrides))
        await wired.links.acked(KEY, "client-1")
        await wired.links.acked(OTHER, "client-1")
        assert [pipe.address for pipe in wired.host.links] == ["host:1", "host:2"]


async def test_closing_fails_what_is_asked_and_closes_every_link() -> None:
    async with wires() as wired:
        wired.host.silent = (link.FetchAcked,)
        asking = asyncio.create_task(wired.links.acked(KEY, "client-1"))
        await settle()
        await wired.links.close()
        assert await refused(asking) == "unavailable"
        assert not any(pipe.open for pipe in wired.host.links)
