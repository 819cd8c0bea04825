"""Formats of text: what quill-delta's AttributeMap does, on values that are never changed and thus shared freely."""

from collections.abc import Mapping
from typing import Any, Final

from mypy_extensions import mypyc_attr

from coscribe.ot.limits import DeltaTooLarge, InvalidDelta, Limits
from coscribe.ot.values import canonical, read_object


@mypyc_attr(acyclic=True)
class Attributes:
    """At least one attribute. `key` is their canonical JSON: equal attributes have equal keys, and it is what is sent.

    A value None takes an attribute away; it occurs on retains only.
    """

    __slots__ = ("key", "values")

    def __init__(self, values: dict[str, object]) -> None:
        self.values = values
        self.key = canonical(values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Attributes) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __reduce__(self) -> tuple[Any, ...]:
        return Attributes, (self.values,)

    def __repr__(self) -> str:
        return self.key.decode()


# Few formats occur in a document, but each of them often: equal ones are one object, as far as this table goes. It is
# emptied when it is full, and never has long ones.
_SHARED: Final[dict[bytes, Attributes]] = {}
_SHARED_ATTRIBUTES: Final = 1_024
_SHARED_BYTES: Final = 256


def attributes_of(values: dict[str, object]) -> Attributes | None:
    """Shared where possible; None if there are none."""
    if not values:
        return None
    made = Attributes(values)
    known = _SHARED.get(made.key)
    if known is not None:
        return known
    if len(made.key) <= _SHARED_BYTES:
        if len(_SHARED) >= _SHARED_ATTRIBUTES:
            _SHARED.clear()
        _SHARED[made.key] = made
    return made


# quill-delta asks `attributes[name] === undefined`, and finds under these names what every object inherits: it would
# lose the attribute, and its document be another one than ours.
INHERITED: Final = frozenset(
    {
        "__defineGetter__",
        "__defineSetter__",
        "__lookupGetter__",
        "__lookupSetter__",
        "constructor",
        "hasOwnProperty",
        "isPrototypeOf",
        "propertyIsEnumerable",
        "toLocaleString",
        "toString",
        "valueOf",
    }
)


def read_attributes(value: object, limits: Limits, keep_null: bool) -> Attributes | None:
    """None where nothing is left of them."""
    if not isinstance(value, Mapping):
        raise InvalidDelta("attributes must be an object")
    values = read_object(dict(value), limits.depth)
    if not INHERITED.isdisjoint(values):
        raise InvalidDelta("an attribute is named like something that objects in JavaScript inherit")
    if not keep_null and None in values.values():
        values = _without_null(values)
    attributes = attributes_of(values)
    if attributes is not None and len(attributes.key) > limits.attribute_bytes:
        raise DeltaTooLarge(f"the attributes of one component take more than {limits.attribute_bytes} bytes")
    return attributes


def same_attributes(a: Attributes | None, b: Attributes | None) -> bool:
    if a is None or b is None:
        return a is b
    return a is b or a.key == b.key


def compose_attributes(a: Attributes | None, b: Attributes | None, keep_null: bool) -> Attributes | None:
    """`a`, then `b`. On a retain (`keep_null`) taking an attribute away must be remembered, on an insert it is done."""
    if b is None or a is b:
        return a
    if a is None:
        if keep_null or None not in b.values.values():
            return b
        return attributes_of(_without_null(b.values))
    merged = {**a.values, **b.values}
    return attributes_of(merged if keep_null else _without_null(merged))


def transform_attributes(a: Attributes | None, b: Attributes | None, priority: bool) -> Attributes | None:
    """What `b` still does beside `a`: with priority, `a` decides about the attributes that both name."""
    if a is None or b is None or not priority:
        return b
    held = a.values
    left = {name: value for name, value in b.values.items() if name not in held}
    return b if len(left) == len(b.values) else attributes_of(left)


def invert_attributes(attributes: Attributes, base: Attributes | None) -> Attributes | None:
    """What undoes `attributes` on text that had `base`; nothing about a name whose value does not change."""
    held = {} if base is None else base.values
    undone: dict[str, object] = {}
    for name, value in attributes.values.items():
        if name not in held:
            undone[name] = None
        elif canonical(value) != canonical(held[name]):
            undone[name] = held[name]
    return attributes_of(undone)


def diff_attributes(a: Attributes | None, b: Attributes | None) -> Attributes | None:
    """What makes `b` of `a`, both of inserts."""
    if same_attributes(a, b):
        return None
    old = {} if a is None else a.values
    new = {} if b is None else b.values
    gone: dict[str, object] = {name: None for name in old if name not in new}
    changed = {
        name: value for name, value in new.items() if name not in old or canonical(value) != canonical(old[name])
    }
    return attributes_of({**gone, **changed})


def _without_null(values: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}
