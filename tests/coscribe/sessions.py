"""Sessions and what a server says to them, for tests of the client's state machine."""

from typing import Any

import msgspec

from coscribe.ot import Delta
from coscribe.protocol import (
    ClientMessage,
    Nack,
    NackCode,
    Snapshot,
    User,
    Welcome,
    WireLimits,
    decode_client_message,
    encode,
)
from coscribe.session import Changed, Event, Session

ME, OTHER = "client-me", "client-other"
EPOCH = 5


def welcome(incarnation: str = "life1", heartbeat_s: float = 20.0) -> bytes:
    limits = WireLimits(1 << 20, 1 << 18, 4096, 100)
    return encode(Welcome(1, "notes", incarnation, User("u", "U"), "writer", "fsync", ["0"], limits, heartbeat_s, None))


def snapshot(
    text: str,
    rev: int = 3,
    section: str = "0",
    following: str | None = None,
    epoch: int = EPOCH,
    sealed: str | None = None,
) -> bytes:
    return encode(Snapshot(section, rev, epoch, following, sealed, raw([text] if text else [])))


def entries(rev: int, *ops: tuple[str, int, Any], section: str = "0", epoch: int | None = None) -> bytes:
    known = {} if epoch is None else {"epoch": epoch}
    return encode({"s": section, "rev": rev, **known, "e": [list(op) for op in ops]})


def other(delta: list[Any], cseq: int = 1) -> tuple[str, int, list[Any]]:
    return OTHER, cseq, delta


def mine(cseq: int, delta: list[Any]) -> tuple[str, int, list[Any]]:
    return ME, cseq, delta


def caught_up(from_: int, rev: int, delta: list[Any], section: str = "0", epoch: int = EPOCH) -> bytes:
    return encode({"t": "catchup", "s": section, "from": from_, "rev": rev, "epoch": epoch, "delta": delta})


def head(rev: int, epoch: int = EPOCH, section: str = "0") -> bytes:
    return encode({"t": "head", "s": section, "rev": rev, "epoch": epoch})


def nack(cseq: int, code: NackCode, retry_after_s: float | None = None, section: str = "0") -> bytes:
    return encode(Nack(section, cseq, code, "because", code.retry, retry_after_s))


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(encode(value))


def joined(*sections: bytes, now: float = 0.0) -> Session:
    """A session that has read these snapshots, with nothing left to send."""
    session = Session(ME)
    session.connected(now)
    session.receive(welcome(), now)
    for each in sections or (snapshot("text\n"),):
        session.receive(each, now)
    assert session.joined
    session.outgoing(now)
    return session


def sent(session: Session, now: float = 0.0) -> list[ClientMessage]:
    return [decode_client_message(frame) for frame in session.outgoing(now)]


def insert(at: int, text: str) -> Delta:
    return Delta.replace(at, 0, text)


def delete(at: int, units: int) -> Delta:
    return Delta.replace(at, units, "")


def text(session: Session) -> str:
    return session.content().text()


def shown(before: Delta, events: list[Event]) -> Delta:
    """What an editor shows that starts from `before` and applies every change it is told."""
    for event in events:
        if isinstance(event, Changed):
            before = before.compose(event.delta)
    return before
