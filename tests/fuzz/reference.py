"""What a compact delta is, said a second time and as plainly as can be: for the fuzzer to hold the decoder to.

Of the standard library's JSON and lists of single units; nothing here is shared with the engine, and nothing is quick.
"""

import json
import math
import sys
from typing import Any, Final

import msgspec

from coscribe.ot import Limits

Operation = dict[str, Any]

# What JavaScript's objects inherit under a name would be found instead of the attribute.
_INHERITED: Final = {
    "__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__", "constructor", "hasOwnProperty",
    "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf",
}  # fmt: skip


class Wrong(Exception):
    """Not a delta."""


class TooLarge(Exception):
    """One over a limit."""


def operations(raw: bytes, limits: Limits) -> list[Operation]:
    """The Quill operations that the bytes say, as they are written. Raises Wrong or TooLarge."""
    if len(raw) > limits.op_bytes:
        raise TooLarge
    parts = _parse(raw)
    if not isinstance(parts, list):
        raise Wrong
    if len(parts) > limits.components:
        raise TooLarge
    found = [_operation(part, limits) for part in parts]
    if sum(_units(operation["insert"]) for operation in found if "insert" in operation) > limits.text_units:
        raise TooLarge
    return found


def _parse(raw: bytes) -> Any:
    try:
        return json.loads(
            raw.decode("utf-8"),
            parse_constant=_number,
            parse_float=_number,
            parse_int=lambda digits: int(digits) if len(digits) < 400 else math.inf,
            object_pairs_hook=_object,
        )
    except (ValueError, RecursionError):
        raise Wrong from None


def _number(word: str) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise Wrong
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of one name the last value counts; but a parser looks at the others too."""
    for name, value in pairs:
        _check_halves(name)
        _check_halves(value)
    return dict(pairs)


def _check_halves(value: Any) -> None:
    if isinstance(value, str):
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise Wrong
    elif isinstance(value, list):
        for inner in value:
            _check_halves(inner)


def _operation(part: Any, limits: Limits) -> Operation:
    if isinstance(part, str):
        part = {"insert": part}
    elif type(part) is int:
        part = {"retain": part} if part > 0 else {"delete": -part}
    if not isinstance(part, dict):
        raise Wrong
    kinds = set(part) - {"attributes"}
    if kinds == {"insert"}:
        _check_insert(part["insert"], limits)
    elif kinds in ({"retain"}, {"delete"}):
        length = part[kinds.pop()]
        if type(length) is not int or not 0 < length <= limits.document_units:
            raise Wrong
        if "delete" in part and "attributes" in part:
            raise Wrong
    else:
        raise Wrong
    if "attributes" not in part:
        return part
    attributes = part["attributes"]
    if not isinstance(attributes, dict) or not _INHERITED.isdisjoint(attributes):
        raise Wrong
    _check(attributes, limits.depth)
    attributes = {
        name: value for name, value in _value(attributes).items() if value is not None or "insert" not in part
    }
    if attributes and len(msgspec.json.encode(attributes)) > limits.attribute_bytes:
        raise TooLarge
    rest = {name: value for name, value in part.items() if name != "attributes"}
    return {**rest, "attributes": attributes} if attributes else rest


def _check_insert(insert: Any, limits: Limits) -> None:
    if isinstance(insert, str):
        _check_text(insert)
        if not insert:
            raise Wrong
    elif isinstance(insert, dict) and len(insert) == 1:
        _check(insert, limits.depth)
    else:
        raise Wrong


def _check(value: Any, depth: int) -> None:
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, (list, dict)):
        if depth <= 0:
            raise Wrong
        for inner in value:
            _check(inner, depth - 1)
        if isinstance(value, dict):
            if "__proto__" in value:
                raise Wrong
            for inner in value.values():
                _check(inner, depth - 1)
    elif isinstance(value, (int, float)) and not abs(value) <= sys.float_info.max:
        raise Wrong  # NaN too


def _check_text(text: str) -> None:
    if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in text):
        raise Wrong


def _value(value: Any) -> Any:
    """With numbers as JavaScript holds them."""
    if isinstance(value, dict):
        return {name: _value(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_value(inner) for inner in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return int(value) if abs(value) < 2**53 and value == int(value) else float(value)
    return value


def _units(insert: Any) -> int:
    return len(insert.encode("utf-16-le")) // 2 if isinstance(insert, str) else 1


# --- What they do ---

Atom = tuple[Any, dict[str, Any]]


def base_length(found: list[Operation]) -> int:
    return sum(operation.get("retain", 0) + operation.get("delete", 0) for operation in found)


def changed(base: list[Atom], found: list[Operation]) -> list[Atom]:
    """The document `base`, of single characters and embeds, after the operations."""
    result: list[Atom] = []
    at = 0
    for operation in found:
        attributes = operation.get("attributes", {})
        if "insert" in operation:
            insert = operation["insert"]
            atoms = list(insert) if isinstance(insert, str) else [_value(insert)]
            # At one place inserts come before the deletes, which here have gone already.
            result += [(atom, attributes) for atom in atoms]
        elif "retain" in operation:
            for atom, held in base[at : at + operation["retain"]]:
                merged = {**held, **attributes}
                result.append((atom, {name: value for name, value in merged.items() if value is not None}))
            at += operation["retain"]
        else:
            at += operation["delete"]
    return result + base[at:]


def atoms_of(document: list[Operation]) -> list[Atom]:
    return [
        (atom, operation.get("attributes", {}))
        for operation in document
        for atom in (list(operation["insert"]) if isinstance(operation["insert"], str) else [operation["insert"]])
    ]
