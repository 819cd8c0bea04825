"""Frames of a link and batches on a channel: written and read again they are the same, and damage is noticed."""

import contextlib
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coscribe import link
from coscribe.batch import Author, Batch, BatchHeader, decode_batch, encode_batch, entries_message
from coscribe.names import SectionKey, is_client_id, is_document_id
from coscribe.protocol import Entries, NackCode, decode_server_frame
from tests.coscribe.sections import entry

KEYS = st.builds(SectionKey, st.text(max_size=4), st.text(max_size=4), st.sampled_from(["0", "17"]))
BUILT: dict[Any, st.SearchStrategy[Any]] = {
    SectionKey: KEYS,
    str: st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    int: st.integers(0, 2**60),
    bytes: st.binary(max_size=20),
    bool: st.booleans(),
    NackCode: st.sampled_from(NackCode),
    float | None: st.one_of(st.none(), st.floats(0, 100)),
    list[bytes]: st.lists(st.binary(max_size=5), max_size=3),
}


def any_of(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    fields = msgspec.structs.fields(kind)
    return st.builds(kind, **{each.name: BUILT.get(each.type, st.just("writer")) for each in fields})


@settings(max_examples=40)
@given(st.integers(0, 2**40), st.lists(st.one_of(*map(any_of, get_args(link.ToHost))), max_size=4))
def test_frames_to_a_host(view: int, messages: list[link.ToHost]) -> None:
    frame = link.HostFrame(view, messages)
    assert link.decode_host_frame(link.encode(frame)) == frame


@settings(max_examples=40)
@given(st.integers(0, 2**40), st.lists(st.one_of(*map(any_of, get_args(link.ToRouter))), max_size=4))
def test_frames_to_a_router(view: int, messages: list[link.ToRouter]) -> None:
    frame = link.RouterFrame(view, messages)
    assert link.decode_router_frame(link.encode(frame)) == frame


@given(st.binary(max_size=40))
def test_no_bytes_break_the_readers(frame: bytes) -> None:
    for read in (link.decode_host_frame, link.decode_router_frame, decode_batch):
        with contextlib.suppress(msgspec.DecodeError):
            read(frame)


def test_a_frame_of_the_other_direction_is_none() -> None:
    moved = link.Moved(SectionKey("notes", "life1", "0"), 1, "client-1", 1)
    with pytest.raises(msgspec.DecodeError):
        link.decode_host_frame(link.encode(link.RouterFrame(1, [moved])))


def longer(value: Any) -> Any:
    """As a later release might write it: every array that is a struct has something more at its end."""
    if isinstance(value, msgspec.Struct):
        fields = [longer(getattr(value, name)) for name in value.__struct_fields__]
        tag = value.__struct_config__.tag
        return [*([] if tag is None else [tag]), *fields, "more"]
    return [longer(each) for each in value] if isinstance(value, list | tuple) else value


@settings(max_examples=40)
@given(st.lists(st.one_of(*map(any_of, get_args(link.ToHost))), max_size=4))
def test_a_host_passes_over_what_a_later_router_adds_to_a_message(messages: list[link.ToHost]) -> None:
    frame = longer(link.HostFrame(3, messages))
    assert link.decode_host_frame(link.encode(frame)) == link.HostFrame(3, messages)


@settings(max_examples=40)
@given(st.lists(st.one_of(*map(any_of, get_args(link.ToRouter))), max_size=4))
def test_a_router_passes_over_what_a_later_host_adds_to_an_answer(messages: list[link.ToRouter]) -> None:
    frame = longer(link.RouterFrame(3, messages))
    assert link.decode_router_frame(link.encode(frame)) == link.RouterFrame(3, messages)


def test_a_kind_of_message_is_known_from_its_version_on(monkeypatch: pytest.MonkeyPatch) -> None:
    message = link.Moved(SectionKey("notes", "life1", "0"), 1, "client-1", 1)
    assert link.is_known(message, 1)
    monkeypatch.setitem(link.SINCE, link.Moved, 2)
    assert [link.is_known(message, version) for version in (1, 2, 3)] == [False, True, True]


# --- Batches ---


@given(
    st.builds(
        BatchHeader,
        st.integers(0, 2**53),
        st.integers(0, 2**53),
        st.integers(0, 2**53),
        st.booleans(),
        st.lists(st.builds(Author, st.text(max_size=8), st.integers(1, 2**53)), max_size=5).map(tuple),
    ),
    st.binary(),
)
def test_what_is_published_is_read_again(header: BatchHeader, body: bytes) -> None:
    assert decode_batch(encode_batch(header, body)) == (header, body)


def test_a_router_passes_over_what_a_later_owner_adds_to_a_header() -> None:
    header = BatchHeader(18, 19, 7, False, (Author("client-1", 3), Author("client-2", 1)))
    head = link.encode(longer(header))
    assert decode_batch(len(head).to_bytes(4, "big") + head + b"body") == (header, b"body")


@pytest.mark.parametrize("damage", [b"", b"\0", b"\0\0\0\0", b"\0\0\0\5\x95\1\2", b"\xff\xff\xff\xff\x95"])
def test_what_no_commit_published(damage: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_batch(damage)


@pytest.mark.parametrize("epoch", [None, 7])
def test_entries_are_one_finished_message(epoch: int | None) -> None:
    logged = [entry(18, ["a"], 1), entry(19, [1, "\U0001f600"], 2)]
    wire = entries_message("3", 18, (each.entry for each in logged), epoch)
    assert decode_server_frame(wire) == [Entries("3", 18, [msgspec.Raw(each.entry) for each in logged], epoch)]


def test_a_batch_ends_where_its_entries_do() -> None:
    logged = (entry(18, ["a"], 1), entry(19, ["b"], 2))
    assert Batch("id", 17, 7, logged, b"").last == 19


# --- Names ---


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("notes", True),
        ("A-b_9", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("", False),
        ("a/b", False),
        ("é", False),
        ("a\n", False),
        ("a b", False),
    ],
)
def test_document_ids(text: str, is_one: bool) -> None:
    assert is_document_id(text) is is_one


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("client-1", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("short", False),
        ('client"1', False),
        ("client-1\n", False),
        ("client-é", False),
    ],
)
def test_client_ids(text: str, is_one: bool) -> None:
    assert is_client_id(text) is is_one


def test_a_small_document_is_placed_by_its_id_alone() -> None:
    assert SectionKey("notes", "life1", "0").placement() == SectionKey("notes", "life2", "0").placement() == "notes"
    assert SectionKey("notes", "life1", "3").placement() == "notes/3"
