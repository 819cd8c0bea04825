"""The same results as npm's quill-delta, on random cases with astral characters, attributes (null too) and embeds."""

import random
from typing import Any

import pytest

from coscribe.ot import Delta
from tests.ot.cases import Cases, to_operations, units_of
from tests.support.quill import Question, ask_quill

pytestmark = pytest.mark.node

CASES = 20_000


def quill(delta: Delta) -> list[dict[str, Any]]:
    return delta.to_quill()


def compare(questions: list[Question], ours: list[Any]) -> None:
    """quill-delta leaves some results out of normal form (an insert after a delete, for one): they mean the same."""
    for question, mine, answer in zip(questions, ours, ask_quill(questions), strict=True):
        theirs = Delta.from_quill(answer) if isinstance(answer, list) else answer
        assert mine == theirs, question


def test_compose() -> None:
    rng = random.Random(1)
    cases = Cases(rng)
    questions: list[Question] = []
    ours: list[Any] = []
    for number in range(CASES):
        before = cases.document()
        first, middle = cases.change(before)
        second, _ = cases.change(middle)
        # In turn a document and a change, and two changes.
        a = Delta.from_quill(to_operations(middle) if number % 2 else first)
        b = Delta.from_quill(second)
        questions.append(("compose", quill(a), quill(b)))
        ours.append(a.compose(b))
    compare(questions, ours)


@pytest.mark.parametrize("priority", [False, True])
def test_transform(priority: bool) -> None:
    rng = random.Random(2 + priority)
    cases = Cases(rng)
    questions: list[Question] = []
    ours: list[Any] = []
    for _ in range(CASES):
        base = cases.document()
        a, b = (Delta.from_quill(cases.change(base)[0]) for _ in range(2))
        questions.append(("transform", quill(a), quill(b), priority))
        ours.append(a.transform(b, priority))
    compare(questions, ours)


def test_transform_position() -> None:
    rng = random.Random(4)
    cases = Cases(rng)
    questions: list[Question] = []
    ours: list[Any] = []
    for _ in range(CASES):
        base = cases.document()
        delta = Delta.from_quill(cases.change(base)[0])
        position = rng.randint(0, units_of(base))
        priority = rng.random() < 0.5
        questions.append(("transformPosition", quill(delta), position, priority))
        ours.append(delta.transform_position(position, priority))
    compare(questions, ours)


def test_invert() -> None:
    rng = random.Random(5)
    cases = Cases(rng)
    questions: list[Question] = []
    ours: list[Any] = []
    for _ in range(CASES):
        document = cases.document()
        base = Delta.from_quill(to_operations(document))
        delta = Delta.from_quill(cases.change(document)[0])
        questions.append(("invert", quill(delta), quill(base)))
        ours.append(delta.invert(base))
    compare(questions, ours)
