"""What no server says is BadMessage, and nothing has changed; what a later one may say is passed over."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coscribe.protocol import BadMessage, Op
from coscribe.session import Changed, Forked, Session
from tests.coscribe.sessions import EPOCH, caught_up, entries, head, insert, joined, other, raw, sent, snapshot, text

GOOD = entries(4, other(["x"]))

MALFORMED = {
    "no JSON": b"nonsense",
    "half a frame": GOOD[:-3],
    "a number": b"7",
    "null": b"null",
    "an array of no messages": b"[1]",
    "no field of entries": b'{"s":"0","rev":4}',
    "a revision that is none": b'{"s":"0","rev":"4","e":[]}',
    "revision 0": b'{"s":"0","rev":0,"e":[["client-x",1,["x"]]]}',
    "an entry that is an object": b'{"s":"0","rev":4,"e":[{"split":3,"into":"1"}]}',
    "an entry that is too short": b'{"s":"0","rev":4,"e":[["client-x",1]]}',
    "an entry in the middle without a delta": b'{"s":"0","rev":4,"e":[["c",1,["x"]],["c",2,7],["c",3,["y"]]]}',
    "an entry in the middle of another form": b'{"s":"0","rev":4,"e":[["c",1,["x"]],["c",2,[0]],["c",3,["y"]]]}',
    "an entry with half a pair": b'{"s":"0","rev":4,"e":[["client-x",1,["x"]],["client-x",2,["\\ud83d"]]]}',
    "a snapshot without a document": b'{"t":"snapshot","s":"0","rev":9,"epoch":5,"next":null,"sealed":null,"delta":{}}',
    "a snapshot that deletes": b'{"t":"snapshot","s":"0","rev":9,"epoch":5,"next":null,"sealed":null,"delta":["a",-1]}',
    "a snapshot that retains": b'{"t":"snapshot","s":"0","rev":9,"epoch":5,"next":null,"sealed":null,"delta":[1,"a"]}',
    "a snapshot that lacks a field": b'{"t":"snapshot","s":"0","rev":9,"epoch":5,"next":null,"delta":["a"]}',
    "a composed change of another form": caught_up(3, 5, ["x", 1.5]),
    "a composed change backwards": caught_up(3, 2, ["x"]),
    "a nack of no code": b'{"t":"nack","s":"0","cseq":1,"code":"mood","message":"","retry":"never"}',
    "a head without an epoch": b'{"t":"head","s":"0","rev":4}',
    "deep nonsense": b'{"s":"0","rev":4,"e":[["client-x",1,' + b"[" * 9_000 + b"]" * 9_000 + b"]]}",
    "a deep frame": b"[" * 9_000 + b"]" * 9_000,
}  # fmt: skip


def busy() -> Session:
    session = joined()
    session.edit(insert(0, "A"), 0.0)
    session.edit(insert(1, "B"), 0.0)
    sent(session)
    return session


def state(session: Session) -> tuple[object, ...]:
    copies = [
        (copy.id, copy.revision, copy.epoch, copy.content.delta(), copy.pending, copy.known_head, copy.asked_at)
        for copy in session.chain()
    ]
    return copies, session.cseq, session.synced, session.welcome, session.next_due()


@pytest.mark.parametrize("frame", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("among", [False, True])
def test_nothing_of_a_malformed_frame_is_taken(frame: bytes, among: bool) -> None:
    """Alone, and as the last message of a frame whose others are well."""
    session = busy()
    before = state(session)
    with pytest.raises(BadMessage):
        session.receive(b"[%s,%s]" % (GOOD, frame) if among else frame, 9.0)
    assert state(session) == before
    assert sent(session) == []
    assert session.receive(GOOD, 9.0) == [Changed(insert(2, "x"), ("client-other", 1))]
    assert text(session) == "ABxtext\n"


@pytest.mark.parametrize("frame", ["\ud83d", '{"t":"\ud83d"}'])
def test_text_that_is_no_unicode(frame: str) -> None:
    with pytest.raises(BadMessage):
        busy().receive(frame, 0.0)


def test_a_change_that_does_not_fit_changes_nothing() -> None:
    session = joined()
    before = state(session)
    for message in (caught_up(3, 9, [9, "x"]), caught_up(3, 9, [-9])):
        with pytest.raises(Forked):
            session.receive(message, 0.0)
        assert state(session) == before


def test_what_a_later_server_may_say_is_passed_over() -> None:
    session = joined()
    frame = b"[%s,%s,%s]" % (
        b'{"t":"hologram","s":"0","rev":99,"delta":17}',
        GOOD[:-1] + b',"mood":"good"}',
        head(4)[:-1] + b',"later":[1]}',
    )
    assert session.receive(frame, 0.0) == [Changed(insert(0, "x"), ("client-other", 1))]
    assert session.receive(b"[]", 0.0) == []
    session.receive(b'{"s":"0","rev":5,"e":[["client-x",1,["y"],"signature"]]}', 0.0)
    assert text(session) == "yxtext\n"


def test_an_edit_of_half_a_pair_is_said_as_it_is() -> None:
    """No owner takes it; the session does not break over it."""
    session = joined(snapshot("\U0001f600\n"))
    session.edit(insert(1, "x"), 0.0)
    assert sent(session) == [Op("0", 3, 1, raw([1, "x"]))]


@given(st.randoms(use_true_random=False))
def test_no_damage_to_a_frame_breaks_a_session(rng: random.Random) -> None:
    """One byte of a good frame changed, dropped or doubled: it is read, or refused with nothing changed."""
    good = rng.choice(
        [GOOD, entries(4, other([2, "x"]), other([-1]), epoch=EPOCH), caught_up(3, 5, [1, "xy"]), snapshot("new\n", 9)]
    )
    at = rng.randrange(len(good))
    byte = rng.choice([b"", good[at : at + 1] * 2, bytes([rng.randrange(32, 127)]), b"9", b'"', b"["])
    session = busy() if rng.random() < 0.5 else joined()
    before = state(session)
    try:
        session.receive(good[:at] + byte + good[at + 1 :], 0.0)
    except BadMessage:
        assert state(session) == before
    except Forked:
        pass
