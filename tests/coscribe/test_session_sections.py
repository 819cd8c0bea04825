"""A document of several sections: joined along the chain, edited as one, each with its own operation in flight."""

import random

from hypothesis import given
from hypothesis import strategies as st

from coscribe.ot import Delta
from coscribe.protocol import Catchup, Fetch, Hello, NackCode, Op, Resume
from coscribe.session import Acknowledged, Changed, Joined, Parked, Session, Synced
from tests.coscribe.sessions import (
    ME,
    OTHER,
    delete,
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

FIRST = snapshot("one", 3, "0", "7")
SECOND = snapshot("two", 5, "7", "2")
THIRD = snapshot("three\n", 0, "2", epoch=0)


def three() -> Session:
    return joined(FIRST, SECOND, THIRD)


# --- Joining ---


def test_the_chain_is_fetched_section_by_section() -> None:
    session = Session(ME)
    session.connected(0.0)
    session.receive(welcome(), 0.0)
    sent(session)
    assert session.receive(FIRST, 0.0) == []
    assert sent(session) == [Fetch("7")]
    assert session.receive(SECOND, 0.0) == []
    assert sent(session) == [Fetch("2")]
    assert session.receive(THIRD, 0.0) == [Joined(insert(0, "onetwothree\n")), Synced()]
    assert [copy.id for copy in session.chain()] == ["0", "7", "2"]
    assert sent(session) == []


def test_entries_meanwhile_are_in_what_is_joined() -> None:
    session = Session(ME)
    session.connected(0.0)
    session.receive(welcome(), 0.0)
    session.receive(FIRST, 0.0)
    assert session.receive(entries(4, other(["X"])), 0.0) == []  # the editor has no document yet
    session.receive(SECOND, 0.0)
    events = session.receive(THIRD, 0.0)
    assert events[0] == Joined(insert(0, "Xonetwothree\n"))


def test_a_connection_that_breaks_while_joining_begins_anew() -> None:
    session = Session(ME)
    session.connected(0.0)
    session.receive(welcome(), 0.0)
    session.receive(FIRST, 0.0)
    session.disconnected()
    session.connected(1.0)
    session.receive(welcome(), 1.0)
    sent(session)
    session.receive(FIRST, 1.0)
    assert sent(session) == [Fetch("7")]


# --- Editing ---


def test_an_edit_is_cut_at_the_boundaries() -> None:
    session = three()
    session.edit(Delta.replace(1, 7, "X"), 0.0)  # o|netwoth|ree
    assert text(session) == "oXree\n"
    assert sent(session) == [
        Op("0", 3, 1, raw([1, "X", -2])),
        Op("7", 5, 2, raw([-3])),
        Op("2", 0, 3, raw([-2])),
    ]


def test_an_insert_on_a_boundary_goes_right() -> None:
    session = three()
    session.edit(insert(3, "X"), 0.0)
    assert sent(session) == [Op("7", 5, 1, raw(["X"]))]
    session.edit(insert(7, "Y"), 0.0)
    assert sent(session) == [Op("2", 0, 2, raw(["Y"]))]
    session.edit(insert(14, "Z\n"), 0.0)
    assert text(session) == "oneXtwoYthree\nZ\n"
    assert sent(session) == []  # behind what is in flight there
    assert session.buffered


def test_a_section_is_not_touched_by_what_leaves_it_alone() -> None:
    session = three()
    session.edit(Delta.replace(0, 1, "O").compose(Delta.replace(6, 1, "T")), 0.0)
    assert [op.s for op in sent(session) if isinstance(op, Op)] == ["0", "2"]


def test_boundaries_move_with_what_is_typed() -> None:
    session = three()
    session.edit(insert(0, "12345"), 0.0)
    session.edit(insert(8, "X"), 0.0)
    assert text(session) == "12345oneXtwothree\n"
    assert [op.s for op in sent(session) if isinstance(op, Op)] == ["0", "7"]


def test_one_operation_in_flight_a_section() -> None:
    session = three()
    for _ in range(2):
        session.edit(Delta.replace(1, 0, "a").compose(Delta.replace(6, 0, "b")), 0.0)
    assert [(op.s, op.cseq) for op in sent(session) if isinstance(op, Op)] == [("0", 1), ("7", 2)]
    assert session.receive(entries(6, mine(2, [2, "b"]), section="7"), 0.0) == [Acknowledged("7", 2, 6)]
    assert [(op.s, op.cseq) for op in sent(session) if isinstance(op, Op)] == [("7", 3)]
    session.receive(entries(4, mine(1, [1, "a"])), 0.0)
    assert [(op.s, op.cseq) for op in sent(session) if isinstance(op, Op)] == [("0", 4)]


# --- Reading ---


def test_changes_are_told_in_document_positions() -> None:
    session = three()
    session.edit(insert(0, "12"), 0.0)
    assert session.receive(entries(1, other([1, "X"]), section="2"), 0.0) == [Changed(insert(9, "X"), (OTHER, 1))]
    assert session.receive(entries(6, other([-1]), section="7"), 0.0) == [Changed(delete(5, 1), (OTHER, 1))]
    assert session.receive(entries(4, other([3, "Y"])), 0.0) == [Changed(insert(5, "Y"), (OTHER, 1))]
    assert text(session) == "12oneYwotXhree\n"


def test_a_refusal_undoes_in_its_section_alone() -> None:
    session = three()
    session.edit(Delta.replace(1, 0, "a").compose(Delta.replace(6, 0, "b")), 0.0)
    events = session.receive(nack(2, NackCode.INVALID, section="7"), 0.0)
    assert events == [Parked("7", 2, NackCode.INVALID, "because", insert(2, "b")), Changed(delete(6, 1))]
    assert text(session) == "oanetwothree\n"


def test_each_section_catches_up_for_itself() -> None:
    session = three()
    sent(session)
    session.receive(head(9, section="7"), 0.0)
    session.receive(entries(3, other(["x"]), section="2"), 0.0)
    assert sent(session) == [Catchup("7", 5, 5), Catchup("2", 0, 0)]


def test_all_are_resumed() -> None:
    session = three()
    session.edit(Delta.replace(1, 0, "a").compose(Delta.replace(6, 0, "b")), 0.0)
    session.disconnected()
    session.connected(1.0)
    (hello,) = sent(session, 1.0)
    assert hello == Hello(1, ME, Resume("life1", {"0": (3, 5), "7": (5, 5), "2": (0, 0)}))
    session.receive(welcome(), 1.0)
    assert [(op.s, op.cseq) for op in sent(session, 1.0) if isinstance(op, Op)] == [("0", 1), ("7", 2)]


@given(st.randoms(use_true_random=False))
def test_the_parts_of_an_edit_make_the_edit(rng: random.Random) -> None:
    session = three()
    document = session.content()
    for _ in range(6):
        at = rng.randint(0, document.length - 1)
        delta = Delta.replace(at, rng.randint(0, document.length - 1 - at), rng.choice(["", "x", "yz"]))
        session.edit(delta, 0.0)
        document = document.compose(delta)
        assert session.content() == document
        for copy in session.chain():
            assert copy.local() == copy.content.delta().compose(copy.pending)
            assert copy.local_length == copy.local().length
