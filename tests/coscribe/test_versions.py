"""The window of one, as tables."""

import pytest

from coscribe.versions import agreed, listed, spoken, subprotocols


@pytest.mark.parametrize(("version", "both"), [(1, (1,)), (2, (2, 1)), (3, (3, 2)), (10, (10, 9))])
def test_a_version_and_the_one_before_are_spoken(version: int, both: tuple[int, ...]) -> None:
    assert spoken(version) == both


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [(1, 1, 1), (2, 2, 2), (1, 2, 1), (3, 2, 2), (1, 3, None), (2, 4, None), (1, 0, None), (0, 0, None), (1, -1, None)],
)
def test_the_newest_common_version_is_agreed_on(one: int, other: int, common: int | None) -> None:
    assert agreed(one, other) == agreed(other, one) == common


def test_the_newest_is_offered_first_and_named_first() -> None:
    assert list(subprotocols("coscribe", 3).items()) == [("coscribe.v3", 3), ("coscribe.v2", 2)]
    assert listed(subprotocols("coscribe", 3)) == "coscribe.v3 and coscribe.v2"
    assert listed(subprotocols("coscribe", 1)) == "coscribe.v1"
