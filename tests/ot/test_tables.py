"""The verbs on cases small enough to check by eye, in the compact form of the wire."""

from typing import Any

import pytest

from coscribe.ot import Delta, InvalidDelta, compose_all, decode, encode

BOLD = '{"retain":2,"attributes":{"bold":true}}'
PLAIN = '{"retain":2,"attributes":{"bold":null}}'


def read(compact: str) -> Delta:
    return decode(compact.encode())


def shown(delta: Delta) -> str:
    return encode(delta).decode()


COMPOSE = [
    ('["ab"]', '[1,"x"]', '["axb"]'),
    ('["ab"]', "[-1]", '["b"]'),
    ('["ab"]', "[-2]", "[]"),
    ("[-2]", '["x"]', '["x",-2]'),
    ('[1,"x"]', "[1,-1]", "[]"),
    ('[2,-1,1,"b"]', '[3,"a"]', '[2,-1,1,"ab"]'),
    ('["a",-1]', '[1,"b"]', '["ab",-1]'),
    # The rest of the first still has to move its insert before the delete.
    ('[1,-1,1,"b",-1]', "[1,-1]", '[1,"b",-3]'),
    (f"[{BOLD}]", f"[{PLAIN}]", f"[{PLAIN}]"),
    ('["ab"]', f"[{BOLD}]", '[{"insert":"ab","attributes":{"bold":true}}]'),
    ('[{"insert":"ab","attributes":{"bold":true}}]', f"[{PLAIN}]", '["ab"]'),
    (
        '[{"insert":{"image":"a"}}]',
        '[{"retain":1,"attributes":{"w":1}}]',
        '[{"insert":{"image":"a"},"attributes":{"w":1}}]',
    ),
]


@pytest.mark.parametrize(("first", "second", "result"), COMPOSE)
def test_compose(first: str, second: str, result: str) -> None:
    assert shown(read(first).compose(read(second))) == result


# applied, other, other after it where applied has priority, and where it has none
TRANSFORM = [
    ('["a"]', '["b"]', '[1,"b"]', '["b"]'),
    ('[1,"a"]', '["b"]', '["b"]', '["b"]'),
    ('["a"]', '[1,"b"]', '[2,"b"]', '[2,"b"]'),
    ("[-2]", '[1,"b"]', '["b"]', '["b"]'),
    ("[-2]", "[1,-2]", "[-1]", "[-1]"),
    ('[1,"ab"]', "[-2]", "[-1,2,-1]", "[-1,2,-1]"),
    (f"[{BOLD}]", f"[{PLAIN}]", "[]", f"[{PLAIN}]"),
    (f"[{BOLD}]", "[-1]", "[-1]", "[-1]"),
    ("[-1]", f"[{BOLD}]", '[{"retain":1,"attributes":{"bold":true}}]', '[{"retain":1,"attributes":{"bold":true}}]'),
    ('[2,"a"]', '[1,-1,{"insert":"b"}]', '[1,"b",-1]', '[1,"b",-1]'),
]


@pytest.mark.parametrize(("applied", "other", "first_left", "first_right"), TRANSFORM)
def test_transform(applied: str, other: str, first_left: str, first_right: str) -> None:
    assert shown(read(applied).transform(read(other), priority=True)) == first_left
    assert shown(read(applied).transform(read(other), priority=False)) == first_right


POSITIONS = [
    ('[2,"ab"]', 1, 1, 1),
    ('[2,"ab"]', 2, 2, 4),
    ('[2,"ab"]', 3, 5, 5),
    ("[2,-2]", 2, 2, 2),
    ("[2,-2]", 3, 2, 2),
    ("[2,-2]", 5, 3, 3),
    ('[2,"a",-2]', 3, 3, 3),
]


@pytest.mark.parametrize(("delta", "position", "stays", "goes"), POSITIONS)
def test_transform_position(delta: str, position: int, stays: int, goes: int) -> None:
    assert read(delta).transform_position(position, priority=True) == stays
    assert read(delta).transform_position(position) == goes


INVERT = [
    ('["abc"]', '[1,"x"]', "[1,-1]"),
    ('["abc"]', "[1,-1]", '[1,"b"]'),
    ('["abc"]', '[1,{"insert":"x"},-1]', '[1,"b",-1]'),
    ('["abc"]', f"[{BOLD}]", f"[{PLAIN}]"),
    ('[{"insert":"ab","attributes":{"bold":true}}]', f"[{BOLD}]", "[]"),
    ('[{"insert":"ab","attributes":{"bold":true}}]', f"[{PLAIN}]", f"[{BOLD}]"),
    ('[{"insert":{"image":"a"}},"b"]', "[-1]", '[{"insert":{"image":"a"}}]'),
]


@pytest.mark.parametrize(("base", "delta", "inverse"), INVERT)
def test_invert(base: str, delta: str, inverse: str) -> None:
    assert shown(read(delta).invert(read(base))) == inverse


def test_no_inverse_past_the_end() -> None:
    with pytest.raises(InvalidDelta):
        read("[4,-1]").invert(read('["abc"]'))


CUT = [
    ('[2,"x"]', 2, "[]", '["x"]'),
    ('[2,"x"]', 3, '[2,"x"]', "[]"),
    ('[2,"x"]', 1, "[]", '[1,"x"]'),
    ('["x"]', 0, "[]", '["x"]'),
    ("[1,-4]", 3, "[1,-2]", "[-2]"),
    ('[1,"x",-4,1,"y"]', 3, '[1,"x",-2]', '[-2,1,"y"]'),
    ('[1,"x",-4]', 1, "[]", '["x",-4]'),
    (
        '[{"retain":4,"attributes":{"b":1}}]',
        2,
        '[{"retain":2,"attributes":{"b":1}}]',
        '[{"retain":2,"attributes":{"b":1}}]',
    ),
    ('[2,{"insert":{"image":"a"}}]', 2, "[]", '[{"insert":{"image":"a"}}]'),
]


@pytest.mark.parametrize(("delta", "at", "left", "right"), CUT)
def test_cut(delta: str, at: int, left: str, right: str) -> None:
    assert tuple(map(shown, read(delta).cut(at))) == (left, right)


def test_shifted() -> None:
    assert shown(read('["x"]').shifted(3)) == '[3,"x"]'
    assert shown(read('[2,"x"]').shifted(3)) == '[5,"x"]'
    assert shown(read('[2,"x"]').shifted(0)) == '[2,"x"]'
    assert shown(read("[]").shifted(3)) == "[]"


def test_slice_and_concat() -> None:
    document = read('["ab",{"insert":"cd","attributes":{"b":1}},{"insert":{"image":"a"}},"e"]')
    assert shown(document.slice(1, 3)) == '["b",{"insert":"c","attributes":{"b":1}}]'
    assert shown(document.slice(4)) == '[{"insert":{"image":"a"}},"e"]'
    assert document.slice(0, 1).concat(document.slice(1)) == document
    assert Delta().concat(document) == document == document.concat(Delta())


def test_replace_and_format() -> None:
    assert shown(Delta.replace(2, 3, "x")) == '[2,"x",-3]'
    assert shown(Delta.replace(0, 0, "")) == "[]"
    assert shown(Delta.replace(1, 0, "😀", {"b": 1, "i": None})) == '[1,{"insert":"😀","attributes":{"b":1}}]'
    assert shown(Delta.format(1, 2, {"b": None})) == '[1,{"retain":2,"attributes":{"b":null}}]'
    for position, delete, text in [(-1, 0, "x"), (0, -1, "x"), (0, 0, "\ud83d"), (0, 0, "\0")]:
        with pytest.raises(InvalidDelta):
            Delta.replace(position, delete, text)


BUILT = [
    (Delta().retain(5).insert("x", {"bold": True}).delete(2), '[5,{"insert":"x","attributes":{"bold":true}},-2]'),
    (Delta().insert("a").insert("b").insert({"image": "a"}), '["ab",{"insert":{"image":"a"}}]'),
    (Delta().insert("a").retain(2).retain(3).insert("b"), '["a",5,"b"]'),
    (Delta().retain(1, {"b": None}).retain(1, {"b": None}).retain(1), '[{"retain":2,"attributes":{"b":null}}]'),
    (Delta().retain(1).retain(1, {}).delete(1).retain(1).delete(1), "[2,-1,1,-1]"),
    (Delta().delete(1).insert("a").delete(1), '["a",-2]'),
    (Delta().insert("a", {"b": None}).insert("", {"b": 1}), '["a"]'),
    (Delta().retain(0).delete(0), "[]"),
    (Delta().retain(7), "[]"),
    (Delta().insert("😀").retain(1).insert("😀"), '["😀",1,"😀"]'),
]


@pytest.mark.parametrize(("delta", "compact"), BUILT)
def test_built_step_by_step(delta: Delta, compact: str) -> None:
    assert shown(delta) == compact
    assert delta == read(compact)


def test_each_step_leaves_what_it_goes_on_from() -> None:
    start = Delta().insert("a")
    onward = start.retain(3)
    assert (onward.insert("b"), onward.delete(1)) == (read('["a",3,"b"]'), read('["a",3,-1]'))
    assert onward == start == read('["a"]')
    assert bool(Delta().retain(3)) is False


STEPS = [
    ("insert", ["a\0"]),
    ("insert", ["\ud83d"]),
    ("insert", [{}]),
    ("insert", [{"a": 1, "b": 2}]),
    ("insert", [{"__proto__": 1}]),
    ("insert", [None]),
    ("insert", [5]),
    ("insert", ["a", "bold"]),
    ("insert", ["a", {"b": float("nan")}]),
    ("retain", [-1]),
    ("retain", [-1, {"b": 1}]),
    ("retain", [2**53]),
    ("retain", [1, {"b": "\0"}]),
    ("delete", [-1]),
]


@pytest.mark.parametrize(("step", "arguments"), STEPS)
def test_a_step_is_checked(step: str, arguments: list[Any]) -> None:
    # A compiled method says TypeError of an argument that is none of its types.
    with pytest.raises((InvalidDelta, TypeError)):
        getattr(Delta().insert("a"), step)(*arguments)


@pytest.mark.parametrize("length", [1.0, "1", None, True])
@pytest.mark.parametrize("step", ["retain", "delete"])
def test_a_length_that_is_no_int_is_refused_or_taken_for_one(step: str, length: Any) -> None:
    """Compiled, a boolean is an int."""
    try:
        built = getattr(Delta(), step)(length).delete(1)
    except (InvalidDelta, TypeError):
        return
    assert built == getattr(Delta(), step)(1).delete(1)


def test_what_changes_nothing_is_false() -> None:
    assert not Delta()
    assert not read("[5]")
    assert not compose_all([])
    assert not read('["x"]').compose(read("[-1]"))
    assert read('["x"]')


# delta, base length, change of length, length
LENGTHS = [
    ("[]", 0, 0, 0),
    ('["ab"]', 0, 2, 2),
    ('[3,"ab"]', 3, 2, 2),
    ("[3,-2]", 5, -2, 0),
    ('[3,"ab",-2,1,"c"]', 6, 1, 3),
    (f'[1,{BOLD},"c"]', 3, 1, 1),
    ('[1,{"insert":{"image":"a"}},"😀"]', 1, 3, 3),
]


@pytest.mark.parametrize(("delta", "base_length", "length_change", "length"), LENGTHS)
def test_lengths(delta: str, base_length: int, length_change: int, length: int) -> None:
    read_delta = read(delta)
    assert (read_delta.base_length, read_delta.length_change, read_delta.length) == (base_length, length_change, length)
