"""Surrogate-expanded strings: one Python character for each UTF-16 code unit.

Inside this package a character above U+FFFF stands as its two surrogates, so that `len` and slices are JavaScript's.
It is expanded on the way in and collapsed on the way out. Text is never normalised: NFC and NFD differ in length.
"""

import re
from typing import Final

from coscribe.ot.limits import InvalidDelta

_ASTRAL: Final = re.compile(r"[\U00010000-\U0010ffff]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


def _surrogates(match: re.Match[str]) -> str:
    code = ord(match.group()) - 0x10000
    return chr(0xD800 | code >> 10) + chr(0xDC00 | code & 0x3FF)


def read_text(text: str) -> str:
    """Text from outside, expanded. Raises InvalidDelta for what no document may hold."""
    if "\0" in text:
        raise InvalidDelta("text holds a NUL character")
    if text.isascii():
        return text
    if _SURROGATE.search(text) is not None:
        raise InvalidDelta("text holds a lone surrogate")
    return expand(text)


def expand(text: str) -> str:
    return text if text.isascii() else _ASTRAL.sub(_surrogates, text)


def collapse(text: str) -> str:
    """The real characters. A lone surrogate, which only half a delta can hold, stays as it is."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def has_surrogates(text: str) -> bool:
    return not text.isascii() and _SURROGATE.search(text) is not None


def is_low_surrogate(unit: str) -> bool:
    return 0xDC00 <= ord(unit) <= 0xDFFF
