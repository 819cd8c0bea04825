"""Values that others hold can be copied and pickled, whichever build made them."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from coscribe import Delta, Limits

EVERY_COMPONENT = Delta.from_quill(
    [
        {"insert": "😀"},
        {"retain": 1, "attributes": {"bold": None}},
        {"insert": "b", "attributes": {"bold": True}},
        {"insert": {"image": "a.png"}, "attributes": {"alt": "c"}},
        {"retain": 1},
        {"delete": 1},
    ]
)
HALF_A_PAIR = Delta.replace(0, 0, "😀").compose(Delta.replace(0, 1, ""))
WAYS: dict[str, Callable[[Any], Any]] = {
    "copied": copy.copy,
    "copied to the ground": copy.deepcopy,
    "pickled": lambda value: pickle.loads(pickle.dumps(value)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", [Delta(), Delta.replace(3, 0, "a"), EVERY_COMPONENT, HALF_A_PAIR, Limits(depth=3)])
def test_copies_are_equal(value: object, way: str) -> None:
    again = WAYS[way](value)
    assert type(again) is type(value)
    assert again == value
    assert hash(again) == hash(value)
