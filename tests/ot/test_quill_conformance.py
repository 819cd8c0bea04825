"""The same results as npm's quill-delta, operation for operation; what differs on purpose is in test_deviations.py."""

import json
import re
from functools import cache
from itertools import islice

import pytest

from tests.ot.conformance import Case, compare, generate

CASES = 100_000


@pytest.mark.node
@pytest.mark.timeout(600)
def test_random_cases() -> None:
    report = compare(CASES, seed=1)
    assert not report.different, str(report)
    assert report.cases == {
        "compose": CASES // 5,
        "transform": CASES * 2 // 5,
        "transformPosition": CASES // 5,
        "invertByValue": CASES // 5,
    }


TRAITS = {
    "a character above U+FFFF": r"[\U00010000-\U0010ffff]",
    "an embed": r'"insert": \{',
    "an attribute that is taken away": r'"attributes": \{[^{}]*: null',
    "a nested attribute": r'"attributes": \{"list": \{',
    "attributes that Python mixes up": r'"bold": (?:1|true)\b',
    "a long retain": r'"retain": \d{3}',
    "a long delete": r'"delete": \d{3}',
    "an insert right before a delete": r'"insert": "[^"]*"\}, \{"delete"',
    "a delete right before a retain": r'"delete": \d+\}, \{"retain"',
    "five operations and more": r"(?:\}, \{[^\]]*){5}",
}


@pytest.mark.parametrize("trait", TRAITS)
def test_the_cases_have_enough_of(trait: str) -> None:
    shown = [json.dumps(case.question, ensure_ascii=False) for case in some_cases()]
    count = sum(re.search(TRAITS[trait], text) is not None for text in shown)
    assert count >= len(shown) // 100


@cache
def some_cases() -> list[Case]:
    return list(islice(generate(seed=1), 2_000))


def test_no_case_is_trivial() -> None:
    for verb, first, second, *_ in (case.question for case in some_cases()):
        assert first
        assert second or verb == "transformPosition"
