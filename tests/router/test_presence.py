"""Presence: who is here is known to all who are here, soon; who is gone is gone for all, in the end."""

import asyncio
import json
from typing import Any

import pytest

from router.audience import ROSTER_MOST, SAID_PER_S, SENDS_PER_S
from router.presence import REFRESH_S, TTL_MS
from tests.router.bench import PRESENCE, Bench, Tab, bench, settle


def states(tab: Tab) -> dict[str, Any]:
    """What the tab shows after everything that it heard: the state of each client."""
    shown: dict[str, Any] = {}
    for message in tab.all("presence"):
        for client, peer in message["p"].items():
            shown.pop(client, None)
            if peer is not None:
                shown[client] = peer["state"]
    return shown


async def say(tab: Tab, state: Any, s: str = "0", rev: int = 0) -> None:
    tab.say("presence", s=s, rev=rev, state=state)
    await asyncio.sleep(0.1)  # longer than a small room makes one wait


async def elsewhere(b: Bench, client: str, state: Any) -> None:
    """A client of another router says something."""
    peer = {"s": "0", "rev": 0, "state": state, "user": {"id": "u", "name": "U"}}
    message = json.dumps({"t": "presence", "p": {client: None if state is None else peer}}).encode()
    encoded = None if state is None else json.dumps(peer).encode()
    await b.roster.set("notes", "life1", client, encoded, TTL_MS, message)
    await asyncio.sleep(0.1)


async def test_those_here_hear_it_and_those_who_come_later_read_it() -> None:
    async with bench() as b:
        ann, bob = await b.join("client-a"), await b.join("client-b", user="bob")
        await say(ann, {"cursor": {"index": 5, "length": 0}}, rev=7)
        peer = bob.all("presence")[-1]["p"]["client-a"]
        assert peer == {
            "s": "0", "rev": 7, "state": {"cursor": {"index": 5, "length": 0}}, "user": {"id": "ann", "name": "Ann"}
        }  # fmt: skip
        cat = await b.join("client-c")
        assert cat.kinds[:2] == ["welcome", "presence"]
        assert cat.heard[1]["p"] == {"client-a": peer}


async def test_the_roster_leaves_out_who_asks() -> None:
    async with bench() as b:
        await elsewhere(b, "client-a", {"old": True})
        ann = await b.join("client-a")
        assert ann.heard[1] == {"t": "presence", "p": {}}


async def test_what_is_heard_while_the_roster_is_read_is_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench() as b:
        for client in ("client-x", "client-y"):
            await elsewhere(b, client, {"at": 1})
        read, arrived = b.roster.all, asyncio.Event()

        async def slowly(document: str, incarnation: str) -> dict[str, bytes]:
            found = await read(document, incarnation)
            await arrived.wait()
            return found

        monkeypatch.setattr(b.roster, "all", slowly)
        bob = b.hello("client-b")
        await settle()
        await elsewhere(b, "client-x", None)
        await elsewhere(b, "client-y", {"at": 2})
        assert bob.kinds == ["welcome"]
        arrived.set()
        await asyncio.sleep(0.1)
        assert states(bob) == {"client-y": {"at": 2}}
        assert states(await b.join("client-c")) == {"client-y": {"at": 2}}


async def test_the_roster_is_read_once_changes_are_heard() -> None:
    """Else what is said in between would be in neither."""
    async with bench() as b:
        await (await b.join("client-a")).leave()
        b.bus.held = True
        bob = await b.join("client-b")
        assert bob.kinds == ["welcome"]
        await elsewhere(b, "client-x", {"at": 1})
        b.bus.release()
        await settle()
        assert states(bob) == {"client-x": {"at": 1}}


async def test_null_leaves_and_so_does_the_socket() -> None:
    async with bench() as b:
        ann, bob, cat = [await b.join(client) for client in ("client-a", "client-b", "client-c")]
        await say(ann, {"a": 1})
        await say(bob, {"b": 1})
        assert states(cat) == {"client-a": {"a": 1}, "client-b": {"b": 1}}
        await say(ann, None)
        await bob.leave()
        await settle()
        assert states(cat) == {}
        assert (await b.join("client-d")).heard[1]["p"] == {}


async def test_who_never_said_anything_leaves_in_silence() -> None:
    async with bench() as b:
        ann = await b.join("client-a")
        await ann.leave()
        assert b.roster.writes == []


async def test_what_was_said_last_is_what_stays_however_slow_redis_is() -> None:
    async with bench() as b:
        ann, bob = await b.join("client-a"), await b.join("client-b")
        b.roster.gate = asyncio.Event()
        for number in range(50):
            await say(ann, {"n": number})
        b.roster.gate.set()
        await asyncio.sleep(1)
        assert states(bob) == {"client-a": {"n": 49}}
        assert len(b.roster.writes) == 2, "one was on its way, and then the newest"


async def test_a_socket_that_goes_while_redis_is_slow_is_gone_in_the_end() -> None:
    async with bench() as b:
        ann, bob = await b.join("client-a"), await b.join("client-b")
        b.roster.gate = asyncio.Event()
        await say(ann, {"n": 1})
        leaving = asyncio.create_task(ann.leave())
        await settle()
        b.roster.gate.set()
        await leaving
        assert [encoded for _, encoded in b.roster.writes][-1] is None
        await settle()
        assert states(bob) == {}


async def test_in_a_large_room_changes_are_told_together_and_rarely() -> None:
    async with bench() as b:
        tabs = [await b.join(f"client-{number:03}") for number in range(250)]
        for tab in tabs:
            tab.heard.clear()
        for number in range(20):
            for tab in tabs[:5]:
                tab.say("presence", s="0", rev=0, state={"n": number})
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        assert states(tabs[-1]) == {f"client-{number:03}": {"n": 19} for number in range(5)}
        frames = len(tabs[-1].all("presence"))
        assert 2 <= frames <= 2 * SENDS_PER_S / len(tabs) + 1
        assert sum("client-000" in message["p"] for message in tabs[-1].all("presence")) > 2


async def test_all_may_move_at_once_and_each_has_a_turn() -> None:
    """What is said meanwhile is not said at all: the newest counts."""
    async with bench() as b:
        tabs = [await b.join(f"client-{number:03}") for number in range(250)]
        for number in range(10):
            for tab in tabs:
                tab.say("presence", s="0", rev=0, state={"n": number})
            await asyncio.sleep(0.1)
        assert len(b.roster.writes) <= SAID_PER_S + 1
        await asyncio.sleep(5)
        assert states(tabs[0]) == {f"client-{number:03}": {"n": 9} for number in range(250)}


async def test_who_leaves_a_large_room_does_not_wait_for_its_turn() -> None:
    async with bench() as b:
        tabs = [await b.join(f"client-{number:03}") for number in range(250)]
        for tab in tabs:
            tab.say("presence", s="0", rev=0, state={})
        await asyncio.sleep(0.5)
        await tabs[-1].leave()
        await tabs[0].leave()
        assert b.roster.writes[-1] == ("client-000", None)


async def test_a_roster_is_of_those_who_moved_last() -> None:
    async with bench() as b:
        await b.join("client-a")
        for number in range(ROSTER_MOST + 1):
            await elsewhere(b, f"client-{number:03}", {})
        await elsewhere(b, "client-001", {"again": True})
        bob = await b.join("client-b")
        assert len(bob.heard[1]["p"]) == ROSTER_MOST
        assert bob.heard[1]["p"]["client-001"]["state"] == {"again": True}
        assert "client-000" not in bob.heard[1]["p"]


async def test_only_the_first_who_comes_reads_the_roster() -> None:
    async with bench() as b:
        ann = await b.join("client-a")
        await say(ann, {"a": 1})
        bob, cat = await b.join("client-b"), await b.join("client-c")
        assert b.roster.reads == 1
        assert states(bob) == states(cat) == {"client-a": {"a": 1}}


async def test_who_says_nothing_new_is_kept_alive_without_a_word() -> None:
    async with bench() as b:
        ann, bob = await b.join("client-a"), await b.join("client-b")
        await say(ann, {"a": 1})
        bob.heard.clear()
        for _ in range(6):
            await asyncio.sleep(REFRESH_S)
            ann.say("ping")
            bob.say("ping")
        assert len(b.roster.writes) == 1
        assert bob.all("presence") == []
        assert set(await b.roster.all("notes", "life1")) == {"client-a"}


async def test_what_redis_has_forgotten_is_said_again() -> None:
    async with bench() as b:
        ann, bob = await b.join("client-a"), await b.join("client-b")
        await say(ann, {"a": 1})
        b.roster.forget()
        await asyncio.sleep(2 * REFRESH_S)
        assert set(await b.roster.all("notes", "life1")) == {"client-a"}
        assert states(bob) == {"client-a": {"a": 1}}


async def test_an_interruption_of_the_bus_is_looked_after_soon() -> None:
    async with bench() as b:
        bob = await b.join("client-b")
        await elsewhere(b, "client-x", {"x": 1})
        b.bus.deaf = True
        await elsewhere(b, "client-x", None)
        await elsewhere(b, "client-y", {"y": 1})
        b.bus.deaf = False
        b.router.presence.interrupted(PRESENCE)
        await asyncio.sleep(2)
        assert states(bob) == {"client-y": {"y": 1}}


async def test_what_is_said_is_kept_alive_and_what_is_not_ends() -> None:
    async with bench() as b:
        ann = await b.join("client-a")
        await say(ann, {"a": 1})
        await elsewhere(b, "client-x", {"x": 1})  # its router dies
        bob = await b.join("client-b")
        assert states(bob) == {"client-a": {"a": 1}, "client-x": {"x": 1}}
        for _ in range(6):
            await asyncio.sleep(REFRESH_S)
            ann.say("ping")
            bob.say("ping")
        assert states(bob) == {"client-a": {"a": 1}}


async def test_who_is_gone_without_a_word_is_missed_even_if_nobody_else_says_anything() -> None:
    async with bench() as b:
        await elsewhere(b, "client-x", {"x": 1})
        bob = await b.join("client-b")
        assert states(bob) == {"client-x": {"x": 1}}
        for _ in range(5):
            await asyncio.sleep(REFRESH_S)
            bob.say("ping")
        assert states(bob) == {}


async def test_what_pub_sub_lost_is_found_by_the_roster() -> None:
    async with bench() as b:
        bob = await b.join("client-b")
        await elsewhere(b, "client-x", {"x": 1})
        await elsewhere(b, "client-z", {"z": 1})
        b.bus.deaf = True
        await elsewhere(b, "client-x", None)
        await elsewhere(b, "client-y", {"y": 1})
        assert states(bob) == {"client-x": {"x": 1}, "client-z": {"z": 1}}
        await asyncio.sleep(2 * REFRESH_S)
        assert states(bob) == {"client-z": {"z": 1}, "client-y": {"y": 1}}


async def test_moving_to_a_new_socket_here_shows_no_gap() -> None:
    async with bench() as b:
        old, bob = await b.join("client-a"), await b.join("client-b")
        await say(old, {"at": 1})
        new = await b.join("client-a")
        await say(new, {"at": 2})
        bob.heard.clear()
        await old.leave()
        await asyncio.sleep(1)
        assert all(message["p"]["client-a"] is not None for message in bob.all("presence"))
        assert (await b.join("client-c")).heard[1]["p"]["client-a"]["state"] == {"at": 2}


async def test_a_slow_last_word_of_the_old_socket_does_not_stay() -> None:
    async with bench() as b:
        old, new, bob = await b.join("client-a"), await b.join("client-a"), await b.join("client-b")
        await say(new, {"at": 2})
        b.roster.gate = asyncio.Event()
        await say(old, {"at": 1})
        leaving = asyncio.create_task(old.leave())
        await settle()
        b.roster.gate.set()
        await leaving
        await asyncio.sleep(1)
        assert states(bob) == {"client-a": {"at": 2}}


async def test_moving_to_a_new_socket_of_another_router_ends_here() -> None:
    """The old router says that the client left; the one that has the new socket says again where it is."""
    async with bench() as b:
        new, bob = await b.join("client-a"), await b.join("client-b")
        await say(new, {"at": 2})
        await elsewhere(b, "client-a", None)
        await asyncio.sleep(0.1)
        assert states(bob) == {"client-a": {"at": 2}}
        assert (await b.join("client-c")).heard[1]["p"]["client-a"]["state"] == {"at": 2}


async def test_a_slow_reader_misses_moves_but_not_who_leaves() -> None:
    async with bench() as b:
        ann, bob = await b.join("client-a"), await b.join("client-b")
        await say(ann, {"at": 1})
        bob.reading = False
        bob.connection.outbox.push(b'{"t":"pong","x":"%s"}' % (b"x" * 2_000_000))
        await say(ann, {"at": 2})
        await ann.leave()
        await settle()
        bob.reading = True
        bob.read()
        assert states(bob) == {}
        assert sum("client-a" in message["p"] for message in bob.all("presence")) == 2


async def test_without_redis_presence_is_lost_and_nothing_else() -> None:
    async with bench() as b:
        ann, bob = await b.join("client-a"), await b.join("client-b")
        b.roster.refusing = True
        await say(ann, {"at": 1})
        ann.op(1)
        await settle()
        assert bob.revisions == [1]
        b.roster.refusing = False
        await asyncio.sleep(REFRESH_S + 2)
        assert states(bob) == {"client-a": {"at": 1}}


async def test_what_is_no_presence_is_dropped() -> None:
    async with bench() as b:
        ann = await b.join("client-a")
        ann.heard.clear()
        for message in (b"", b"{", b"[]", b'{"t":"presence"}', b"\xff"):
            b.bus.push(PRESENCE, message)
        await settle()
        assert ann.heard == []
