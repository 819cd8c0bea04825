"""The compact wire: `[12,"abc",-2]` is `[{"retain":12},{"insert":"abc"},{"delete":2}]`; an object is a Quill operation.

JSON is half the cost of an operation, so the two commonest forms are read straight, and nothing is allocated for them
but the new text. All that `invalid` and `too_large` mean for the form of an operation is decided here, in one pass.
"""

import json
from typing import Any, Final

import msgspec
from mypy_extensions import i64

from coscribe.ot.build import COMPILED
from coscribe.ot.builder import Builder
from coscribe.ot.components import Component, Components, Insert, Retain, inserted_units
from coscribe.ot.delta import Delta
from coscribe.ot.limits import DEFAULT_LIMITS, DeltaTooLarge, InvalidDelta, Limits
from coscribe.ot.quill import check_inserted, read_insert_text, read_operation, read_units
from coscribe.ot.text import collapse

_parse: Final = msgspec.json.Decoder(list[Any]).decode
# A plain change after the start: most operations. It takes no boolean or 1.0 for an integer.
_parse_plain: Final = msgspec.json.Decoder(tuple[int, int | str]).decode

# The alphabet of short deltas. Two numbers of so many bytes do not overflow.
_SHORT_BYTES: Final = 18
_OPEN: Final = 0x5B
_CLOSE: Final = 0x5D
_COMMA: Final = 0x2C
_QUOTE: Final = 0x22
_MINUS: Final = 0x2D
_ZERO: Final = 0x30
_NINE: Final = 0x39
# What a byte stands for between quotes, if it is ASCII and stands for itself.
_CHARACTERS: Final = [chr(byte) if 0x20 <= byte < 0x7F and chr(byte) not in '"\\' else "" for byte in range(256)]


def decode(raw: bytes | msgspec.Raw, limits: Limits = DEFAULT_LIMITS) -> Delta:
    """Raises InvalidDelta or DeltaTooLarge. The result is in normal form, which what was sent need not be."""
    if COMPILED and isinstance(raw, bytes):
        short = _read_short(raw, limits)
        if short is not None:
            return short
    if len(raw) > limits.op_bytes:
        raise DeltaTooLarge(f"an operation may have at most {limits.op_bytes} bytes")
    try:
        at, change = _parse_plain(raw)
    except (ValueError, RecursionError):
        return _decode_any(raw, limits)
    if not 0 < at <= limits.document_units:
        return _decode_any(raw, limits)
    if isinstance(change, str):
        by = len(change)
        # One typed character, mostly; else as read_insert_text, which is asked where this may not be all.
        if not ("\0" < change < "\x80" if by == 1 else change.isascii() and by and "\0" not in change):
            change = read_insert_text(change)
            by = len(change)
        if by > limits.text_units:
            check_inserted(by, limits)
        return Delta(None, at, by, change)
    return Delta(None, at, change) if 0 > change >= -limits.document_units else _decode_any(raw, limits)


def _decode_any(raw: bytes | msgspec.Raw, limits: Limits) -> Delta:
    try:
        parts = _parse(raw)
    except (ValueError, RecursionError):
        raise InvalidDelta("a delta is a list of components in JSON") from None
    return Delta(_read_components(parts, limits))


def _read_short(raw: bytes, limits: Limits) -> Delta | None:
    """What `[12,"a"]` and `[12,-3]` say, byte by byte: compiled, that is twice as quick as the JSON parser. None for
    all that is not exactly so, and within the limits."""
    size: i64 = len(raw)
    if size < 5 or size > _SHORT_BYTES or size > limits.op_bytes or raw[0] != _OPEN or raw[size - 1] != _CLOSE:
        return None
    # The closing bracket ends every run of digits.
    byte: i64 = raw[1]
    if byte <= _ZERO or byte > _NINE:
        return None
    at: i64 = 0
    index: i64 = 1
    while _ZERO <= byte <= _NINE:
        at = at * 10 + byte - _ZERO
        index += 1
        byte = raw[index]
    if byte != _COMMA or at > limits.document_units:
        return None
    byte = raw[index + 1]
    if byte == _QUOTE:
        if index + 5 != size or raw[index + 3] != _QUOTE or limits.text_units < 1:
            return None
        typed = _CHARACTERS[raw[index + 2]]
        return Delta(None, at, 1, typed) if typed else None
    if byte != _MINUS:
        return None
    index += 2
    byte = raw[index]
    if byte == _ZERO:
        return None
    by: i64 = 0
    while _ZERO <= byte <= _NINE:
        by = by * 10 + byte - _ZERO
        index += 1
        byte = raw[index]
    if index + 1 != size or by == 0 or by > limits.document_units:
        return None
    return Delta(None, at, -by)


def _read_components(parts: list[Any], limits: Limits) -> Components:
    if len(parts) > limits.components:
        raise DeltaTooLarge(f"a delta may have at most {limits.components} components")
    out = Builder()
    for part in parts:
        if type(part) is int:
            if part < 0:
                out.delete(read_units(-part, limits))
            else:
                out.retain(read_units(part, limits))
        elif type(part) is str:
            out.insert(read_insert_text(part))
        else:
            read_operation(out, part, limits)
    components = out.build()
    check_inserted(inserted_units(components), limits)
    return components


def encode(delta: Delta) -> bytes:
    """The canonical bytes: equal deltas have equal ones."""
    return encode_components(delta.components)


def encode_components(components: Components) -> bytes:
    try:
        return _encode(components)
    except (TypeError, UnicodeEncodeError):
        pass  # objects, or surrogates to be joined first
    return b"[%b]" % b",".join([_encode_component(component) for component in components])


def _encode_component(component: Component) -> bytes:
    """Attributes and embeds know their bytes."""
    if isinstance(component, int):
        return b"%d" % component
    if isinstance(component, str):
        return _encode_text(component)
    if isinstance(component, Retain):
        return b'{"retain":%d,"attributes":%b}' % (component.length, component.attributes.key)
    if isinstance(component, Insert):
        return b'{"insert":%b,"attributes":%b}' % (_encode_text(component.text), component.attributes.key)
    if component.attributes is None:
        return b'{"insert":%b}' % component.key
    return b'{"insert":%b,"attributes":%b}' % (component.key, component.attributes.key)


def _encode_text(text: str) -> bytes:
    text = collapse(text)
    try:
        return _encode(text)
    except UnicodeEncodeError:
        # Half a pair is in no delta that was decoded, but may be in one put together by hand: it is written escaped,
        # as JavaScript does.
        return json.dumps(text).encode()


_encode: Final = msgspec.json.Encoder().encode
