"""What a delta may cost, and the two ways in which one is refused.

The text of either exception may be shown to the client: it names the fault, never the content.
"""

from dataclasses import astuple, dataclass
from typing import Any, Final


class InvalidDelta(ValueError):
    """Not a delta, or one that this content cannot take."""


class DeltaTooLarge(ValueError):
    """A delta of the right form that asks for more than a limit allows: split it."""


@dataclass(frozen=True, slots=True)
class Limits:
    op_bytes: int = 262_144
    components: int = 10_000
    text_units: int = 262_144
    # Of one component; an embed's value is bounded by op_bytes alone, for editors paste pictures as data URLs.
    attribute_bytes: int = 8_192
    # Arrays and objects inside one another, the object of attributes (or the embed) being the first.
    depth: int = 16
    document_units: int = 10_000_000
    # An embed is one unit however large, and formats are none: this bounds them. About what the content takes.
    document_bytes: int = 64 * 2**20

    def __reduce__(self) -> tuple[Any, ...]:
        # Copies and pickles are made by the constructor: a compiled class does not take its state back from outside.
        return Limits, astuple(self)


DEFAULT_LIMITS: Final = Limits()

_NO_LIMIT: Final = 2**53 - 1

# For bytes of our own: snapshots and log entries, which transforming and composing may have grown over any limit
# that their parts once kept. The form is checked all the same.
OWN_LIMITS: Final = Limits(
    op_bytes=_NO_LIMIT,
    components=_NO_LIMIT,
    text_units=_NO_LIMIT,
    attribute_bytes=_NO_LIMIT,
    depth=128,
    document_units=_NO_LIMIT,
    document_bytes=_NO_LIMIT,
)
