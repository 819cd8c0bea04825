"""The last section ends with a newline for ever. Its final newline is neither deleted nor replaced, and what comes
behind it ends with one: so it depends on an operation alone whether it is refused, never on who was faster."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coscribe.ot import Delta
from coscribe.protocol import NackCode
from coscribe.section import Prepared
from tests.coscribe.sections import ANN, BOB, accept, code, fingerprint, op, prepared, section

BOLD = {"bold": True}
HEADER = {"header": 1}
PICTURE = {"image": "a.png"}

KEEPING: list[tuple[list[Any], str]] = [
    ([2, "x"], "abx\n"),
    ([-2], "\n"),
    ([2, "x\n"], "abx\n\n"),
    ([3, "x\n"], "ab\nx\n"),
    ([3, "\n"], "ab\n\n"),
    ([-2, 1, "\n"], "\n\n"),
    ([2, {"retain": 1, "attributes": HEADER}], "ab\n"),
    ([2, {"retain": 1, "attributes": HEADER}, "x\n"], "ab\nx\n"),
    ([3, {"insert": "x\n", "attributes": BOLD}], "ab\nx\n"),
    ([3, {"insert": "x", "attributes": BOLD}, "\n"], "ab\nx\n"),
    ([3, "x", {"insert": "\n", "attributes": HEADER}], "ab\nx\n"),
    ([3, {"insert": PICTURE}, "\n"], "ab\n\n"),
    ([{"insert": PICTURE}], "ab\n"),
    ([], "ab\n"),
    ([3], "ab\n"),
]

ENDING: list[list[Any]] = [
    [2, -1],
    [-3],
    [1, -2],
    [3, "x"],
    [3, "\nx"],
    [2, "\n", -1],
    ["other\n", -3],
    [3, {"insert": "x", "attributes": BOLD}],
    [3, "\n", {"insert": PICTURE}],
    [3, {"insert": PICTURE}],
    [2, {"insert": "\n", "attributes": HEADER}, -1],
]


@pytest.mark.parametrize(("delta", "text"), KEEPING, ids=lambda value: json.dumps(value))
def test_what_keeps_the_newline_is_taken(delta: list[Any], text: str) -> None:
    of = section("ab\n")
    accept(of, op(delta))
    assert prepared(of) == text


@pytest.mark.parametrize("delta", ENDING, ids=json.dumps)
def test_what_does_not_is_refused(delta: list[Any]) -> None:
    of = section("ab\n")
    before = fingerprint(of)
    assert code(of.submit(op(delta), 0)) is NackCode.INVALID
    assert fingerprint(of) == before


@pytest.mark.parametrize("delta", ENDING, ids=json.dumps)
def test_a_section_in_the_middle_may_end_as_it_likes(delta: list[Any]) -> None:
    accept(section("ab\n", right="1"), op(delta))


def test_two_clients_append_a_line_at_once() -> None:
    of = section("ab\n")
    accept(of, op([3, "x\n"], 0, 1, ANN), op([3, "y\n"], 0, 1, BOB))
    assert prepared(of) == "ab\ny\nx\n"


def test_a_line_is_appended_while_the_one_before_is_deleted() -> None:
    of = section("ab\n")
    accept(of, op([3, "x\n"], 0, 1, ANN), op([-2], 0, 1, BOB))
    assert prepared(of) == "\nx\n"


def test_one_types_at_the_end_of_the_last_line_that_another_empties() -> None:
    of = section("ab\n")
    accept(of, op([-2], 0, 1, ANN), op([2, "x"], 0, 1, BOB))
    assert prepared(of) == "x\n"


def test_two_delete_up_to_the_last_newline() -> None:
    of = section("a\nb\n")
    accept(of, op([-3], 0, 1, ANN), op([1, -2], 0, 1, BOB))
    assert prepared(of) == "\n"


PLACES = st.integers(0, 8)


def _edit(rng: random.Random, length: int) -> list[Any]:
    """An edit that leaves the last of `length` units where it is, mostly near it."""
    kind = rng.randrange(4)
    if kind == 0:
        return [length, rng.choice(["x\n", "\n", "xy\nz\n"])]
    at = max(0, length - 1 - rng.choice([0, 0, 1, 1, 2, 5]))
    head: list[Any] = [at] if at else []
    if kind == 1:
        return [*head, rng.choice(["x", "\n", "x\n"])]
    if kind == 2:
        return [*head, {"retain": length - at, "attributes": BOLD}]
    return [*head, -rng.randint(1, length - 1 - at)] if at < length - 1 else ["x"]


@given(st.randoms(use_true_random=False), st.text("ab\n", max_size=6))
def test_no_edit_is_refused_because_of_those_beside_it(rng: random.Random, text: str) -> None:
    """Each is based on a revision of its own, anywhere before; each is right there."""
    of = section(text + "\n")
    lengths = [len(text) + 1]
    for number in range(6):
        base = rng.randint(0, number)
        delta = _edit(rng, lengths[base])
        outcome = of.submit(op(delta, base, 1, f"client-{number}"), 0)
        assert isinstance(outcome, Prepared), (delta, outcome)
        of.freeze("b")
        of.committed()
        now = prepared(of)
        assert now.endswith("\n")
        lengths.append(len(now))


@given(st.randoms(use_true_random=False))
def test_an_edit_of_the_whole_by_api_is_judged_like_one_typed(rng: random.Random) -> None:
    """The rule as it reads: the last unit stays, and what follows it ends with a newline."""
    of = section("ab\n")
    parts: list[Any] = rng.choices([1, -1, "x", "\n", {"insert": PICTURE}, {"retain": 1, "attributes": BOLD}], k=4)
    delta = Delta.from_quill([_quill(part) for part in parts])
    if delta.base_length > 3:
        return
    tail = Delta.replace(0, 0, "ab\n").compose(delta)
    marked = Delta.replace(0, 0, "ab").concat(Delta.replace(0, 0, "\n", {"final": 1})).compose(delta)
    keeps = any(operation.get("attributes", {}).get("final") for operation in marked.to_quill())
    ends = str(tail.to_quill()[-1]["insert"]).endswith("\n") if tail else False
    assert isinstance(of.submit(op([*parts]), 0), Prepared) is (keeps and ends)


def _quill(part: Any) -> dict[str, Any]:
    if isinstance(part, int):
        return {"retain": part} if part > 0 else {"delete": -part}
    return {"insert": part} if isinstance(part, str) else part
