"""Content is what composing gives, whatever the sizes inside; and a delta that it refuses leaves it as it was."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coscribe.ot import Content, Delta, DeltaTooLarge, InvalidDelta, Limits, decode
from coscribe.ot.text import is_low_surrogate
from tests.ot.cases import Cases, Document, text_of, to_operations, units_of

randoms = st.randoms(use_true_random=False)


def content_of(document: Document, segment_units: int = 8, block_segments: int = 2) -> Content:
    return Content(Delta.from_quill(to_operations(document)), segment_units, block_segments)


def check_inside(content: Content, segment_units: int) -> None:
    rope = content._rope
    assert sum(segment.burden() for segment in rope.segments()) == rope.burden
    assert sum(block.length for block in rope._blocks) == rope.length
    for block in rope._blocks:
        assert block.segments or len(rope._blocks) == 1
        assert sum(segment.length for segment in block.segments) == block.length
        for segment in block.segments:
            assert 0 < segment.length == len(segment.text) <= segment_units
            assert not is_low_surrogate(segment.text[0]), "a segment begins inside a surrogate pair"


@given(randoms, st.integers(4, 16), st.integers(2, 5))
def test_content_is_what_composing_gives(rng: random.Random, segment_units: int, block_segments: int) -> None:
    cases = Cases(rng)
    document = cases.document(most=60)
    content = content_of(document, segment_units, block_segments)
    for _ in range(rng.randint(1, 12)):
        operations, document = cases.change(document, rest=0.1)
        content.apply(Delta.from_quill(operations))
        if rng.random() < 0.5:  # looking closes the gap
            check_inside(content, segment_units)
    expected = Delta.from_quill(to_operations(document))
    assert content.delta() == expected
    assert content.length == units_of(document)
    assert content.text() == text_of(document)
    assert decode(content.encode()) == expected


@given(randoms, st.integers(4, 16), st.integers(2, 5))
def test_typing_and_deleting_about_the_cursor(rng: random.Random, segment_units: int, block_segments: int) -> None:
    """Short steps around one place, with formats and astral characters: what the gap is for."""
    cases = Cases(rng)
    document = cases.document(most=20)
    content = content_of(document, segment_units, block_segments)
    at = rng.randint(0, len(document))  # counted in atoms
    for _ in range(rng.randint(1, 40)):
        at = min(max(0, at + rng.choice([0, 0, 0, 0, -1, 1, 3])), len(document))
        units = units_of(document[:at])
        kind = rng.random()
        if kind < 0.6:
            new = cases.atoms()
            operations = to_operations(new)
            document[at:at] = new
            at += len(new)
        else:
            first = max(0, at - rng.randint(0, 3)) if kind < 0.8 else at
            last = min(len(document), first + rng.randint(1, 3)) if kind >= 0.8 else at
            units = units_of(document[:first])
            gone = units_of(document[first:last])
            operations = [{"delete": gone}] if gone else []
            del document[first:last]
            at = first
        content.apply(Delta.from_quill([{"retain": units}] * (units > 0) + operations))
        if rng.random() < 0.1:
            check_inside(content, segment_units)
    assert content.delta() == Delta.from_quill(to_operations(document))
    check_inside(content, segment_units)


@pytest.mark.parametrize(("segment_units", "block_segments"), [(16, 3), (4, 8)])
def test_a_long_life_of_plain_edits(segment_units: int, block_segments: int) -> None:
    rng = random.Random(7)
    cases = Cases(rng)
    content = Content(Delta(), segment_units, block_segments)
    text = ""
    for number in range(6_000):
        delta = Delta.from_quill(cases.plain_change(len(text)))
        # It grows, shrinks to nearly nothing, and grows again.
        if (delta.by < 0) == (number // 2_000 != 1):
            delta = Delta.replace(delta.at, 0, "word ")
        content.apply(delta)
        text = text[: delta.at] + (delta.text() if delta.by > 0 else "") + text[delta.at + max(0, -delta.by) :]
        if number % 500 == 0:
            check_inside(content, segment_units)
            assert content.text() == text
    assert content.text() == text


def test_formats_that_come_and_go_leave_no_pieces() -> None:
    content = Content(Delta.replace(0, 0, "x" * 10_000))
    segments = content._rope.segment_count
    for at in range(0, 10_000, 100):
        content.apply(Delta.format(at, 50, {"bold": True}))
        content.apply(Delta.replace(at, 0, "y", {"bold": True}))
        content.apply(Delta.replace(at, 0, "z", {"italic": True}))
    assert 300 <= content._rope.segment_count < 350
    for at in reversed(range(0, 10_000, 100)):
        content.apply(Delta.replace(at, 1, ""))
        content.apply(Delta.format(at, 1, {"bold": None}))
        content.apply(Delta.replace(at, 1, ""))
        content.apply(Delta.format(at, 50, {"bold": None}))
    assert content.delta() == Delta.replace(0, 0, "x" * 10_000)
    assert content._rope.segment_count <= 2 * segments


@given(randoms)
def test_a_split_shares_out_the_content(rng: random.Random) -> None:
    document = Cases(rng).document(most=40)
    whole = Delta.from_quill(to_operations(document))
    cut = rng.randint(0, len(document))
    left = content_of(document)
    right = left.split(units_of(document[:cut]))
    assert left.delta() == Delta.from_quill(to_operations(document[:cut]))
    assert right.delta() == Delta.from_quill(to_operations(document[cut:]))
    left.apply(right.delta().shifted(left.length))
    assert left.delta() == whole


REFUSED: dict[str, list[dict[str, Any]]] = {
    "retains past the end": [{"retain": 9, "attributes": {"bold": True}}],
    "inserts past the end": [{"retain": 9}, {"insert": "x"}],
    "deletes past the end": [{"retain": 7}, {"delete": 2}],
    "does something first, then runs past the end": [{"insert": "x"}, {"delete": 3}, {"retain": 6}, {"insert": "y"}],
    "inserts inside a surrogate pair": [{"retain": 3}, {"insert": "x"}],
    "deletes the second half of a pair": [{"retain": 3}, {"delete": 2}],
    "deletes the first half of a pair": [{"retain": 1}, {"delete": 2}],
    "formats half a pair": [{"retain": 3, "attributes": {"bold": True}}],
    "formats from inside a pair": [{"retain": 3}, {"retain": 2, "attributes": {"bold": True}}],
    "puts an embed inside a pair": [{"retain": 3}, {"insert": {"image": "a.png"}}],
    "cuts the pair at the very end": [{"retain": 7}, {"insert": "x"}],
    "cuts a pair behind a good change": [{"insert": "x"}, {"retain": 6}, {"delete": 1}],
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_refused_delta_changes_nothing(reason: str) -> None:
    content = Content(decode('["ab😀cd😀"]'.encode()), 4, 2)
    before = content.encode()
    delta = Delta.from_quill(REFUSED[reason])
    for refuse in (content.check, content.apply):
        with pytest.raises(InvalidDelta):
            refuse(delta)
        assert content.encode() == before
        assert content.length == 8
        check_inside(content, 4)


ACCEPTED: dict[str, list[dict[str, Any]]] = {
    "inserts before a pair": [{"retain": 2}, {"insert": "x"}],
    "inserts behind a pair": [{"retain": 4}, {"insert": "x"}],
    "inserts another pair beside it": [{"retain": 4}, {"insert": "😀"}],
    "deletes a pair": [{"retain": 2}, {"delete": 2}],
    "formats a pair": [{"retain": 2}, {"retain": 2, "attributes": {"bold": True}}],
    "formats all": [{"retain": 8, "attributes": {"bold": True}}],
    "appends": [{"retain": 8}, {"insert": "x"}],
    "deletes all": [{"delete": 8}],
    "does nothing": [],
    "retains past the end and does nothing there": [{"insert": "x"}, {"retain": 100}],
}


@pytest.mark.parametrize("what", ACCEPTED)
def test_what_is_in_order_is_applied(what: str) -> None:
    document = decode('["ab😀cd😀"]'.encode())
    content = Content(document, 4, 2)
    delta = Delta.from_quill(ACCEPTED[what])
    content.apply(delta)
    assert content.delta() == document.compose(delta)


def test_a_pair_that_came_later_is_kept_whole_too() -> None:
    content = Content(decode(b'["plain\\n"]'))
    content.apply(Delta.replace(2, 0, "😀"))
    with pytest.raises(InvalidDelta):
        content.apply(Delta.replace(3, 0, "x"))
    assert content.text() == "pl😀ain\n"


def test_a_document_only_inserts() -> None:
    with pytest.raises(InvalidDelta):
        Content.from_delta(Delta.replace(1, 0, "x"))
    with pytest.raises(InvalidDelta):
        Content.from_delta(Delta.from_quill([{"insert": "x"}, {"delete": 1}]))


@pytest.mark.parametrize("at", [-1, 3, 9])
def test_a_split_that_is_not_between_characters_changes_nothing(at: int) -> None:
    content = Content(decode('["ab😀cd😀"]'.encode()))
    with pytest.raises(InvalidDelta):
        content.split(at)
    assert content.text() == "ab😀cd😀"


NEWLINE: list[tuple[str, list[dict[str, Any]], bool]] = [
    ("ab\n", [], True),
    ("ab\n", [{"retain": 1}, {"insert": "x"}], True),
    ("ab\n", [{"retain": 3}, {"insert": "x"}], False),
    ("ab\n", [{"retain": 3}, {"insert": "x\n"}], True),
    ("ab\n", [{"retain": 2}, {"delete": 1}], False),
    ("ab\n", [{"delete": 3}], False),
    ("a\n\n", [{"retain": 2}, {"delete": 1}], True),
    ("a\n\n", [{"retain": 1}, {"delete": 2}], False),
    ("ab\n", [{"retain": 2}, {"insert": "\n"}, {"delete": 1}], True),
    ("ab\n", [{"retain": 2}, {"insert": "x"}, {"delete": 1}], False),
    ("ab\n", [{"retain": 2}, {"retain": 1, "attributes": {"header": 1}}], True),
    ("ab\n", [{"retain": 3}, {"insert": {"image": "a.png"}}], False),
    ("ab\n", [{"retain": 3}, {"insert": "\n", "attributes": {"header": 1}}], True),
    ("\n", [{"delete": 1}], False),
    ("", [], False),
]


@pytest.mark.parametrize(("text", "operations", "kept"), NEWLINE)
def test_the_last_newline_is_watched(text: str, operations: list[dict[str, Any]], kept: bool) -> None:
    content = Content(Delta.replace(0, 0, text))
    delta = Delta.from_quill(operations)
    content.apply(delta)
    assert content.ends_with_newline is kept


SMALL = Limits(document_units=20, document_bytes=1_500)
GROWTH: dict[str, tuple[list[dict[str, Any]], bool]] = {
    "text up to the limit": ([{"insert": "0123456789"}], True),
    "text over it": ([{"insert": "01234567890"}], False),
    "text over it, but as much is deleted": ([{"insert": "01234567890"}, {"delete": 1}], True),
    "a large embed": ([{"insert": {"image": "x" * 1_500}}], False),
    "large formats of what is inserted": ([{"insert": "x", "attributes": {"a": "x" * 1_500}}], False),
    "large formats of what is there": ([{"retain": 5, "attributes": {"a": "x" * 500}}], False),
    "small formats": ([{"retain": 5, "attributes": {"bold": True}}], True),
    "a delete": ([{"delete": 1}], True),
}


@pytest.mark.parametrize("what", GROWTH)
def test_a_document_has_its_limits(what: str) -> None:
    operations, allowed = GROWTH[what]
    content = Content(Delta.replace(0, 0, "0123456789"))
    delta = Delta.from_quill(operations)
    if allowed:
        content.check(delta, SMALL)
    else:
        with pytest.raises(DeltaTooLarge):
            content.check(delta, SMALL)
    content.apply(delta)  # the log knows no limits


def test_deleting_is_allowed_in_a_document_over_its_limits() -> None:
    content = Content(Delta.replace(0, 0, "x" * 2_000))
    content.check(Delta.replace(0, 1, ""), SMALL)
    with pytest.raises(DeltaTooLarge):
        content.check(Delta.replace(0, 1, "y"), SMALL)


@given(randoms)
def test_a_document_takes_no_more_than_was_foreseen(rng: random.Random) -> None:
    """What `check` allows keeps the content within the limit: the estimate is never too low."""
    cases = Cases(rng)
    document = cases.document()
    content = Content(Delta.from_quill(to_operations(document)))
    limits = Limits(document_bytes=rng.randint(0, 40_000))
    for _ in range(10):
        operations, result = cases.change(document, rest=0.1)
        delta = Delta.from_quill(operations)
        before = content.burden
        try:
            content.check(delta, limits)
        except DeltaTooLarge:
            continue
        content.apply(delta)
        document = result
        assert content.burden <= max(before, limits.document_bytes)
