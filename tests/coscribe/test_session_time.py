"""What time alone decides: resending, pinging, giving up a silent server, and when to look at the clock again."""

import pytest

from coscribe.protocol import NackCode, Op, Ping, encode
from coscribe.session import RESEND_AFTER_S, Session, Silent
from tests.coscribe.sessions import entries, head, insert, joined, mine, nack, raw, sent, welcome

PONG = encode({"t": "pong"})


def ticked(session: Session, now: float) -> list[object]:
    """What is sent and told at a time; just before nothing is."""
    assert session.next_due() <= now
    return [*session.tick(now), *sent(session, now)]


def test_without_an_acknowledgement_an_operation_is_sent_again() -> None:
    session = joined()
    session.edit(insert(0, "A"), 1.0)
    (first,) = sent(session, 1.0)
    assert session.next_due() == 1.0 + RESEND_AFTER_S
    assert session.tick(0.9 + RESEND_AFTER_S) == []
    assert sent(session) == []
    assert ticked(session, 1.0 + RESEND_AFTER_S) == [first]
    assert session.next_due() == 1.0 + 2 * RESEND_AFTER_S


@pytest.mark.parametrize(("after_s", "expected"), [(0.5, 0.5), (None, RESEND_AFTER_S)])
@pytest.mark.parametrize("code", [NackCode.UNAVAILABLE, NackCode.RATE])
def test_refused_for_now_it_is_sent_again_when_the_server_says(
    code: NackCode, after_s: float | None, expected: float
) -> None:
    session = joined()
    session.edit(insert(0, "A"), 0.0)
    sent(session)
    session.receive(nack(1, code, after_s), 2.0)
    assert session.next_due() == 2.0 + expected
    assert ticked(session, 2.0 + expected) == [Op("0", 3, 1, raw(["A"]))]


def test_sealed_waits_for_the_merge_but_not_for_ever() -> None:
    session = joined()
    session.edit(insert(0, "A"), 0.0)
    sent(session)
    session.receive(nack(1, NackCode.SEALED), 1.0)
    assert session.next_due() == RESEND_AFTER_S


def test_who_only_listens_pings() -> None:
    session = joined()
    for second in range(1, 20):
        session.receive(head(3), float(second))
    assert session.next_due() == 20.0
    assert ticked(session, 20.0) == [Ping()]
    assert session.next_due() == 40.0


def test_who_only_speaks_pings_too_and_is_not_taken_for_dead() -> None:
    session = joined()
    for second in range(1, 20):
        session.presence("0", raw({"n": second}))
        sent(session, float(second))
    assert ticked(session, 20.0) == [Ping()]
    session.receive(PONG, 20.1)
    assert session.tick(40.0) == []
    assert session.next_due() > 40.0


def test_one_ping_is_enough() -> None:
    session = joined()
    assert ticked(session, 20.0) == [Ping()]
    session.tick(21.0)
    session.tick(39.0)
    assert sent(session) == []


def test_a_server_that_says_nothing_is_given_up() -> None:
    session = joined()
    assert ticked(session, 20.0) == [Ping()]
    assert session.next_due() == 40.0
    assert session.tick(39.9) == []
    assert Silent() in session.tick(40.0)


def test_anything_heard_is_a_sign_of_life() -> None:
    session = joined()
    session.tick(20.0)
    session.receive(PONG, 25.0)
    assert session.tick(64.9) == []
    assert Silent() in session.tick(65.0)


def test_the_heartbeat_is_the_servers() -> None:
    session = joined()
    session.receive(welcome(heartbeat_s=2.0), 0.0)
    assert session.next_due() == 2.0
    assert ticked(session, 2.0) == [Ping()]
    assert Silent() in session.tick(4.0)


def test_time_before_a_connection_does_not_count() -> None:
    session = joined()
    session.disconnected()
    assert session.tick(1_000.0) == []
    session.connected(1_000.0)
    sent(session, 1_000.0)
    session.receive(welcome(), 1_000.0)
    assert session.tick(1_000.0) == []
    assert sent(session) == []
    assert session.next_due() == 1_020.0


def test_a_clock_that_stands_still_sends_nothing_twice() -> None:
    session = joined()
    session.edit(insert(0, "A"), 5.0)
    sent(session, 5.0)
    for _ in range(3):
        session.tick(5.0)
    assert sent(session, 5.0) == []
    session.receive(entries(4, mine(1, ["A"])), 5.0)
    assert session.settled


def test_after_each_tick_the_next_one_is_later() -> None:
    session = joined()
    session.edit(insert(0, "A"), 0.0)
    session.receive(head(9), 0.0)
    sent(session)
    now = 0.0
    for _ in range(12):
        due = session.next_due()
        assert due > now
        now = due
        session.tick(now)
        sent(session, now)
        session.receive(PONG, now)
