"""Quill Delta operations, `{"retain": 3}`, to components and back. Every check of what a client may send is here or
in the codec, which reads the compact form and comes here for objects."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from coscribe.ot.attributes import Attributes, read_attributes
from coscribe.ot.builder import Builder
from coscribe.ot.components import Component, Components, Embed, Insert, Retain, inserted_units
from coscribe.ot.limits import DeltaTooLarge, InvalidDelta, Limits
from coscribe.ot.text import collapse, read_text
from coscribe.ot.values import read_object


def read_operations(operations: object, limits: Limits) -> Components:
    if not isinstance(operations, (list, tuple)):
        raise InvalidDelta("a delta is a list of operations")
    if len(operations) > limits.components:
        raise DeltaTooLarge(f"a delta may have at most {limits.components} components")
    out = Builder()
    for operation in operations:
        read_operation(out, operation, limits)
    components = out.build()
    check_inserted(inserted_units(components), limits)
    return components


def read_operation(out: Builder, operation: object, limits: Limits) -> None:
    """Checks one operation and puts it behind the others. quill-delta throws on a retain that is an object, so that is
    refused like anything else that is not Quill's."""
    if not isinstance(operation, Mapping):
        raise InvalidDelta("a component is neither a number, a string nor an object")
    has_attributes = "attributes" in operation
    if len(operation) != 1 + has_attributes:
        raise InvalidDelta("an operation has one of insert, delete and retain, and perhaps attributes")
    attributes = None
    if has_attributes:
        attributes = read_attributes(operation["attributes"], limits, keep_null="retain" in operation)
    if "insert" in operation:
        _read_insert(out, operation["insert"], attributes, limits)
    elif "retain" in operation:
        out.retain(read_units(operation["retain"], limits), attributes)
    elif "delete" in operation and not has_attributes:
        out.delete(read_units(operation["delete"], limits))
    else:
        raise InvalidDelta("an operation inserts, retains or deletes, and a delete has no attributes")


def read_units(value: object, limits: Limits) -> int:
    if type(value) is not int:
        raise InvalidDelta("a length is not a whole number")
    if value <= 0:
        raise InvalidDelta("a length is not positive")
    if value > limits.document_units:
        raise InvalidDelta("a length is beyond the end of any document")
    return value


def read_insert_text(text: str) -> str:
    if not text:
        raise InvalidDelta("an insert is empty")
    return read_text(text)


def check_inserted(units: int, limits: Limits) -> None:
    if units > limits.text_units:
        raise DeltaTooLarge(f"a delta may insert at most {limits.text_units} UTF-16 units")


def _read_insert(out: Builder, value: object, attributes: Attributes | None, limits: Limits) -> None:
    if isinstance(value, str):
        out.insert(read_insert_text(value), attributes)
        return
    if not isinstance(value, Mapping) or len(value) != 1:
        raise InvalidDelta("an embed is an object with exactly one name")
    out.embed(Embed(read_object(dict(value), limits.depth), attributes))


def write_operations(components: Components) -> list[dict[str, Any]]:
    return [write_operation(component) for component in components]


def write_operation(component: Component) -> dict[str, Any]:
    if isinstance(component, int):
        return {"retain": component} if component > 0 else {"delete": -component}
    if isinstance(component, str):
        return {"insert": collapse(component)}
    operation: dict[str, Any]
    if isinstance(component, Retain):
        operation = {"retain": component.length}
    elif isinstance(component, Insert):
        operation = {"insert": collapse(component.text)}
    else:
        operation = {"insert": _parse(component.key)}
    if component.attributes is not None:
        operation["attributes"] = _parse(component.attributes.key)
    return operation


# Values are shared, by equal formats of other documents too: what is handed out, and may be changed, is made anew.
_parse: Final = msgspec.json.Decoder().decode
