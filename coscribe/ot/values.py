"""JSON values of attributes and embeds, as JavaScript would hold them.

Two values are the same if their canonical JSON is. Python's own equality will not do: it takes True, 1 and 1.0 for one.
"""

from typing import Final

import msgspec

from coscribe.ot.limits import InvalidDelta

_encode: Final = msgspec.json.Encoder(order="sorted").encode

# Beyond this JavaScript holds integers as rounded floats.
_SAFE_INTEGER: Final = 2**53 - 1


def canonical(value: object) -> bytes:
    """The bytes that stand for a value made by read_value."""
    return _encode(value)


def read_value(value: object, depth: int) -> object:
    """A copy of a JSON value, checked; `depth` more containers may be opened."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        _check_string(value)
        return value
    if isinstance(value, (int, float)):
        return _read_number(value)
    if depth <= 0:
        raise InvalidDelta("an attribute or embed is nested too deeply")
    if isinstance(value, (list, tuple)):
        return [read_value(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return read_object(value, depth)
    raise InvalidDelta("an attribute or embed holds something that is not JSON")


def read_object(value: dict[object, object], depth: int) -> dict[str, object]:
    """The same for an object, its names sorted."""
    result: dict[str, object] = {}
    for name in value:
        if not isinstance(name, str):
            raise InvalidDelta("a name in an attribute or embed is not a string")
        _check_string(name)
        # An editor that copies this name by assignment changes the prototype of its object, and loses the value.
        if name == "__proto__":
            raise InvalidDelta("__proto__ is not a name for an attribute")
        result[name] = read_value(value[name], depth - 1)
    return dict(sorted(result.items())) if len(result) > 1 else result


def _read_number(value: int | float) -> int | float:
    if isinstance(value, int):
        if -_SAFE_INTEGER <= value <= _SAFE_INTEGER:
            return value
        try:
            return float(value)
        except OverflowError:
            raise InvalidDelta("a number is out of range") from None
    if value != value or value in (float("inf"), float("-inf")):
        raise InvalidDelta("a number is out of range")
    if value.is_integer() and -_SAFE_INTEGER <= value <= _SAFE_INTEGER:
        return int(value)
    return value


def _check_string(text: str) -> None:
    if "\0" in text:
        raise InvalidDelta("an attribute or embed holds a NUL character")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidDelta("an attribute or embed holds a lone surrogate") from None
