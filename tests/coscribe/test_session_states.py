"""Every state of a session and every message: what it does, and that it leaves alone what is none of its business."""

from collections.abc import Callable

import pytest

from coscribe.protocol import Catchup, ClientMessage, Fetch, NackCode, Op, encode
from coscribe.session import Acknowledged, Changed, Event, Joined, Parked, Session, Synced, Told
from tests.coscribe.sessions import (
    ME,
    caught_up,
    entries,
    head,
    insert,
    joined,
    mine,
    nack,
    other,
    raw,
    sent,
    snapshot,
    text,
    welcome,
)


def fresh() -> Session:
    return Session(ME)


def greeting() -> Session:
    session = fresh()
    session.connected(0.0)
    session.outgoing(0.0)
    return session


def joining() -> Session:
    session = greeting()
    session.receive(welcome(), 0.0)
    return session


def in_flight() -> Session:
    session = joined()
    session.edit(insert(0, "A"), 0.0)
    session.outgoing(0.0)
    return session


def buffered() -> Session:
    session = in_flight()
    session.edit(insert(1, "B"), 0.0)
    return session


def offline() -> Session:
    session = buffered()
    session.disconnected()
    return session


STATES: dict[str, Callable[[], Session]] = {
    "joining": joining,
    "joined": joined,
    "in flight": in_flight,
    "buffered": buffered,
}

NEXT = entries(4, other(["x"]))
OWN = entries(4, mine(1, ["A"]))
GAP = entries(6, other(["x"]))
OLD = entries(2, other(["x"]), other(["y"]))
COMPOSED = caught_up(3, 5, ["xy"])
LATE_COMPOSED = caught_up(1, 2, ["xy"])
NEWER = snapshot("newer\n", 9)
OLDER = snapshot("older\n", 2)

# message -> state -> (text, messages sent, kinds of events)
TABLE: dict[str, tuple[bytes, dict[str, tuple[str, list[type[ClientMessage]], list[type[Event]]]]]] = {
    "the next entry": (NEXT, {
        "joining": ("", [], []),
        "joined": ("xtext\n", [], [Changed]),
        "in flight": ("Axtext\n", [], [Changed]),
        "buffered": ("ABxtext\n", [], [Changed]),
    }),
    "the own entry": (OWN, {
        "joining": ("", [], []),
        "joined": ("Atext\n", [], [Changed]),
        "in flight": ("Atext\n", [], [Acknowledged]),
        "buffered": ("ABtext\n", [Op], [Acknowledged]),
    }),
    "an entry after a gap": (GAP, {
        "joining": ("", [], []),
        "joined": ("text\n", [Catchup], []),
        "in flight": ("Atext\n", [Catchup], []),
        "buffered": ("ABtext\n", [Catchup], []),
    }),
    "entries that were read": (OLD, {
        "joining": ("", [], []),
        "joined": ("text\n", [], []),
        "in flight": ("Atext\n", [], []),
        "buffered": ("ABtext\n", [], []),
    }),
    "a composed change": (COMPOSED, {
        "joining": ("", [], []),
        "joined": ("xytext\n", [], [Changed]),
        "in flight": ("Atext\n", [Catchup], []),
        "buffered": ("ABtext\n", [Catchup], []),
    }),
    "a composed change from elsewhere": (LATE_COMPOSED, {
        "joining": ("", [], []),
        "joined": ("text\n", [], []),
        "in flight": ("Atext\n", [], []),
        "buffered": ("ABtext\n", [], []),
    }),
    "a newer snapshot": (NEWER, {
        "joining": ("newer\n", [], [Joined, Synced]),
        "joined": ("newer\n", [], [Changed]),
        "in flight": ("Atext\n", [], []),
        "buffered": ("ABtext\n", [], []),
    }),
    "an older snapshot": (OLDER, {
        "joining": ("older\n", [], [Joined, Synced]),
        "joined": ("text\n", [], []),
        "in flight": ("Atext\n", [], []),
        "buffered": ("ABtext\n", [], []),
    }),
    "a snapshot that is not the last of its document": (snapshot("one", 9, following="1"), {
        "joining": ("one", [Fetch], []),
    }),
    "the head where it stands": (head(3), {
        "joining": ("", [], []),
        "joined": ("text\n", [], []),
        "in flight": ("Atext\n", [], []),
        "buffered": ("ABtext\n", [], []),
    }),
    "a head before it": (head(2), {
        "joined": ("text\n", [], []),
        "in flight": ("Atext\n", [], []),
    }),
    "a head ahead": (head(4), {
        "joining": ("", [], []),
        "joined": ("text\n", [Catchup], []),
        "in flight": ("Atext\n", [Catchup], []),
        "buffered": ("ABtext\n", [Catchup], []),
    }),
    "lagging": (encode({"t": "lagging", "s": "0", "rev": 8}), {
        "joining": ("", [], []),
        "joined": ("text\n", [Catchup], []),
        "in flight": ("Atext\n", [Catchup], []),
    }),
    "a refusal for good": (nack(1, NackCode.INVALID), {
        "joining": ("", [], []),
        "joined": ("text\n", [], []),
        "in flight": ("text\n", [], [Parked, Changed]),
        "buffered": ("Btext\n", [Op], [Parked, Changed]),
    }),
    "a refusal for now": (nack(1, NackCode.UNAVAILABLE, 0.5), {
        "joining": ("", [], []),
        "joined": ("text\n", [], []),
        "in flight": ("Atext\n", [], []),
        "buffered": ("ABtext\n", [], []),
    }),
    "a refusal of another operation": (nack(9, NackCode.INVALID), {
        "joined": ("text\n", [], []),
        "in flight": ("Atext\n", [], []),
        "buffered": ("ABtext\n", [], []),
    }),
    "stale": (nack(1, NackCode.STALE), {
        "joined": ("text\n", [], []),
        "in flight": ("Atext\n", [Catchup], []),
        "buffered": ("ABtext\n", [Catchup], []),
    }),
    "sealed": (nack(1, NackCode.SEALED), {
        "in flight": ("Atext\n", [], []),
    }),
    "another welcome": (welcome(), {
        "joined": ("text\n", [], [Told]),
        "in flight": ("Atext\n", [Op], [Told]),
        "buffered": ("ABtext\n", [Op], [Told]),
    }),
    "the last accepted operation": (encode({"t": "acked", "s": "0", "cseq": 8, "rev": 2}), {
        "joining": ("", [], []),
        "joined": ("text\n", [], []),
        "in flight": ("Atext\n", [], []),
    }),
    "a presence": (encode({"t": "presence", "p": {"client-x": None}}), {
        "joining": ("", [], [Told]),
        "joined": ("text\n", [], [Told]),
    }),
    "expiring": (encode({"t": "expiring", "at": 99}), {"joined": ("text\n", [], [Told])}),
    "move": (encode({"t": "move", "within_s": 10}), {"in flight": ("Atext\n", [], [Told])}),
    "an error": (encode({"t": "error", "code": "x", "message": "y"}), {"joined": ("text\n", [], [Told])}),
    "a pong": (encode({"t": "pong"}), {"in flight": ("Atext\n", [], [])}),
    "a message of a later version": (encode({"t": "hologram", "s": 7}), {
        "joining": ("", [], []),
        "in flight": ("Atext\n", [], []),
    }),
    "a section nobody asked for": (entries(4, other(["x"]), section="9"), {"in flight": ("Atext\n", [], [])}),
    "its head": (head(4, section="9"), {"in flight": ("Atext\n", [], [])}),
    "its composed change": (caught_up(3, 5, ["x"], section="9"), {"in flight": ("Atext\n", [], [])}),
    "its refusal": (nack(1, NackCode.INVALID, section="9"), {"in flight": ("Atext\n", [], [])}),
}  # fmt: skip

CASES = [(name, state) for name, (_, states) in TABLE.items() for state in states]


@pytest.mark.parametrize(("name", "state"), CASES, ids=lambda value: value)
def test_what_a_message_does(name: str, state: str) -> None:
    message, states = TABLE[name]
    expected_text, expected_sent, expected_events = states[state]
    session = STATES[state]()
    events = session.receive(message, 1.0)
    assert text(session) == expected_text
    assert [type(each) for each in sent(session, 1.0)] == expected_sent
    assert [type(event) for event in events] == expected_events


@pytest.mark.parametrize("state", STATES)
def test_every_message_twice_is_once(state: str) -> None:
    """But for welcome and what is only told on."""
    for name, (message, states) in TABLE.items():
        if state not in states or name == "another welcome":
            continue
        session = STATES[state]()
        session.receive(message, 1.0)
        once = text(session), session.settled, session.cseq
        again = [event for event in session.receive(message, 1.0) if not isinstance(event, Told)]
        assert (text(session), session.settled, session.cseq) == once, name
        assert again == [], name


# --- Without a connection ---


@pytest.mark.parametrize("state", [fresh, offline, greeting])
def test_who_is_not_welcomed_says_nothing_but_hello(state: Callable[[], Session]) -> None:
    session = state()
    session.tick(100.0)
    session.presence("0", raw({}))
    session.renew("ticket")
    assert session.outgoing(100.0) == []


def test_editing_goes_on_offline_and_leaves_with_the_welcome() -> None:
    session = offline()
    session.edit(insert(2, "C"), 1.0)
    assert text(session) == "ABCtext\n"
    assert not session.settled
    session.connected(2.0)
    session.receive(welcome(), 2.0)
    (hello, op) = sent(session, 2.0)
    assert getattr(hello, "resume", None) is not None
    assert op == Op("0", 3, 1, raw(["A"]))


def test_a_presence_of_a_section_that_is_not_here_yet_is_not_said() -> None:
    session = joining()
    session.presence("0", raw({}))
    assert sent(session) == []


def test_editing_before_the_document_is_here_is_a_mistake() -> None:
    with pytest.raises(AssertionError):
        joining().edit(insert(0, "x"), 0.0)
