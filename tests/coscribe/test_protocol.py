"""The wire: every message survives being written and read, what is none is refused, and the codes say what
docs/protocol.md says."""

import contextlib
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coscribe import protocol
from coscribe.protocol import (
    BadMessage,
    ClientMessage,
    CloseCode,
    Entries,
    NackCode,
    Retry,
    ServerMessage,
    close_reason,
    decode_client_message,
    decode_op_entry,
    decode_server_frame,
    encode,
    op_entry,
)

RAWS = st.sampled_from(
    [b"[]", b'[12,"abc",-2]', b'{"cursor":{"index":5}}', b"null", b'["\xc3\xa9\xf0\x9f\x98\x80"]']
).map(msgspec.Raw)
BUILT: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    int: st.integers(-(2**53), 2**53),
    float: st.floats(allow_nan=False, allow_infinity=False, width=32),
    bool: st.booleans(),
    msgspec.Raw: RAWS,
    NackCode: st.sampled_from(NackCode),
    Retry: st.sampled_from(Retry),
}


def any_of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a field's type."""
    if kind in BUILT:
        return BUILT[kind]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return st.builds(kind, **{field.name: any_of(field.type) for field in msgspec.structs.fields(kind)})
    origin, inner = getattr(kind, "__origin__", None), get_args(kind)
    if origin is list:
        return st.lists(any_of(inner[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(any_of(inner[0]), any_of(inner[1]), max_size=3)
    if origin is tuple:
        return st.tuples(*map(any_of, inner))
    if type(None) in inner:
        return st.one_of(st.none(), *(any_of(each) for each in inner if each is not type(None)))
    return st.sampled_from(inner)  # a Literal


def plain(message: Any) -> Any:
    """For comparison: raw JSON is compared by its bytes."""
    if isinstance(message, msgspec.Raw):
        return bytes(message)
    if isinstance(message, msgspec.Struct):
        return type(message), [plain(getattr(message, name)) for name in message.__struct_fields__]
    if isinstance(message, dict):
        return {name: plain(value) for name, value in message.items()}
    return [plain(each) for each in message] if isinstance(message, (list, tuple)) else message


@pytest.mark.parametrize("kind", get_args(ClientMessage), ids=lambda kind: kind.__name__)
def test_client_messages_survive_the_wire(kind: Any) -> None:
    @settings(max_examples=30)
    @given(any_of(kind))
    def survives(message: ClientMessage) -> None:
        assert plain(decode_client_message(encode(message))) == plain(message)
        assert plain(decode_client_message(encode(message).decode())) == plain(message)

    survives()


@pytest.mark.parametrize("kind", [*get_args(ServerMessage), Entries], ids=lambda kind: kind.__name__)
def test_server_messages_survive_the_wire(kind: Any) -> None:
    @settings(max_examples=30)
    @given(st.lists(any_of(kind), min_size=1, max_size=3))
    def survives(messages: list[ServerMessage | Entries]) -> None:
        assert [plain(each) for each in decode_server_frame(encode(messages))] == [plain(each) for each in messages]
        (alone,) = decode_server_frame(encode(messages[0]).decode())
        assert plain(alone) == plain(messages[0])

    survives()


BAD_FROM_CLIENTS = [
    b"", b"[]", b"7", b"{", b"{}", b'{"t":"hologram"}', b'{"t":"op","s":"0","base":1,"cseq":"1","delta":[]}',
    b'{"t":"op","s":"0","base":1,"cseq":1}', b'{"t":"op","s":0,"base":1,"cseq":1,"delta":[]}',
    b'{"t":"op","s":"0","base":1.5,"cseq":1,"delta":[]}', b'{"t":"hello","v":1}', b'{"t":"catchup","s":"0"}',
    b'{"t":"hello","v":1,"client":"abcdefgh","resume":{"incarnation":"x","sections":{"0":[1]}}}',
    b'{"t":"ping"}{"t":"ping"}', b'{"t":"\xff"}', b'{"t":"auth","ticket":null}', b'{"t":"view","live":["0",1]}',
    b'{"t":"presence","s":"0","rev":1}', b'{"t":' * 5_000, b"[" * 5_000,
]  # fmt: skip


@pytest.mark.parametrize("frame", BAD_FROM_CLIENTS, ids=lambda frame: frame[:40])
def test_what_no_client_says_is_refused_in_words(frame: bytes) -> None:
    with pytest.raises(BadMessage) as refused:
        decode_client_message(frame)
    assert str(refused.value)


@given(st.binary(max_size=60))
def test_no_bytes_break_the_readers(frame: bytes) -> None:
    for read in (decode_client_message, decode_server_frame, decode_op_entry):
        with contextlib.suppress(BadMessage):
            read(frame)


def test_unknown_fields_are_passed_over() -> None:
    assert decode_client_message(b'{"t":"ping","mood":"good"}') == protocol.Ping()
    assert decode_server_frame(b'{"t":"pong","mood":"good"}') == [protocol.Pong()]


def test_what_may_be_left_out_is() -> None:
    assert encode(protocol.Hello(1, "client-1")) == b'{"t":"hello","v":1,"client":"client-1"}'
    assert encode(protocol.Catchup("0", 17, 4)) == b'{"t":"catchup","s":"0","from":17,"epoch":4}'
    assert b"retry_after_s" not in encode(protocol.Nack("0", 1, NackCode.INVALID, "", Retry.NEVER))
    assert b'"next":null' in encode(protocol.Snapshot("0", 1, 1, None, None, msgspec.Raw(b"[]")))


def test_the_names_of_docs_protocol() -> None:
    names = [kind.__struct_config__.tag for kind in get_args(ClientMessage)]
    assert names == ["hello", "op", "catchup", "fetch", "view", "presence", "ping", "auth"]
    assert [kind.__struct_config__.tag for kind in get_args(ServerMessage)] == [
        "welcome", "snapshot", "acked", "catchup", "nack", "head", "lagging", "presence", "pong", "expiring", "move",
        "error",
    ]  # fmt: skip


@given(st.integers(1, 2**53), st.sampled_from([b"[]", b'[1,"\xf0\x9f\x98\x80"]']))
def test_an_entry_is_what_its_author_wrote(cseq: int, delta: bytes) -> None:
    wire = op_entry("client_-A9", cseq, delta)
    assert msgspec.json.decode(wire) == ["client_-A9", cseq, msgspec.json.decode(delta)]
    assert plain(decode_op_entry(wire)) == plain(protocol.OpEntry("client_-A9", cseq, msgspec.Raw(delta)))


@pytest.mark.parametrize("wire", [b'{"split":3,"into":"1"}', b'["c",1]', b'[1,"c",[]]', b"[]", b"null", b""])
def test_what_is_no_operation(wire: bytes) -> None:
    with pytest.raises(BadMessage):
        decode_op_entry(wire)


# --- Codes ---


def test_each_nack_says_whether_to_try_again() -> None:
    assert {code.value: (code.retry, code.final) for code in NackCode} == {
        "stale": (Retry.CATCHUP, False),
        "ahead": (Retry.NEVER, True),
        "sealed": (Retry.MERGE, False),
        "invalid": (Retry.NEVER, True),
        "too_large": (Retry.NEVER, True),
        "forbidden": (Retry.RIGHTS, True),
        "rate": (Retry.LATER, False),
        "unavailable": (Retry.LATER, False),
    }


def test_close_codes() -> None:
    assert [int(code) for code in CloseCode] == [
        1000, 1001, 1012, 1013, 4400, 4401, 4403, 4404, 4409, 4410, 4413, 4429, 4508,
    ]  # fmt: skip


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_reason_fits_into_a_close_frame(words: str) -> None:
    assert words.startswith(close_reason(words))
    assert len(close_reason(words).encode()) <= 123


@pytest.mark.parametrize("wait_s", [0.0, 0.5, 1.23456, 86_400.0])
def test_a_reason_to_wait_is_json(wait_s: float) -> None:
    reason = close_reason("too busy", wait_s)
    assert msgspec.json.decode(reason) == {"retry_after_s": round(wait_s, 3)}
    assert len(reason) <= 123
