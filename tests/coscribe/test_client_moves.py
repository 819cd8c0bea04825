"""Make before break: the asyncio client against a server that asks it to move, and watches both sockets."""

import asyncio
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coscribe.client import Closed, DocumentClient
from coscribe.ot import Delta
from coscribe.policy import MOVE_SPREAD, move_wait_s
from coscribe.protocol import (
    BadMessage,
    ClientMessage,
    CloseCode,
    Hello,
    Move,
    Op,
    Resume,
    SetPresence,
    close_reason,
    encode,
)
from coscribe.session import Event, Forked, Synced
from tests.coscribe.peers import Peer, served, stay
from tests.coscribe.sessions import EPOCH, entries, head, other, raw, snapshot, welcome

ME = "client-number-1"
SOON = encode(Move(60.0))  # the wait before a move is 0 in these tests: see `at_once`


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No jitter, no backoff."""
    monkeypatch.setattr(random, "random", lambda: 0.0)


@given(st.floats(0, 1e6), st.floats(0, 1))
def test_the_wait_before_a_move_is_full_jitter_of_a_part_of_the_time(within_s: float, draw: float) -> None:
    assert 0 <= move_wait_s(within_s, draw) <= within_s * MOVE_SPREAD
    assert MOVE_SPREAD < 1
    assert move_wait_s(within_s, 1.0) == within_s * MOVE_SPREAD


class Old:
    """The router that asks to move: it keeps what it hears, and how its socket ended."""

    def __init__(self, within_s: float = 60.0) -> None:
        self.within_s = within_s
        self.peer: Peer
        self.asked, self.left = asyncio.Event(), asyncio.Event()
        self.heard: list[ClientMessage] = []
        self.answer: Callable[[ClientMessage], bytes | None] = lambda message: None

    async def __call__(self, peer: Peer) -> None:
        self.peer = peer
        await peer.greet()
        await peer.say(encode(Move(self.within_s)))
        self.asked.set()
        try:
            while True:
                self.heard.append(message := await peer.hear())
                if frame := self.answer(message):
                    await peer.say(frame)
        except TypeError:  # aiohttp's word for a socket that was closed
            self.left.set()


async def test_the_second_socket_is_welcomed_before_the_first_is_closed() -> None:
    old, welcomed = Old(), asyncio.Event()

    async def new(peer: Peer) -> None:
        assert await peer.hear() == Hello(1, ME, Resume("life1", {"0": (3, EPOCH)}))
        assert not old.left.is_set()
        await peer.say(welcome(), head(3))
        welcomed.set()
        await old.left.wait()
        await peer.gone()

    events: list[Event] = []
    async with (
        served(old, new) as (http, url),
        DocumentClient(http, url, "notes", client_id=ME, on_event=events.append) as document,
    ):
        await old.left.wait()
        assert welcomed.is_set()
        assert old.peer.socket.close_code == 1000
        assert document.session.synced
        assert document.connects == 2
    assert sum(isinstance(event, Synced) for event in events) == 1


async def test_the_next_router_of_the_list_is_moved_to() -> None:
    old = Old()
    async with (
        served(old) as (http, first),
        served(stay) as (_, second),
        DocumentClient(http, [first, second], "notes") as document,
    ):
        await old.left.wait()
        assert document.session.synced


async def test_until_the_welcome_edits_and_entries_go_by_the_old_socket_and_none_is_lost_or_doubled() -> None:
    old, typed = Old(), asyncio.Event()

    def acknowledge(message: ClientMessage) -> bytes | None:
        assert isinstance(message, Op)
        if message.cseq == 1:
            return entries(4, other(["q"]), (ME, 1, ["a"]))
        typed.set()
        return None

    old.answer = acknowledge
    resent: list[ClientMessage] = []

    async def new(peer: Peer) -> None:
        await peer.hear()
        document.edit(Delta.replace(0, 0, "a"))
        await document.settled()  # by the old socket
        document.edit(Delta.replace(1, 0, "b"))  # whose acknowledgement is lost with it
        document.edit(Delta.replace(2, 0, "c"))
        await typed.wait()
        await peer.say(welcome(), entries(4, other(["q"]), (ME, 1, ["a"]), (ME, 2, [1, "b"]), epoch=EPOCH))
        resent.append(await peer.hear())
        resent.append(await peer.hear())
        await peer.say(entries(7, (ME, 3, [2, "c"])))
        await peer.gone()

    async with served(old, new) as (http, url), DocumentClient(http, url, "notes", client_id=ME) as document:
        await old.left.wait()
        await document.settled()
        assert document.text == "abcqtext\n"
        assert document.session.revision() == 7
    assert old.heard == [Op("0", 3, 1, raw(["a"])), Op("0", 5, 2, raw([1, "b"]))]
    assert resent == [Op("0", 5, 2, raw([1, "b"])), Op("0", 6, 3, raw([2, "c"]))]


async def test_presence_is_said_on_the_new_socket_before_it_leaves_the_old_one() -> None:
    old, here = Old(), raw({"name": "ann"})
    said: list[ClientMessage] = []

    async def new(peer: Peer) -> None:
        await peer.hear()
        document.presence({"name": "ann"})
        await peer.say(welcome(), head(3))
        said.append(await peer.hear())
        await peer.gone()

    async with served(old, new) as (http, url), DocumentClient(http, url, "notes", client_id=ME) as document:
        await old.left.wait()
        await document.wait_for(lambda: bool(said))
    assert said == [SetPresence("0", 3, here)]
    assert SetPresence("0", 3, raw(None)) not in old.heard


async def _refuse(peer: Peer, code: int, reason: str = "") -> None:
    assert isinstance(await peer.hear(), Hello)
    await peer.close(code, reason)


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013, 4401, 4429, 4508])
async def test_where_it_is_refused_the_old_socket_serves_until_another_try_succeeds(code: int) -> None:
    old = Old()

    async def refuse(peer: Peer) -> None:
        assert not old.left.is_set()
        await _refuse(peer, code, close_reason(retry_after_s=0.0))

    events: list[Event] = []
    async with (
        served(old, refuse, refuse, stay) as (http, url),
        DocumentClient(http, url, "notes", on_event=events.append) as document,
    ):
        await old.left.wait()
        assert document.connects == 4
        assert document.session.synced
    assert sum(isinstance(event, Synced) for event in events) == 1


async def test_a_router_that_is_not_there_is_passed_over() -> None:
    old = Old()
    async with (
        served(old, stay) as (http, url),
        DocumentClient(http, ["http://127.0.0.1:1", url], "notes") as document,
    ):
        await old.left.wait()
        assert document.connects == 4
        assert document.session.synced


@pytest.mark.parametrize("code", [1000, 4400, 4403, 4404, 4410, 4413])
async def test_a_code_that_stops_a_client_stops_it_here(code: int) -> None:
    async with (
        served(Old(), lambda peer: _refuse(peer, code)) as (http, url),
        DocumentClient(http, url, "notes") as document,
    ):
        with pytest.raises(Closed) as closed:
            await document.wait_for(lambda: False)
        assert closed.value.code == code


async def _welcome_to_another_life(peer: Peer) -> None:
    await peer.hear()
    await peer.say(welcome(incarnation="life2"))
    await peer.gone()


@pytest.mark.parametrize("new", [lambda peer: _refuse(peer, CloseCode.FORK), _welcome_to_another_life])
async def test_a_fork_is_one_here(new: Callable[[Peer], object]) -> None:
    old = Old()
    async with served(old, new) as (http, url), DocumentClient(http, url, "notes") as document:  # type: ignore[arg-type]
        with pytest.raises(Forked):
            await document.wait_for(lambda: False)
        await old.left.wait()


async def test_nonsense_on_the_new_socket_is_told_of() -> None:
    async def nonsense(peer: Peer) -> None:
        await peer.hear()
        await peer.say(b"nonsense")
        await peer.gone()

    async with served(Old(), nonsense) as (http, url), DocumentClient(http, url, "notes") as document:
        with pytest.raises(BadMessage):
            await document.wait_for(lambda: False)


async def test_when_the_time_is_over_the_old_socket_serves_and_its_close_is_an_ordinary_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old, timeout = Old(within_s=77.0), asyncio.timeout
    for_the_move = timeout(None)
    monkeypatch.setattr(asyncio, "timeout", lambda delay_s: for_the_move if delay_s == 77.0 else timeout(delay_s))

    async def mute(peer: Peer) -> None:
        await peer.hear()
        for_the_move.reschedule(asyncio.get_running_loop().time())
        await peer.gone()
        await old.peer.say(entries(4, other(["q"])))
        await document.wait_for(lambda: document.text == "qtext\n")
        assert document.session.synced
        await old.peer.close(1012)

    async def again(peer: Peer) -> None:
        assert old.left.is_set()
        await peer.greet(4)
        await peer.gone()

    async with served(old, mute, again) as (http, url), DocumentClient(http, url, "notes") as document:
        await old.left.wait()
        await document.wait_for(lambda: document.connects == 3 and document.session.synced)


async def test_asked_again_while_it_moves_it_moves_once_and_later_once_more() -> None:
    first, second = Old(), Old()

    async def between(peer: Peer) -> None:
        for _ in range(3):
            await first.peer.say(SOON)
        await second(peer)

    async with served(first, between, stay) as (http, url), DocumentClient(http, url, "notes") as document:
        await first.left.wait()
        await second.left.wait()
        await document.wait_for(lambda: document.session.synced)
        assert document.connects == 3


async def test_it_moves_once_the_document_is_here() -> None:
    async def old(peer: Peer) -> None:
        await peer.hear()
        await peer.say(b"[%s,%s]" % (welcome(), SOON))
        await document.wait_for(lambda: document.session.welcome is not None)
        await peer.say(snapshot("text\n"))
        await peer.gone()

    async def new(peer: Peer) -> None:
        hello = await peer.greet()
        assert isinstance(hello, Hello)
        assert hello.resume
        await peer.gone()

    async with served(old, new) as (http, url), DocumentClient(http, url, "notes") as document:
        await document.wait_for(lambda: document.connects == 2 and document.session.synced)


async def test_an_old_socket_that_breaks_during_a_move_is_a_lost_connection() -> None:
    old = Old()

    async def cut(peer: Peer) -> None:
        await peer.hear()
        old.peer.request.transport.abort()  # type: ignore[union-attr]
        await peer.gone()

    async with served(old, cut, stay) as (http, url), DocumentClient(http, url, "notes") as document:
        await document.wait_for(lambda: document.connects == 3 and document.session.synced)


async def test_who_leaves_during_a_move_leaves_both() -> None:
    old, greeted, gone = Old(), asyncio.Event(), asyncio.Event()

    async def new(peer: Peer) -> None:
        await peer.hear()
        greeted.set()
        await peer.gone()
        gone.set()

    async with served(old, new) as (http, url):
        async with DocumentClient(http, url, "notes") as document:
            await greeted.wait()
        await old.left.wait()
        await gone.wait()
        assert not document._sockets._open
