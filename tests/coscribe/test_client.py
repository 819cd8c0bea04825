"""The asyncio client against a small server that does what a test says, connection by connection."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coscribe.client import Closed, DocumentClient, OperationRefused
from coscribe.ot import Delta
from coscribe.policy import BACKOFF_CAP_S, backoff_s
from coscribe.protocol import (
    BadMessage,
    ClientMessage,
    CloseCode,
    Hello,
    NackCode,
    Op,
    Resume,
    SetPresence,
    close_reason,
)
from coscribe.session import Event, Forked, Joined, Told
from tests.coscribe.peers import Peer, served, stay
from tests.coscribe.sessions import EPOCH, entries, nack, other, raw, snapshot, welcome

# --- Backoff ---


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_the_wait_is_full_jitter_of_a_growing_step(attempt: int, draw: float) -> None:
    assert 0 <= backoff_s(attempt, draw) <= BACKOFF_CAP_S
    assert backoff_s(attempt, 1.0) == min(15.0, 0.25 * 2 ** min(attempt, 20))
    assert backoff_s(attempt, 0.0) == 0.0


# --- One connection ---


async def test_it_joins_edits_and_settles() -> None:
    seen: list[ClientMessage] = []

    async def script(peer: Peer) -> None:
        assert peer.request.headers["Authorization"] == "Bearer secret"
        seen.append(await peer.greet())
        seen.append(await peer.hear())
        await peer.say(entries(4, ("client-number-1", 1, ["Hello "])))
        seen.append(await peer.hear())
        heard.set()
        await peer.gone()

    heard = asyncio.Event()
    events: list[Event] = []
    async with (
        served(script) as (http, url),
        DocumentClient(
            http, url, "notes", token="secret", client_id="client-number-1", on_event=events.append
        ) as document,
    ):
        await document.joined()
        document.edit(Delta.replace(0, 0, "Hello "))
        await document.settled()
        assert document.text == "Hello text\n"
        document.presence({"name": "ann"})
        await heard.wait()
    assert seen == [
        Hello(1, "client-number-1"),
        Op("0", 3, 1, raw(["Hello "])),
        SetPresence("0", 4, raw({"name": "ann"})),
    ]
    assert any(isinstance(event, Joined) for event in events)


async def test_an_edit_that_is_refused_is_raised_once() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.hear()
        await peer.say(nack(1, NackCode.INVALID))
        await peer.gone()

    async with served(script) as (http, url), DocumentClient(http, url, "notes") as document:
        await document.joined()
        document.edit(Delta.replace(0, 0, "x"))
        with pytest.raises(OperationRefused) as refused:
            await document.settled()
        assert refused.value.parked.delta == Delta.replace(0, 0, "x")
        await document.settled()
        assert document.text == "text\n"


# --- Connecting again ---


async def _close(peer: Peer, code: int, reason: str = "") -> None:
    await peer.greet()
    await peer.close(code, reason)


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013, 4429, 4508])
async def test_it_comes_back_after(code: int) -> None:
    async with (
        served(lambda peer: _close(peer, code), stay) as (http, url),
        DocumentClient(http, url, "notes") as document,
    ):
        await document.wait_for(lambda: document.connects == 2 and document.session.synced)
        assert document.failed is None


@pytest.mark.parametrize("code", [1000, 4400, 4401, 4403, 4404, 4410, 4413])
async def test_it_stops_after(code: int) -> None:
    async with (
        served(lambda peer: _close(peer, code, "because")) as (http, url),
        DocumentClient(http, url, "notes") as document,
    ):
        with pytest.raises(Closed) as closed:
            await document.wait_for(lambda: document.connects == 2)
        assert (closed.value.code, closed.value.reason) == (code, "because")
        with pytest.raises(Closed):
            document.edit(Delta.replace(0, 0, "nobody would read this"))


async def test_a_fork_is_for_the_caller_to_heal() -> None:
    async with (
        served(lambda peer: _close(peer, CloseCode.FORK)) as (http, url),
        DocumentClient(http, url, "notes") as document,
    ):
        with pytest.raises(Forked):
            await document.wait_for(lambda: document.connects == 2)


async def test_it_waits_as_long_as_the_server_says(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float, result: object = None) -> object:
        waits.append(seconds)
        return await sleep(0, result)

    monkeypatch.setattr(asyncio, "sleep", note)
    monkeypatch.setattr(random, "random", lambda: 0.5)
    reason = close_reason(retry_after_s=40.0)
    scripts = [lambda peer: _close(peer, 1013, reason), lambda peer: _close(peer, 1012, "no JSON"), stay]
    async with served(*scripts) as (http, url), DocumentClient(http, url, "notes") as document:
        await document.wait_for(lambda: document.connects == 3 and document.session.synced)
    assert [wait for wait in waits if wait] == [50.0, 0.125]


async def test_the_backoff_begins_anew_once_it_was_synced() -> None:
    async with (
        served(lambda peer: _close(peer, 1012), lambda peer: _close(peer, 1012), stay) as (http, url),
        DocumentClient(http, url, "notes") as document,
    ):
        await document.wait_for(lambda: document.connects == 3 and document.session.synced)
        assert document._attempt == 0


async def test_what_was_in_flight_is_sent_again_under_its_number() -> None:
    ops: list[ClientMessage] = []

    async def break_off(peer: Peer) -> None:
        await peer.greet()
        ops.append(await peer.hear())
        peer.request.transport.abort()  # type: ignore[union-attr]

    async def go_on(peer: Peer) -> None:
        hello = await peer.greet()
        assert hello == Hello(1, "client-number-1", Resume("life1", {"0": (3, EPOCH)}))
        ops.append(await peer.hear())
        await peer.say(entries(4, other(["y"]), ("client-number-1", 1, ["x"])))
        await peer.gone()

    async with (
        served(break_off, go_on) as (http, url),
        DocumentClient(http, url, "notes", client_id="client-number-1") as document,
    ):
        await document.joined()
        document.edit(Delta.replace(0, 0, "x"))
        await document.settled()
        assert document.text == "xytext\n"
    assert ops == [Op("0", 3, 1, raw(["x"]))] * 2


async def test_what_is_typed_between_two_connections_comes_after_the_hello(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep = asyncio.sleep

    async def type_meanwhile(seconds: float, result: object = None) -> object:
        if seconds and document.connects == 1:
            document.edit(Delta.replace(0, 0, "x"))
        return await sleep(0, result)

    async def go_on(peer: Peer) -> None:
        await peer.greet()
        assert isinstance(await peer.hear(), Op)
        await peer.say(entries(4, (document.session.client_id, 1, ["x"])))
        await peer.gone()

    monkeypatch.setattr(random, "random", lambda: 0.5)
    async with served(lambda peer: _close(peer, 1012), go_on) as (http, url):
        document = DocumentClient(http, url, "notes")
        monkeypatch.setattr(asyncio, "sleep", type_meanwhile)
        async with document:
            await document.wait_for(lambda: document.connects == 2 and document.session.settled)
            assert document.text == "xtext\n"


async def test_the_next_router_is_tried() -> None:
    async with (
        served(stay) as (http, url),
        DocumentClient(http, ["http://127.0.0.1:1", url], "notes") as document,
    ):
        await document.joined()
        assert document.connects == 2


# --- What must not be silent ---


async def test_a_server_that_talks_nonsense_is_told_of() -> None:
    async def nonsense(peer: Peer) -> None:
        await peer.greet()
        await peer.say(b'{"s":"0","rev":4,"e":[["client-x",1,[0]]]}')
        await peer.gone()

    async with served(nonsense) as (http, url), DocumentClient(http, url, "notes") as document:
        with pytest.raises(BadMessage):
            await document.wait_for(lambda: document.connects == 2)


async def test_so_is_a_receiver_of_events_that_fails() -> None:
    def fail(event: Event) -> None:
        if isinstance(event, Told):
            raise LookupError("the receiver's own fault")

    async with served(stay) as (http, url), DocumentClient(http, url, "notes", on_event=fail) as document:
        with pytest.raises(LookupError):
            await document.joined()


async def test_waiting_has_an_end() -> None:
    async def mute(peer: Peer) -> None:
        await peer.gone()

    async with served(mute) as (http, url), DocumentClient(http, url, "notes") as document:
        with pytest.raises(TimeoutError):
            await document.joined(timeout=0.01)


async def test_a_server_that_falls_silent_is_left() -> None:
    async def silent(peer: Peer) -> None:
        await peer.hear()
        await peer.say(welcome(heartbeat_s=0.02), snapshot("text\n"))
        await peer.gone()

    async with served(silent, stay) as (http, url), DocumentClient(http, url, "notes") as document:
        await document.wait_for(lambda: document.connects == 2 and document.session.synced)
