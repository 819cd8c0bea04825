"""What a session does when its server asks it to move: `hello_beside`, then all that can happen until the second
connection has welcomed it, then `switched`. sdk/test/move.test.ts has the same cases."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from coscribe.protocol import (
    BadMessage,
    Catchup,
    ClientMessage,
    Hello,
    NackCode,
    Op,
    Resume,
    SetPresence,
    decode_client_message,
    encode,
)
from coscribe.session import Acknowledged, Changed, Event, Forked, Session, Synced, Told
from tests.coscribe.sessions import (
    EPOCH,
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

LAGGING = encode({"t": "lagging", "s": "0", "rev": 9})
ROSTER = encode({"t": "presence", "p": {}})
HERE = raw({"cursor": {"index": 1, "length": 0}})

Act = Callable[[Session], object]


def typed(what: str, at: int = 0) -> Act:
    return lambda session: session.edit(insert(at, what), 1.0)


def read(*frames: bytes) -> Act:
    return lambda session: [session.receive(frame, 2.0) for frame in frames]


def is_here(session: Session) -> None:
    session.presence("0", HERE)


@dataclass(frozen=True)
class Case:
    """`before` the hello, `between` it and the welcome, `after` that on the second connection."""

    text: str
    revision: int
    before: tuple[Act, ...] = ()
    between: tuple[Act, ...] = ()
    says: list[ClientMessage] = field(default_factory=list)
    after: tuple[bytes, ...] = ()
    answers: list[ClientMessage] = field(default_factory=list)


CASES = {
    "nothing happens": Case("text\n", 3),
    "entries read on the old connection come again": Case(
        "qtext\n", 4, between=(read(entries(4, other(["q"]))),), after=(entries(4, other(["q"]), epoch=EPOCH),)
    ),
    "entries overlap: each is skipped by itself": Case(
        "qrtext\n", 5, between=(read(entries(4, other(["r"]))),),
        after=(entries(4, other(["r"]), other(["q"], 2), epoch=EPOCH),),
    ),
    "entries that the old connection did not bring": Case("qtext\n", 4, after=(entries(4, other(["q"])), head(4))),
    "the new server stands behind the old one": Case(
        "qtext\n", 4, between=(read(entries(4, other(["q"]))),), after=(head(3),)
    ),
    "an operation in flight is sent again under its cseq": Case(
        "Xtext\n", 4, before=(typed("X"),), says=[Op("0", 3, 1, raw(["X"]))], after=(entries(4, mine(1, ["X"])),)
    ),
    "an operation sent between hello and welcome, too, at the present base": Case(
        "Xqtext\n", 5, between=(typed("X"), read(entries(4, other(["q"])))), says=[Op("0", 4, 1, raw(["X"]))],
        after=(entries(4, other(["q"]), mine(1, ["X"])),),
    ),
    "an acknowledgement that came on the old connection ends it": Case(
        "Xtext\n", 4, before=(typed("X"),), between=(read(entries(4, mine(1, ["X"]))),),
        after=(entries(4, mine(1, ["X"]), epoch=EPOCH),),
    ),
    "a buffer goes on behind what is in flight": Case(
        "XYtext\n", 5, before=(typed("X"), typed("Y", 1)), says=[Op("0", 3, 1, raw(["X"]))],
        after=(entries(4, mine(1, ["X"])), entries(5, mine(2, [1, "Y"]))), answers=[Op("0", 4, 2, raw([1, "Y"]))],
    ),
    "what was refused for now on the old connection is sent at once": Case(
        "Xtext\n", 4, before=(typed("X"),), between=(read(nack(1, NackCode.RATE, 9.0)),),
        says=[Op("0", 3, 1, raw(["X"]))], after=(entries(4, mine(1, ["X"])),),
    ),
    "lagging on the old connection: the new one brings it unasked": Case(
        "qtext\n", 9, before=(read(LAGGING),), after=(entries(4, other(["q"]), *(other([], 2),) * 5),)
    ),
    "a gap is asked for anew where it was not closed": Case(
        "text\n", 3, before=(read(LAGGING),), after=(head(9),), answers=[Catchup("0", 3, EPOCH, False)]
    ),
    "a composed change asked for on the old connection is not waited for": Case(
        "Xqtext\n", 5, before=(read(head(90)), typed("X")), says=[Op("0", 3, 1, raw(["X"]))],
        after=(entries(4, other(["q"]), mine(1, ["X"])),),
    ),
    "a composed change for the old connection alone is not used twice": Case(
        "qtext\n", 90, before=(read(head(90)),), between=(read(caught_up(3, 90, ["q"])),),
        after=(entries(4, other(["q"])), head(90)),
    ),
    "presence is said again": Case(
        "text\n", 3, before=(is_here,), says=[SetPresence("0", 3, HERE)], after=(ROSTER, head(3))
    ),
    "who has left stays away": Case("text\n", 3, before=(is_here, lambda session: session.presence("0", raw(None)))),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_move(name: str) -> None:
    case = CASES[name]
    session = joined()
    session.receive(head(3), 0.0)
    for act in case.before:
        act(session)
    assert session.movable
    hello = decode_client_message(session.hello_beside())
    assert hello == Hello(1, ME, Resume("life1", {"0": (3, EPOCH)}))
    for act in case.between:
        act(session)
    sent(session)
    synced, settled, shown = session.synced, session.settled, text(session)

    events = session.switched(welcome(), 3.0)
    assert [type(event) for event in events] == [Told]
    assert (session.synced, session.settled, text(session)) == (synced, settled, shown)
    assert sent(session, 3.0) == case.says

    said: list[ClientMessage] = []
    for frame in case.after:
        events = session.receive(frame, 4.0)
        assert not any(isinstance(event, Synced) for event in events)
        said += sent(session, 4.0)
    assert said == case.answers
    assert (text(session), session.revision(), session.settled) == (case.text, case.revision, True)


def test_the_hello_beside_changes_nothing() -> None:
    session = joined()
    session.edit(insert(0, "X"), 1.0)
    due = session.next_due()
    assert session.hello_beside() == session.hello_beside()
    assert sent(session) == [Op("0", 3, 1, raw(["X"]))]
    assert (session.next_due(), session.synced, session.movable) == (due, True, True)


def test_what_was_not_sent_yet_is_said_on_the_new_connection_once() -> None:
    session = joined()
    session.edit(insert(0, "X"), 1.0)
    session.presence("0", HERE)
    session.receive(LAGGING, 1.0)
    session.switched(welcome(), 2.0)
    assert sent(session, 2.0) == [Op("0", 3, 1, raw(["X"])), SetPresence("0", 3, HERE)]


def test_the_editor_is_told_of_each_entry_and_acknowledgement_once() -> None:
    session = joined()
    session.edit(insert(0, "X"), 1.0)
    session.hello_beside()
    told: list[Event] = session.receive(entries(4, other(["q"]), mine(1, ["X"])), 1.0)
    told += session.switched(b"[%s,%s]" % (welcome(), entries(4, other(["q"]), mine(1, ["X"]))), 2.0)
    told += session.receive(entries(4, other(["q"]), mine(1, ["X"]), other([5, "r"], 2)), 2.0)
    assert [type(event) for event in told] == [Changed, Acknowledged, Told, Changed]


def test_only_who_has_read_the_document_can_move() -> None:
    session = Session(ME)
    assert not session.movable
    session.connected(0.0)
    assert not session.movable
    session.receive(welcome(), 0.0)
    assert not session.movable
    session.receive(snapshot("text\n", following="1"), 0.0)
    assert not session.movable
    session.receive(snapshot("more\n", section="1"), 0.0)
    assert session.movable
    session.disconnected()
    assert not session.movable


def test_a_session_that_was_not_synced_is_synced_by_the_new_connection() -> None:
    session = joined()
    session.receive(head(9), 0.0)
    session.disconnected()
    session.connected(1.0)
    session.receive(welcome(), 1.0)
    assert session.switched(welcome(), 2.0) == [Told(session.welcome)]  # type: ignore[arg-type]
    assert not session.synced
    assert Synced() in session.receive(entries(4, *(other([]),) * 6), 3.0)


def test_another_incarnation_is_a_fork() -> None:
    session = joined()
    session.edit(insert(0, "X"), 1.0)
    with pytest.raises(Forked):
        session.switched(welcome(incarnation="life2"), 2.0)
    assert session.pending() == [insert(0, "X")]


def test_so_is_another_epoch() -> None:
    session = joined()
    session.switched(welcome(), 2.0)
    with pytest.raises(Forked):
        session.receive(head(3, epoch=EPOCH + 1), 2.0)


@pytest.mark.parametrize("frame", [b"[]", head(9), b"[%s,%s]" % (head(3), welcome()), b"nonsense"])
def test_a_frame_that_does_not_welcome_changes_nothing(frame: bytes) -> None:
    session = joined()
    session.edit(insert(0, "X"), 1.0)
    with pytest.raises(BadMessage):
        session.switched(frame, 2.0)
    assert sent(session) == [Op("0", 3, 1, raw(["X"]))]
    assert session.revision() == 3


def test_silence_is_counted_from_the_switch() -> None:
    session = joined()
    session.switched(welcome(heartbeat_s=5.0), 19.0)
    assert session.next_due() == 24.0
    assert session.tick(28.9) == []
