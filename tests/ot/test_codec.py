"""The compact wire: what is read and how it is written, and everything that is refused before it reaches a document."""

from typing import Any

import pytest

from coscribe.ot import OWN_LIMITS, Delta, DeltaTooLarge, Embed, Insert, InvalidDelta, Limits, Retain, decode, encode

READ = [
    ("[]", []),
    ('[12,"abc",-2]', [{"retain": 12}, {"insert": "abc"}, {"delete": 2}]),
    ('["abc"]', [{"insert": "abc"}]),
    ("[-2]", [{"delete": 2}]),
    ('[{"retain":3},{"insert":"x"},{"delete":2}]', [{"retain": 3}, {"insert": "x"}, {"delete": 2}]),
    ('[3,{"insert":"x","attributes":{"bold":true}}]', [{"retain": 3}, {"insert": "x", "attributes": {"bold": True}}]),
    ('[{"retain":3,"attributes":{"bold":null}}]', [{"retain": 3, "attributes": {"bold": None}}]),
    ('[{"insert":{"image":"a.png"}}]', [{"insert": {"image": "a.png"}}]),
    (' [ 1 , "x" ] ', [{"retain": 1}, {"insert": "x"}]),
    (r'["😀é\u0001"]', [{"insert": "😀é\x01"}]),
    # Not in normal form:
    ('["a","b",2,3,-1,-1]', [{"insert": "ab"}, {"retain": 5}, {"delete": 2}]),
    ('[-2,"x"]', [{"insert": "x"}, {"delete": 2}]),
    ('["x",5]', [{"insert": "x"}]),
    ("[5]", []),
    ('[{"retain":3,"attributes":{}},"x"]', [{"retain": 3}, {"insert": "x"}]),
    ('[{"insert":"x","attributes":{"bold":null}}]', [{"insert": "x"}]),
    (
        '[{"insert":"x","attributes":{"a":1.0}},{"insert":"y","attributes":{"a":1}}]',
        [{"insert": "xy", "attributes": {"a": 1}}],
    ),
    ('[{"insert":"x","attributes":{"a":-0.0}}]', [{"insert": "x", "attributes": {"a": 0}}]),
]


@pytest.mark.parametrize(("raw", "operations"), READ)
def test_read(raw: str, operations: list[dict[str, Any]]) -> None:
    delta = decode(raw.encode())
    assert delta.to_quill() == operations
    assert delta == Delta.from_quill(operations)
    assert decode(encode(delta)) == delta


WRITTEN = [
    ('[12,"abc",-2]', b'[12,"abc",-2]'),
    ('["😀 漢 \\" \\n \\u0001"]', '["😀 漢 \\" \\n \\u0001"]'.encode()),
    ('[{"retain":3,"attributes":{"z":null,"a":1}}]', b'[{"retain":3,"attributes":{"a":1,"z":null}}]'),
    (
        '[{"attributes":{"b":{"y":1,"x":2}},"insert":"😀"}]',
        '[{"insert":"😀","attributes":{"b":{"x":2,"y":1}}}]'.encode(),
    ),
    ('[{"insert":{"image":"é"},"attributes":{"w":5.0}}]', '[{"insert":{"image":"é"},"attributes":{"w":5}}]'.encode()),
    ('[{"insert":{"n":123456789012345678}}]', b'[{"insert":{"n":1.2345678901234568e17}}]'),
]


@pytest.mark.parametrize(("raw", "written"), WRITTEN)
def test_written_in_one_form(raw: str, written: bytes) -> None:
    assert encode(decode(raw.encode())) == written


def test_characters_become_utf_16_units() -> None:
    delta = decode('["a😀",{"insert":"😀","attributes":{"b":1}}]'.encode())
    assert delta.length == 5
    assert delta.text() == "a😀😀"
    assert delta.components[0] == "a\ud83d\ude00"
    assert decode(b'["\\ud83d\\ude00"]') == decode('["😀"]'.encode())


INVALID: dict[str, str | bytes] = {
    "not JSON": "[1",
    "trailing bytes": "[1] x",
    "nothing": "",
    "an object": '{"insert":"x"}',
    "a string": '"x"',
    "null": "null",
    "not a number": "[NaN]",
    "zero": '[0,"x"]',
    "minus zero": '[-0,"x"]',
    "a float": '[5.0,"x"]',
    "an exponent": '[1e2,"x"]',
    "a boolean": '[true,"x"]',
    "a null component": '[1,null,"x"]',
    "a list as component": '[1,["x"]]',
    "an empty string": '[1,""]',
    "an empty string alone": '[""]',
    "a retain beyond any document": '[10000001,"x"]',
    "a delete beyond any document": "[1,-10000001]",
    "a length of 30 digits": '[123456789012345678901234567890,"x"]',
    "a length of 5,000 digits": f'[{"9" * 5_000},"x"]',
    "an infinite length": '[1e999,"x"]',
    "a lone high surrogate": r'[1,"\ud83d"]',
    "a lone low surrogate": r'[1,"\ude00x"]',
    "surrogates the wrong way round": r'[1,"\ude00\ud83d"]',
    "half a pair in each component": r'["\ud83d","\ude00"]',
    "a surrogate in UTF-8": b'[1,"\xed\xa0\xbd"]',
    "broken UTF-8": b'[1,"\xff"]',
    "NUL": r'[1,"a\u0000"]',
    "a raw NUL": b'[1,"a\x00"]',
    "an unknown operation": '[{"replace":1}]',
    "an empty object": "[{}]",
    "attributes alone": '[{"attributes":{"b":1}}]',
    "two operations in one": '[{"insert":"x","delete":1}]',
    "an unknown name": '[{"insert":"x","extra":1}]',
    "an unknown name besides attributes": '[{"insert":"x","attributes":{"b":1},"extra":1}]',
    "a delete with attributes": '[{"delete":1,"attributes":{"b":1}}]',
    "attributes that are null": '[{"insert":"x","attributes":null}]',
    "attributes that are a list": '[{"insert":"x","attributes":[]}]',
    "attributes that are a string": '[{"retain":1,"attributes":"bold"}]',
    "a retain of zero": '[{"retain":0}]',
    "a negative retain": '[{"retain":-1}]',
    "a retain that is a boolean": '[{"retain":true}]',
    "a retain that is a float": '[{"retain":1.0}]',
    "a retain that is a string": '[{"retain":"1"}]',
    "a retain of an embed": '[{"retain":{"image":"a.png"}}]',
    "a negative delete": '[{"delete":-1}]',
    "a delete of null": '[{"delete":null}]',
    "an empty insert": '[{"insert":""}]',
    "an insert of a number": '[{"insert":1}]',
    "an insert of null": '[{"insert":null}]',
    "an insert of a list": '[{"insert":["x"]}]',
    "an embed without a name": '[{"insert":{}}]',
    "an embed with two names": '[{"insert":{"image":1,"video":2}}]',
    "NUL in an embed": r'[{"insert":{"image":"\u0000"}}]',
    "NUL in an attribute": r'[{"insert":"x","attributes":{"a":"\u0000"}}]',
    "NUL in a name": r'[{"insert":"x","attributes":{"\u0000":1}}]',
    "a lone surrogate in an attribute": r'[{"insert":"x","attributes":{"a":"\ud83d"}}]',
    "a name that changes prototypes": '[{"insert":"x","attributes":{"__proto__":{"a":1}}}]',
    "such a name further in": '[{"insert":{"image":{"__proto__":1}}}]',
    "an attribute that objects inherit": '[{"insert":"x","attributes":{"constructor":1}}]',
    "one that is taken away": '[{"retain":1,"attributes":{"toString":null}}]',
    "an infinite attribute": '[{"insert":"x","attributes":{"a":1e999}}]',
    "an attribute of 400 digits": f'[{{"insert":"x","attributes":{{"a":{"9" * 400}}}}}]',
    "an attribute too deep": '[{"insert":"x","attributes":{"a":' + "[" * 16 + "]" * 16 + "}}]",
    "an embed too deep": '[{"insert":{"a":' + '{"a":' * 16 + "1" + "}" * 16 + "}}]",
    "nesting without end": "[" * 100_000 + "]" * 100_000,
}


@pytest.mark.parametrize("reason", INVALID)
def test_invalid(reason: str) -> None:
    raw = INVALID[reason]
    with pytest.raises(InvalidDelta) as caught:
        decode(raw if isinstance(raw, bytes) else raw.encode())
    assert len(str(caught.value)) < 120


def test_as_deep_as_allowed() -> None:
    decode(('[{"insert":"x","attributes":{"a":' + "[" * 15 + "]" * 15 + "}}]").encode())


TOO_LARGE = {
    "bytes": ('["12345678901234567890"]', Limits(op_bytes=16)),
    "components": ('[1,"a",1,"b"]', Limits(components=3)),
    "text": ('["abcd"]', Limits(text_units=3)),
    "text behind a retain": ('[1,"abcd"]', Limits(text_units=3)),
    "text counted in UTF-16 units": ('["😀😀"]', Limits(text_units=3)),
    "text of all components": ('["ab",1,{"insert":"cd"}]', Limits(text_units=3)),
    "attributes": ('[{"insert":"x","attributes":{"a":"0123456789"}}]', Limits(attribute_bytes=10)),
    "attributes of a retain": ('[{"retain":1,"attributes":{"a":"0123456789"}}]', Limits(attribute_bytes=10)),
}


@pytest.mark.parametrize("what", TOO_LARGE)
def test_too_large(what: str) -> None:
    raw, limits = TOO_LARGE[what]
    with pytest.raises(DeltaTooLarge):
        decode(raw.encode(), limits)
    assert decode(raw.encode(), OWN_LIMITS)


@pytest.mark.parametrize(
    "operations",
    [
        "insert",
        {"ops": []},
        [1],
        ["x"],
        [{"insert": "\ud83d"}],
        [{"insert": b"x"}],
        [{"insert": "x", "attributes": {1: 2}}],
        [{"insert": "x", "attributes": {"a": float("nan")}}],
        [{"insert": "x", "attributes": {"a": {1, 2}}}],
        [{"insert": {"image": object()}}],
        [{"retain": True}],
    ],
)
def test_quill_operations_that_are_none(operations: Any) -> None:
    with pytest.raises(InvalidDelta):
        Delta.from_quill(operations)


def test_what_comes_in_is_copied() -> None:
    attributes: dict[str, Any] = {"list": {"kind": "bullet"}}
    delta = Delta.from_quill([{"insert": "x", "attributes": attributes}])
    attributes["list"]["kind"] = "ordered"
    assert delta.to_quill() == [{"insert": "x", "attributes": {"list": {"kind": "bullet"}}}]


def test_what_goes_out_is_a_copy() -> None:
    operations = [{"insert": {"image": {"w": 1}}, "attributes": {"list": {"kind": "bullet"}}}]
    delta, equal = Delta.from_quill(operations), Delta.from_quill(operations)
    shown = delta.to_quill()
    shown[0]["attributes"]["list"]["kind"] = shown[0]["insert"]["image"]["w"] = 2
    assert delta.to_quill() == equal.to_quill() == operations
    assert delta == equal


def test_half_a_pair_is_written_escaped() -> None:
    """No operation that is checked leads to one, but encoding must never be what fails."""
    half = decode('["😀"]'.encode()).compose(Delta.replace(0, 1, ""))
    assert encode(half) == b'["\\ude00"]'
    assert encode(half.compose(Delta.format(0, 1, {"b": 1}))) == b'[{"insert":"\\ude00","attributes":{"b":1}}]'


def test_values_that_python_takes_for_one_another_stay_apart() -> None:
    formats = [True, 1, "1", [1], [True], {"a": 1}, {"a": True}, None]
    deltas = [Delta.from_quill([{"retain": 1, "attributes": {"x": value}}]) for value in formats]
    assert len(set(deltas)) == len(formats)
    both = Delta.from_quill([{"insert": "a", "attributes": {"x": True}}, {"insert": "b", "attributes": {"x": 1}}])
    assert len(both.components) == 2
    over = Delta.from_quill([{"retain": 1, "attributes": {"x": 1}}])
    assert over.invert(both).to_quill() == [{"retain": 1, "attributes": {"x": True}}]


def test_components_can_be_shown() -> None:
    delta = decode(b'[1,"x",{"retain":1,"attributes":{"b":1}},{"insert":"y","attributes":{"b":1}},{"insert":{"i":1}}]')
    assert [type(component) for component in delta.components] == [int, str, Retain, Insert, Embed]
    assert repr(delta) == """Delta([1, 'x', Retain(1, {"b":1}), Insert('y', {"b":1}), Embed({"i":1}, None)])"""
