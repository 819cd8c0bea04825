"""The wire protocol, version 1: messages, nack codes and close codes. docs/protocol.md says what they mean.

coscribe/versions.py says which versions are spoken, and what may change without a new one. Both sides use these types.
Deltas stay raw bytes here: a router carries them and only an owner or a client reads them.
"""

from enum import Enum, IntEnum
from typing import Any, Final, Literal

import msgspec

from coscribe.versions import subprotocols

VERSION: Final = 1
SUBPROTOCOLS: Final = subprotocols("coscribe", VERSION)

Role = Literal["reader", "writer", "owner"]


class Retry(Enum):
    """When a refused operation may be sent again."""

    NEVER = "never"
    CATCHUP = "catchup"
    MERGE = "merge"
    RIGHTS = "rights"
    LATER = "later"


class NackCode(Enum):
    """Why an operation was refused. The value is the word on the wire."""

    STALE = "stale"
    AHEAD = "ahead"
    SEALED = "sealed"
    INVALID = "invalid"
    TOO_LARGE = "too_large"
    FORBIDDEN = "forbidden"
    RATE = "rate"
    UNAVAILABLE = "unavailable"

    @property
    def retry(self) -> Retry:
        return _RETRY[self]

    @property
    def final(self) -> bool:
        """True where the refusal ends the operation; after any other its outcome is still open."""
        return self.retry in (Retry.NEVER, Retry.RIGHTS)


_RETRY: Final = {
    NackCode.STALE: Retry.CATCHUP,
    NackCode.AHEAD: Retry.NEVER,
    NackCode.SEALED: Retry.MERGE,
    NackCode.INVALID: Retry.NEVER,
    NackCode.TOO_LARGE: Retry.NEVER,
    NackCode.FORBIDDEN: Retry.RIGHTS,
    NackCode.RATE: Retry.LATER,
    NackCode.UNAVAILABLE: Retry.LATER,
}


class CloseCode(IntEnum):
    """WebSocket close codes. `client` in docs/protocol.md says what a client does after each."""

    NORMAL = 1000
    GOING_AWAY = 1001
    RESTART = 1012
    OVERLOAD = 1013
    BAD_MESSAGE = 4400
    UNAUTHENTICATED = 4401
    FORBIDDEN = 4403
    NOT_FOUND = 4404
    FORK = 4409
    DELETED = 4410
    FRAME_TOO_LARGE = 4413
    TOO_MANY_MESSAGES = 4429
    SLOW_CONSUMER = 4508


class BadMessage(Exception):
    """The peer broke the protocol. The text may be shown to it."""


_MALFORMED: Final = (msgspec.DecodeError, UnicodeError, RecursionError)  # the last for what is nested too deeply


# --- Client to server ---


class Resume(msgspec.Struct, frozen=True):
    """Where the client stands: for each section (last revision read, epoch of that revision)."""

    incarnation: str
    sections: dict[str, tuple[int, int]]


class Hello(msgspec.Struct, tag_field="t", tag="hello", frozen=True, omit_defaults=True):
    """`v` is the newest version that the client speaks; it speaks the one before as well."""

    v: int
    client: str
    resume: Resume | None = None


class Op(msgspec.Struct, tag_field="t", tag="op", frozen=True):
    s: str
    base: int
    cseq: int
    delta: msgspec.Raw


class Catchup(msgspec.Struct, tag_field="t", tag="catchup", frozen=True, rename={"from_": "from"}, omit_defaults=True):
    s: str
    from_: int
    epoch: int
    composed: bool = False


class Fetch(msgspec.Struct, tag_field="t", tag="fetch", frozen=True):
    s: str


class View(msgspec.Struct, tag_field="t", tag="view", frozen=True):
    live: list[str]


class SetPresence(msgspec.Struct, tag_field="t", tag="presence", frozen=True):
    """`state` is a JSON object, or null to leave; it stays raw, nobody but other clients reads it."""

    s: str
    rev: int
    state: msgspec.Raw


class Ping(msgspec.Struct, tag_field="t", tag="ping", frozen=True):
    pass


class Auth(msgspec.Struct, tag_field="t", tag="auth", frozen=True):
    ticket: str


ClientMessage = Hello | Op | Catchup | Fetch | View | SetPresence | Ping | Auth

_client_decoder = msgspec.json.Decoder(ClientMessage)


def decode_client_message(frame: str | bytes) -> ClientMessage:
    """Raises BadMessage with a text that says what is wrong with the frame."""
    try:
        message: ClientMessage = _client_decoder.decode(frame)
        return message
    except _MALFORMED as error:
        raise BadMessage(str(error)) from None


# --- Server to client ---


class User(msgspec.Struct, frozen=True):
    id: str
    name: str


class WireLimits(msgspec.Struct, frozen=True):
    frame_bytes: int
    op_bytes: int
    presence_bytes: int
    ops_per_s: int


class Welcome(msgspec.Struct, tag_field="t", tag="welcome", frozen=True):
    """`v` is the version that both sides speak from here on."""

    v: int
    document: str
    incarnation: str
    user: User
    role: Role
    durability: str
    sections: list[str]
    limits: WireLimits
    heartbeat_s: float
    expires: int | None


class Snapshot(msgspec.Struct, tag_field="t", tag="snapshot", frozen=True):
    s: str
    rev: int
    epoch: int
    next: str | None
    sealed: str | None
    delta: msgspec.Raw


class Acked(msgspec.Struct, tag_field="t", tag="acked", frozen=True):
    s: str
    cseq: int
    rev: int


class CaughtUp(msgspec.Struct, tag_field="t", tag="catchup", frozen=True, rename={"from_": "from"}):
    """A composed change from revision `from_` to `rev`."""

    s: str
    from_: int
    rev: int
    epoch: int
    delta: msgspec.Raw


class Nack(msgspec.Struct, tag_field="t", tag="nack", frozen=True, omit_defaults=True):
    s: str
    cseq: int
    code: NackCode
    message: str
    retry: Retry
    retry_after_s: float | None = None


class Head(msgspec.Struct, tag_field="t", tag="head", frozen=True, omit_defaults=True):
    s: str
    rev: int
    epoch: int
    hash: str | None = None


class Lagging(msgspec.Struct, tag_field="t", tag="lagging", frozen=True):
    s: str
    rev: int


class PeerPresence(msgspec.Struct, frozen=True):
    s: str
    rev: int
    state: msgspec.Raw
    user: User


class Presence(msgspec.Struct, tag_field="t", tag="presence", frozen=True):
    p: dict[str, PeerPresence | None]


class Pong(msgspec.Struct, tag_field="t", tag="pong", frozen=True):
    pass


class Expiring(msgspec.Struct, tag_field="t", tag="expiring", frozen=True):
    at: int


class Move(msgspec.Struct, tag_field="t", tag="move", frozen=True):
    within_s: float


class Error(msgspec.Struct, tag_field="t", tag="error", frozen=True):
    code: str
    message: str


ServerMessage = (
    Welcome | Snapshot | Acked | CaughtUp | Nack | Head | Lagging | Presence | Pong | Expiring | Move | Error
)


class Entries(msgspec.Struct, frozen=True):
    """The most frequent message: it has no `t`. `rev` is the revision of the first entry."""

    s: str
    rev: int
    e: list[msgspec.Raw]
    epoch: int | None = None


class OpEntry(msgspec.Struct, array_like=True, frozen=True):
    """`[client, cseq, delta]`"""

    client: str
    cseq: int
    delta: msgspec.Raw


class _Kind(msgspec.Struct, frozen=True):
    t: str | None = None


encode: Final = msgspec.json.Encoder().encode
_kind_decoder = msgspec.json.Decoder(_Kind)
_frame_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_server_decoder = msgspec.json.Decoder(ServerMessage)
_entries_decoder = msgspec.json.Decoder(Entries)
_op_entry_decoder = msgspec.json.Decoder(OpEntry)


def decode_server_frame(frame: str | bytes) -> list[ServerMessage | Entries]:
    """One message or an array of them. Message types from a newer server are dropped, as are unknown fields."""
    try:
        raw = frame.encode() if isinstance(frame, str) else frame
        parts = _frame_decoder.decode(raw) if raw.lstrip()[:1] == b"[" else [msgspec.Raw(raw)]
        return [message for part in parts if (message := _decode_server_message(part)) is not None]
    except _MALFORMED as error:
        raise BadMessage(str(error)) from None


def _decode_server_message(part: msgspec.Raw) -> ServerMessage | Entries | None:
    kind = _kind_decoder.decode(part).t
    if kind is None:
        return _entries_decoder.decode(part)
    if kind not in _SERVER_TYPES:
        return None
    message: ServerMessage = _server_decoder.decode(part)
    return message


_SERVER_TYPES: Final = frozenset(
    cls.__struct_config__.tag
    for cls in (Welcome, Snapshot, Acked, CaughtUp, Nack, Head, Lagging, Presence, Pong, Expiring, Move, Error)
)


def decode_op_entry(raw: msgspec.Raw | bytes) -> OpEntry:
    """Raises BadMessage for an entry that is not `[client, cseq, delta]` (a split, merge or seal is an object)."""
    try:
        return _op_entry_decoder.decode(raw)
    except _MALFORMED as error:
        raise BadMessage(str(error)) from None


def op_entry(client: str, cseq: int, delta: bytes) -> bytes:
    """The entry's bytes, as they stand in the log and on every socket. Client ids need no escaping."""
    return b'["%s",%d,%s]' % (client.encode(), cseq, delta)


def close_reason(message: str = "", retry_after_s: float | None = None) -> str:
    """The reason text of a close frame: at most 123 bytes, JSON where the client must wait."""
    if retry_after_s is not None:
        return encode({"retry_after_s": round(retry_after_s, 3)}).decode()
    return message.encode()[:120].decode(errors="ignore")


def object_bytes(value: Any) -> msgspec.Raw:
    return msgspec.Raw(encode(value))
