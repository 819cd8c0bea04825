"""Between hello and welcome a session says nothing else, and gives up on a server that says nothing."""

import pytest

from coscribe.ot import Delta
from coscribe.protocol import BadMessage, Snapshot, User, Welcome, WireLimits, encode, object_bytes
from coscribe.session import Session, Silent

WELCOME = encode(
    Welcome(
        1,
        "notes",
        "life1",
        User("u", "U"),
        "writer",
        "fsync",
        ["0"],
        WireLimits(1 << 20, 1 << 18, 4096, 100),
        20.0,
        None,
    )
)
SNAPSHOT = encode(Snapshot("0", 3, 1, None, None, object_bytes(["text\n"])))


def joined(now: float) -> Session:
    session = Session("client-1")
    session.connected(now)
    session.receive(b"[%s,%s]" % (WELCOME, SNAPSHOT), now)
    session.outgoing(now)
    return session


def test_what_is_said_after_a_reconnect_waits_for_the_welcome() -> None:
    session = joined(0.0)
    session.disconnected()
    session.connected(1.0)
    session.edit(Delta.replace(0, 0, "a"), 1.1)
    session.presence("0", object_bytes({}))
    session.tick(10.0)
    assert [frame[:12] for frame in session.outgoing(10.0)] == [b'{"t":"hello"']
    session.receive(WELCOME, 11.0)
    assert [frame[:9] for frame in session.outgoing(11.0)] == [b'{"t":"op"', b'{"t":"pre']


def test_the_version_that_the_welcome_names_must_be_one_that_is_spoken() -> None:
    session = Session("client-1")
    session.connected(0.0)
    with pytest.raises(BadMessage, match="version 2 of the protocol"):
        session.receive(WELCOME.replace(b'"v":1', b'"v":2'), 0.0)
    assert session.welcome is None
    session.receive(WELCOME, 0.0)
    assert session.welcome is not None


def test_a_server_that_never_welcomes_is_given_up() -> None:
    session = Session("client-1")
    session.connected(0.0)
    session.outgoing(0.0)
    assert session.next_due() == 40.0
    assert session.tick(39.0) == []
    assert session.tick(40.0) == [Silent()]
