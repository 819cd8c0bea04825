"""The host's end of a link: frames in order, answers in bounded frames, and nothing that fails in silence."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from actors import router_link
from actors.router_link import RouterLink
from coscribe import link
from coscribe.protocol import NackCode
from tests.actors.maps import Bench, cluster_map, op
from tests.actors.owners import KEY, moved
from tests.support.virtual_time import until_idle, virtual_time


class Socket:
    """The router's end in a test. `blocked`: it reads nothing."""

    def __init__(self) -> None:
        self.sent: list[link.RouterFrame] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self._incoming: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()

    def say(self, *messages: link.ToHost, view: int = 0) -> None:
        self._incoming.put_nowait(link.encode(link.HostFrame(view, list(messages))))

    def end(self, frame: bytes | Exception | None = None) -> None:
        self._incoming.put_nowait(frame)

    async def frames(self) -> AsyncIterator[bytes]:
        while True:
            frame = await self._incoming.get()
            if isinstance(frame, Exception):
                raise frame
            if frame is None:
                return
            yield frame

    async def send(self, frame: bytes) -> None:
        await self.reading.wait()
        self.sent.append(link.decode_router_frame(frame))

    @property
    def answers(self) -> list[link.ToRouter]:
        return [message for frame in self.sent for message in frame.messages]


def linked(bench: Bench) -> tuple[Socket, RouterLink, "asyncio.Task[None]"]:
    socket = Socket()
    router = RouterLink(bench.host, socket)
    return socket, router, asyncio.create_task(router.serve())


@virtual_time
async def test_frames_are_handled_in_order_and_answered_under_the_hosts_view() -> None:
    socket, _, serving = linked(Bench(present=cluster_map(7, "us", "them", notes="them")))
    socket.say(op(1), op(2), view=3)
    socket.say(op(3), view=9)
    socket.end()
    await until_idle()
    assert socket.answers == [moved(op(1)), moved(op(2)), moved(op(3))]
    assert {frame.view for frame in socket.sent} == {7}
    await serving


@virtual_time
async def test_answers_gather_while_a_frame_is_being_written() -> None:
    bench = Bench(present=cluster_map(7, "us", "them", notes="them"))
    socket, _, serving = linked(bench)
    socket.reading.clear()
    for cseq in range(1, 6):
        socket.say(op(cseq))
        await until_idle()
    socket.reading.set()
    await until_idle()
    assert [len(frame.messages) for frame in socket.sent] == [1, 4]
    socket.end()
    await serving


@virtual_time
async def test_a_router_of_an_earlier_version_is_told_only_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    socket, router, serving = linked(Bench())
    monkeypatch.setitem(link.SINCE, link.ComposedIs, router.version + 1)
    router.reply(link.ComposedIs(1, 1, 1, b"c"))
    router.reply(link.AckedIs(2, 1, 1))
    await until_idle()
    assert socket.answers == [link.AckedIs(2, 1, 1)]
    socket.end()
    await serving


@virtual_time
async def test_a_frame_of_answers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_link, "REPLY_FRAME_BYTES", 2_000)
    socket, router, serving = linked(Bench())
    large = link.SnapshotIs(1, 1, 1, 1, b"x" * 5_000)
    entries = link.EntriesAre(2, 1, 1, 1, 1, [b"y" * 400, b"z" * 400])
    for message in (large, entries, entries, link.ComposedIs(3, 1, 1, b"c" * 900), link.AckedIs(4, 1, 1)):
        router.reply(message)
    await until_idle()
    assert [len(frame.messages) for frame in socket.sent] == [1, 2, 2]
    assert socket.answers[0] == large
    socket.end()
    await serving


@pytest.mark.parametrize(("most", "bound"), [("REPLIES_MOST", 10), ("REPLIES_BYTES", 2_000)])
@virtual_time
async def test_a_router_that_reads_nothing_is_cut_off(most: str, bound: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_link, most, bound)
    socket, router, serving = linked(Bench())
    await until_idle()
    socket.reading.clear()
    for _ in range(bound + 1):
        router.reply(moved(op(1)))
    await serving
    assert router.overrun
    router.reply(moved(op(1)))  # an owner that still holds an operation of this link
    assert not router._replies


@virtual_time
async def test_what_is_no_frame_ends_the_link_with_a_word() -> None:
    socket, _, serving = linked(Bench())
    with capture_logs() as logs:
        socket.end(b"nonsense")
        await serving
    assert [entry["event"] for entry in logs] == ["not a link frame"]


@virtual_time
async def test_a_map_that_cannot_be_read_ends_it_too_for_what_is_said_may_be_ours() -> None:
    bench = Bench(map_down=True)
    socket, _, serving = linked(bench)
    with capture_logs() as logs:
        socket.say(op(1), view=9)
        await serving
    assert [entry["event"] for entry in logs] == ["map not read"]
    assert socket.answers == []


@virtual_time
async def test_a_fault_of_ours_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    socket, _, serving = linked(bench)
    monkeypatch.delattr(type(bench.host), "_dispatch")
    with capture_logs() as logs:
        socket.say(op(1))
        await serving
    assert [entry["event"] for entry in logs] == ["link failed"]
    assert isinstance(logs[0]["exc_info"], AttributeError)


@virtual_time
async def test_a_connection_that_breaks_is_none() -> None:
    socket, _, serving = linked(Bench())
    with capture_logs() as logs:
        socket.end(ConnectionResetError("the network"))
        await serving
    assert logs == []


@virtual_time
async def test_cancelled_it_leaves_no_task_behind() -> None:
    _, _, serving = linked(Bench())
    await until_idle()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_the_size_of_an_answer_is_about_its_bytes() -> None:
    for message in (
        link.SnapshotIs(1, 1, 1, 1, b"x" * 5_000),
        link.EntriesAre(2, 1, 1, 1, 1, [b"y" * 4_000, b"z" * 4_000]),
        link.ComposedIs(3, 1, 1, b"c" * 9_000),
        moved(op(1)),
        link.Refusal(KEY, 1, "client-ann", 1, NackCode.INVALID, "no", None),
    ):
        true = len(link.encode(link.RouterFrame(1, [message])))
        assert 0.5 * true <= router_link.size_of(message) <= true + 250
