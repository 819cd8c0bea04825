"""Where the engine differs from npm's quill-delta on purpose: the tables of docs/delta.md, row by row.

Each row asks the real quill-delta and shows its answer beside ours, so that the list stays true of both.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import pytest

from coscribe import Delta, DeltaTooLarge, InvalidDelta
from coscribe.ot import Content, decode
from coscribe.ot.attributes import INHERITED
from tests.docs.pages import DOCS, words
from tests.support.quill import Question, ask_quill

Operations = list[dict[str, Any]]

AB: Operations = [{"insert": "ab"}]
BOLD = {"bold": True}
NESTED = {"list": {"kind": "bullet"}}
HALF = "\ud83d"


def read(operations: Operations) -> Operations:
    return Delta.from_quill(operations).to_quill()


def applied(text: str, operations: Operations) -> Operations:
    content = Content.from_delta(Delta().insert(text))
    content.apply(Delta.from_quill(operations))
    return content.delta().to_quill()


def as_it_stands(operations: Operations) -> Question:
    """quill-delta takes operations as they are, and this leaves them so."""
    return ("concat", operations, [])


class Row(NamedTuple):
    question: Question
    theirs: Any
    # What ours answers, or the exception that it raises.
    ours: Any
    ask_ours: Callable[[], Any]


def refused(question: Question, theirs: Any, ask_ours: Callable[[], Any], error: Any = InvalidDelta) -> Row:
    return Row(question, theirs, error, ask_ours)


def not_read(operations: Operations) -> Row:
    """Operations that ours does not read, and that quill-delta takes as they are."""
    return Row(as_it_stands(operations), operations, InvalidDelta, lambda: read(operations))


def no_change(change: Operations, theirs: Any) -> Row:
    """Operations that ours does not read, and what quill-delta makes of them on the document "ab"."""
    return Row(("compose", AB, change), theirs, InvalidDelta, lambda: read(change))


def read_otherwise(operations: Operations, ours: Operations) -> Row:
    return Row(as_it_stands(operations), operations, ours, lambda: read(operations))


PAST_THE_END: Operations = [{"retain": 5}, {"delete": 1}]
DEEP: Any = "x"
for _ in range(20):
    DEEP = {"a": DEEP}

# By the words in the first column of docs/delta.md, "Where it differs on purpose".
DEVIATIONS: dict[str, list[Row]] = {
    "a change past the end of a document": [
        refused(
            ("compose", AB, PAST_THE_END),
            [{"insert": "ab"}, {"retain": 3}, {"delete": 1}],
            lambda: applied("ab", PAST_THE_END),
        ),
        refused(
            ("compose", AB, [{"retain": 3}, {"insert": "x"}]),
            [{"insert": "ab"}, {"retain": 1}, {"insert": "x"}],
            lambda: applied("ab", [{"retain": 3}, {"insert": "x"}]),
        ),
    ],
    "an inverse for a document that is too short": [
        refused(("invert", [{"delete": 9}], AB), AB, lambda: Delta().delete(9).invert(Delta().insert("ab"))),
        refused(("invert", [{"retain": 9}, {"delete": 1}], AB), [], lambda: Delta.replace(9, 1, "").invert(Delta())),
    ],
    "a change inside a surrogate pair": [
        refused(
            ("compose", [{"insert": "😀"}], [{"retain": 1}, {"insert": "x"}]),
            [{"insert": "\ud83dx\ude00"}],
            lambda: applied("😀", [{"retain": 1}, {"insert": "x"}]),
        ),
        refused(("compose", [{"insert": "😀"}], [{"delete": 1}]), [{"insert": "\ude00"}],
                lambda: applied("😀", [{"delete": 1}])),
    ],
    "half a surrogate pair in a text or a value": [
        not_read([{"insert": HALF}]),
        not_read([{"insert": "x", "attributes": {"a": HALF}}]),
        not_read([{"insert": {"image": HALF}}]),
    ],
    "NUL in a text or a value": [
        not_read([{"insert": "a\0"}]),
        not_read([{"insert": "x", "attributes": {"a": "\0"}}]),
        not_read([{"insert": {"image": "\0"}}]),
        # There it stands for an embed.
        Row(
            ("diff", [{"insert": "a\0"}], [{"insert": "a"}, {"insert": {"image": 1}}]),
            [{"retain": 1}, {"insert": {"image": 1}}, {"delete": 1}],
            [{"retain": 1}, {"insert": {"image": 1}}],
            lambda: Delta().insert("a").diff(Delta().insert("a").insert({"image": 1})).to_quill(),
        ),
    ],
    "a delta that is not in normal form": [
        read_otherwise([{"delete": 1}, {"insert": "x"}], [{"insert": "x"}, {"delete": 1}]),
        read_otherwise([{"insert": "a"}, {"insert": "b"}], [{"insert": "ab"}]),
        read_otherwise([{"retain": 1}, {"retain": 2}, {"delete": 1}], [{"retain": 3}, {"delete": 1}]),
        read_otherwise([{"insert": "x"}, {"retain": 3}], [{"insert": "x"}]),
        Row(("build", [["retain", 5]]), [{"retain": 5}], [], lambda: Delta().retain(5).to_quill()),
        Row(
            ("concat", [{"retain": 3}], [{"insert": "x"}]),
            [{"retain": 3}, {"insert": "x"}],
            [{"insert": "x"}],
            lambda: Delta().retain(3).concat(Delta().insert("x")).to_quill(),
        ),
    ],
    "null among the attributes of an insert": [
        read_otherwise(
            [{"insert": "x", "attributes": {"a": None, "b": 1}}], [{"insert": "x", "attributes": {"b": 1}}]
        ),
        Row(
            ("build", [["insert", "x", {"a": None}]]),
            [{"insert": "x", "attributes": {"a": None}}],
            [{"insert": "x"}],
            lambda: Delta().insert("x", {"a": None}).to_quill(),
        ),
    ],
    "attributes that are empty": [
        read_otherwise([{"insert": "x", "attributes": {}}], [{"insert": "x"}]),
    ],
    "the inverse of a nested format that the text had": [
        Row(
            ("invert", [{"retain": 1, "attributes": NESTED}], [{"insert": "a", "attributes": NESTED}]),
            [{"retain": 1, "attributes": NESTED}],
            [],
            lambda: Delta().retain(1, NESTED).invert(Delta().insert("a", NESTED)).to_quill(),
        ),
    ],
    "a retain of an embed": [
        refused(
            ("compose", [{"insert": {"a": 1}}], [{"retain": {"a": 1}}]),
            {"error": 'no handlers for embed type "a"'},
            lambda: read([{"retain": {"a": 1}}]),
        ),
    ],
    "an embed without exactly one name": [
        not_read([{"insert": {}}]),
        not_read([{"insert": {"image": 1, "video": 2}}]),
        not_read([{"insert": ["x"]}]),
        not_read([{"insert": 5}]),
    ],
    "an attribute named like what JavaScript's objects inherit": [
        refused(
            ("compose", [{"insert": "x", "attributes": {name: 1}}], [{"retain": 1, "attributes": BOLD}]),
            [{"insert": "x", "attributes": BOLD}],
            lambda name=name: read([{"insert": "x", "attributes": {name: 1}}]),  # type: ignore[misc]
        )
        for name in sorted(INHERITED)
    ],
    "a name `__proto__`, at any depth": [
        refused(
            ("build", [["insert", "x", {"__proto__": {"a": 1}}]]),
            [{"insert": "x", "attributes": {}}],
            lambda: Delta().insert("x", {"__proto__": {"a": 1}}),
        ),
        refused(
            ("build", [["insert", {"a": {"__proto__": {"b": 1}}}]]),
            [{"insert": {"a": {}}}],
            lambda: Delta().insert({"a": {"__proto__": {"b": 1}}}),
        ),
    ],
    "a length that is no positive whole number": [
        no_change([{"retain": 1.5, "attributes": BOLD}], [{"insert": "a", "attributes": BOLD}, {"insert": ""}]),
        no_change([{"retain": True, "attributes": BOLD}], [{"attributes": BOLD}, {"insert": "ab"}]),
        no_change([{"delete": "1"}], [{}, {"insert": "ab"}]),
        no_change([{"delete": -1}], [{"insert": "b"}]),
        no_change([{"retain": 0}, {"insert": "x"}], [{"insert": "x"}]),
        refused(("build", [["delete", -1], ["insert", "x"]]), [{"insert": "x"}], lambda: Delta().delete(-1)),
    ],
    "a length that is written `5.0`": [
        refused(as_it_stands([{"delete": 5.0}]), [{"delete": 5}], lambda: read([{"delete": 5.0}])),
        refused(as_it_stands([{"delete": 5}]), [{"delete": 5}], lambda: decode(b"[-5.0]")),
    ],
    "an insert of nothing": [no_change([{"insert": ""}], AB)],
    "an operation that is none, or two": [
        no_change([{"replace": 1}], [{}, {"insert": "ab"}]),
        no_change([{"retain": 1, "insert": "x"}], AB),
        not_read([{"insert": "x", "extra": 1}]),
        no_change([{"delete": 1, "attributes": BOLD}], [{"insert": "b"}]),
        no_change([{"retain": 1, "attributes": "bold"}], AB),
        not_read([{"insert": "x", "attributes": []}]),
    ],
    "values nested without end, large attributes, long deltas": [
        refused(
            as_it_stands([{"insert": {"a": DEEP}}]),
            [{"insert": {"a": DEEP}}],
            lambda: decode(b'[{"insert":{"a":' + b'{"a":' * 20 + b'"x"' + b"}" * 22 + b"]"),
        ),
        refused(
            as_it_stands([{"insert": "x", "attributes": {"a": "x" * 10_000}}]),
            [{"insert": "x", "attributes": {"a": "x" * 10_000}}],
            lambda: decode(b'[{"insert":"x","attributes":{"a":"' + b"x" * 10_000 + b'"}}]'),
            DeltaTooLarge,
        ),
    ],
    "a diff": [
        # Another one, as right as theirs.
        Row(
            ("diff", [{"insert": "bcab"}], [{"insert": "abc"}]),
            [{"delete": 2}, {"retain": 2}, {"insert": "c"}],
            [{"insert": "a"}, {"retain": 2}, {"delete": 2}],
            lambda: Delta().insert("bcab").diff(Delta().insert("abc")).to_quill(),
        ),
    ],
    "`length` of a change": [
        Row(
            ("length", [{"retain": 3}, {"insert": "ab"}, {"delete": 1}]),
            6,
            2,
            lambda: Delta().retain(3).insert("ab").delete(1).length,
        ),
    ],
}  # fmt: skip


def xy(a: Any, b: Any) -> Question:
    return ("build", [["insert", "x", {"a": a}], ["insert", "y", {"a": b}]])


# By the first column of docs/delta.md, "Values are those of JavaScript": an "x" and a "y" with attributes that Python
# by itself would take otherwise, and what both make of them.
LIKE_JAVASCRIPT: dict[str, tuple[Question, Operations]] = {
    "`true` and `1` are two values": (
        xy(True, 1),
        [{"insert": "x", "attributes": {"a": True}}, {"insert": "y", "attributes": {"a": 1}}],
    ),
    "`1.0` and `1` are one": (xy(1.0, 1), [{"insert": "xy", "attributes": {"a": 1}}]),
    "`-0.0` and `0` are one": (xy(-0.0, 0), [{"insert": "xy", "attributes": {"a": 0}}]),
    "integers beyond 2⁵³ are rounded": (xy(2**53 + 1, 2**53), [{"insert": "xy", "attributes": {"a": 2**53}}]),
    "the order of names does not count": (
        xy({"m": 1, "n": 2}, {"n": 2, "m": 1}),
        [{"insert": "xy", "attributes": {"a": {"m": 1, "n": 2}}}],
    ),
}


@cache
def answers_of_quill_delta() -> dict[str, list[Any]]:
    """By row; one Node process for all."""
    asked = [(name, row.question) for name, rows in DEVIATIONS.items() for row in rows]
    answers: dict[str, list[Any]] = {}
    for (name, _), answer in zip(asked, ask_quill([question for _, question in asked]), strict=True):
        answers.setdefault(name, []).append(answer)
    return answers


@pytest.mark.node
@pytest.mark.parametrize("what", DEVIATIONS)
def test_what_quill_delta_does(what: str) -> None:
    assert answers_of_quill_delta()[what] == [row.theirs for row in DEVIATIONS[what]]


@pytest.mark.parametrize("what", DEVIATIONS)
def test_what_ours_does(what: str) -> None:
    for row in DEVIATIONS[what]:
        assert row.ours != row.theirs
        if isinstance(row.ours, type):
            with pytest.raises(row.ours):
                row.ask_ours()
        else:
            assert row.ask_ours() == row.ours


@pytest.mark.node
def test_both_hold_values_as_javascript_does() -> None:
    answers = ask_quill([question for question, _ in LIKE_JAVASCRIPT.values()])
    assert dict(zip(LIKE_JAVASCRIPT, answers, strict=True)) == {
        what: both for what, (_, both) in LIKE_JAVASCRIPT.items()
    }
    for (_, ((_, x, a), (_, y, b))), both in LIKE_JAVASCRIPT.values():
        assert Delta().insert(x, a).insert(y, b).to_quill() == both


@pytest.mark.node
def test_the_names_that_objects_inherit_are_these() -> None:
    assert {*INHERITED, "__proto__"} == set(ask_quill([("inherited",)])[0])


def test_the_page_lists_them() -> None:
    page = DOCS["delta"]
    assert [row[0] for row in page.table("Where it differs on purpose")] == list(DEVIATIONS)
    assert [row[0] for row in page.table("Values are those of JavaScript")] == list(LIKE_JAVASCRIPT)


@pytest.mark.node
def test_the_page_says_where_each_method_of_quill_delta_is() -> None:
    rows = {words(row[0])[0]: row[1] for row in DOCS["delta"].table("Coming from quill-delta")}
    assert set(rows) == set(ask_quill([("methods",)])[0])
    for method, cell in rows.items():
        for ours in words(cell):
            assert hasattr(Delta, ours.partition("(")[0]), f"{method}: {ours}"
