"""From typing to the acknowledgement or the refusal: one operation in flight, what is typed behind it, and what the
editor must be told so that it shows what the session holds."""

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coscribe.ot import Content, Delta, InvalidDelta, encode
from coscribe.protocol import NackCode, Op
from coscribe.session import Acknowledged, Changed, Forked, Parked, Session
from tests.coscribe.sessions import (
    ME,
    OTHER,
    delete,
    entries,
    insert,
    joined,
    mine,
    nack,
    other,
    raw,
    sent,
    shown,
    snapshot,
    text,
)
from tests.ot.cases import Cases

FINAL = [code for code in NackCode if code.final]
OPEN = [code for code in NackCode if not code.final]


def typed(session: Session, *edits: Delta) -> list[Any]:
    for edit in edits:
        session.edit(edit, 0.0)
    return sent(session)


def test_the_first_edit_is_sent_and_the_next_ones_wait_as_one() -> None:
    session = joined()
    assert typed(session, insert(0, "a")) == [Op("0", 3, 1, raw(["a"]))]
    assert typed(session, insert(1, "b"), insert(2, "c")) == []
    assert session.buffered
    events = session.receive(entries(4, mine(1, ["a"])), 0.0)
    assert events == [Acknowledged("0", 1, 4)]
    assert sent(session) == [Op("0", 4, 2, raw([1, "bc"]))]
    session.receive(entries(5, mine(2, [1, "bc"])), 0.0)
    assert session.settled
    assert text(session) == "abctext\n"


def test_an_edit_of_nothing_is_none() -> None:
    assert typed(joined(), Delta()) == []


def test_what_cancels_out_is_not_sent() -> None:
    session = joined()
    typed(session, insert(0, "a"), insert(1, "b"), delete(1, 1))
    assert not session.buffered
    session.receive(entries(4, mine(1, ["a"])), 0.0)
    assert session.settled
    assert sent(session) == []


def test_an_edit_past_the_end_changes_nothing() -> None:
    session = joined()
    with pytest.raises(InvalidDelta):
        session.edit(insert(6, "x"), 0.0)
    assert (text(session), session.settled, sent(session)) == ("text\n", True, [])


def test_ours_is_ordered_later_and_goes_left() -> None:
    session = joined()
    typed(session, insert(2, "A"))
    typed(session, insert(3, "B"))
    events = session.receive(entries(4, other([2, "x"])), 0.0)
    assert text(session) == "teABxxt\n"
    assert events == [Changed(insert(4, "x"), (OTHER, 1))]


def test_an_entry_that_changes_nothing_here_is_not_shown() -> None:
    session = joined()
    typed(session, delete(0, 4))
    assert session.receive(entries(4, other([1, -2])), 0.0) == []
    assert text(session) == "\n"
    assert sent(session) == []
    session.receive(entries(5, mine(1, [-2])), 0.0)
    assert session.settled


def test_an_acknowledgement_that_differs_means_that_another_tab_has_our_id() -> None:
    session = joined()
    typed(session, insert(0, "a"))
    with pytest.raises(Forked):
        session.receive(entries(4, mine(1, ["b"])), 0.0)
    assert session.pending() == [insert(0, "a")]


def test_an_own_entry_that_is_not_in_flight_is_a_strangers_and_its_number_is_spent() -> None:
    session = joined()
    assert session.receive(entries(4, mine(7, ["a"])), 0.0) == [Changed(insert(0, "a"), (ME, 7))]
    assert typed(session, insert(0, "b")) == [Op("0", 4, 8, raw(["b"]))]


# --- Refusals ---


@pytest.mark.parametrize("code", FINAL)
def test_refused_for_good_it_is_parked_and_undone(code: NackCode) -> None:
    session = joined()
    typed(session, insert(0, "A"), insert(1, "B"))
    events = session.receive(nack(1, code), 0.0)
    assert events == [Parked("0", 1, code, "because", insert(0, "A")), Changed(delete(0, 1))]
    assert sent(session) == [Op("0", 3, 2, raw(["B"]))]
    assert text(session) == "Btext\n"


@pytest.mark.parametrize("code", OPEN)
def test_any_other_refusal_leaves_it_in_flight(code: NackCode) -> None:
    session = joined()
    typed(session, insert(0, "A"), insert(1, "B"))
    events = session.receive(nack(1, code), 0.0)
    assert events == []
    assert text(session) == "ABtext\n"
    session.receive(entries(4, mine(1, ["A"])), 0.0)  # it was accepted all the same
    assert [type(each) for each in sent(session)][-1] is Op


def test_a_refused_deletion_comes_back_around_what_was_typed_into_it() -> None:
    session = joined()
    typed(session, delete(1, 2))
    typed(session, insert(1, "NEW"))
    before = session.content()
    events = session.receive(nack(1, NackCode.INVALID), 0.0)
    assert text(session) in ("teNEWxt\n", "tNEWext\n", "texNEWt\n")
    assert shown(before, events) == session.content()


def test_every_edit_may_be_refused() -> None:
    session = joined()
    typed(session, insert(0, "A"))
    for cseq in range(1, 5):
        typed(session, insert(0, "x"))
        session.receive(nack(cseq, NackCode.FORBIDDEN), 0.0)
    session.receive(nack(5, NackCode.FORBIDDEN), 0.0)
    assert (text(session), session.settled) == ("text\n", True)


# --- Laws ---

randoms = st.randoms(use_true_random=False)


def document(rng: random.Random) -> tuple[Session, Cases]:
    session = joined(snapshot("".join(rng.choices("abc\n", k=rng.randint(0, 8))) + "\n"))
    return session, Cases(rng)


def change(cases: Cases, of: Delta) -> Delta:
    """A random change of a document of some units; its place does not matter here, so it may be anywhere."""
    parts = []
    for _ in range(cases.rng.randint(1, 2)):
        at = cases.rng.randint(0, of.length)
        units = cases.rng.randint(0, min(3, of.length - at))
        part = Delta.replace(at, units, cases.rng.choice(["", "x", "yz"]))
        if units and cases.rng.random() < 0.4:
            part = Delta.format(at, units, cases.attributes(0.4))
        parts.append(part)
        of = of.compose(part)
    return parts[0].compose(parts[1]) if len(parts) == 2 else parts[0]


@given(randoms)
def test_the_editor_shows_what_the_session_holds(rng: random.Random) -> None:
    """Through edits, entries of others and refusals: applying each change that is told gives the content."""
    session, cases = document(rng)
    editor = session.content()
    server = Content.from_delta(editor)
    revision = 3
    for _ in range(12):
        kind = rng.random()
        if kind < 0.4:
            edit = change(cases, editor)
            editor = editor.compose(edit)
            events = session.edit(edit, 0.0)
        elif kind < 0.7:
            delta = change(cases, server.delta())
            server.apply(delta)
            revision += 1
            events = session.receive(_entry(revision, 1, OTHER, delta), 0.0)
        else:
            events = session.receive(nack(session.cseq, NackCode.INVALID), 0.0)
        editor = shown(editor, events)
        assert editor == session.content()
    while not session.settled:
        editor = shown(editor, session.receive(nack(session.cseq, NackCode.INVALID), 0.0))
    assert session.content() == editor == server.delta()


def _entry(revision: int, cseq: int, client: str, delta: Delta) -> bytes:
    return entries(revision, (client, cseq, msgspec.Raw(encode(delta))))


@given(randoms)
def test_an_operation_in_flight_reads_as_its_owner_will_log_it(rng: random.Random) -> None:
    """The session's own transformation over entry after entry is the owner's."""
    session, cases = document(rng)
    server = Content.from_delta(session.content())
    edit = change(cases, session.content())
    session.edit(edit, 0.0)
    expected, revision = edit, 3
    for _ in range(rng.randint(0, 5)):
        delta = change(cases, server.delta())
        server.apply(delta)
        revision += 1
        expected = delta.transform(expected, False)
        session.receive(_entry(revision, 1, OTHER, delta), 0.0)
    if not edit:
        return
    session.receive(_entry(revision + 1, 1, ME, expected), 0.0)
    assert session.settled
    server.apply(expected)
    assert session.content() == server.delta()
