"""The components of a delta, in the spirit of the compact wire.

A positive int retains, a negative one deletes, a str inserts plain text (surrogate-expanded); whatever has attributes,
and an embed, is a small object that is never changed. Lengths and positions are UTF-16 code units.
"""

from typing import Any, Final

from mypy_extensions import mypyc_attr

from coscribe.ot.attributes import Attributes, same_attributes
from coscribe.ot.values import canonical


@mypyc_attr(acyclic=True)
class Retain:
    """Formats the `length` units it passes."""

    __slots__ = ("attributes", "length")

    def __init__(self, length: int, attributes: Attributes) -> None:
        self.length: Final = length
        self.attributes: Final = attributes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Retain) and self.length == other.length and self.attributes == other.attributes

    def __hash__(self) -> int:
        return hash((self.length, self.attributes.key))

    def __reduce__(self) -> tuple[Any, ...]:
        return Retain, (self.length, self.attributes)

    def __repr__(self) -> str:
        return f"Retain({self.length}, {self.attributes!r})"


@mypyc_attr(acyclic=True)
class Insert:
    """Inserts formatted text."""

    __slots__ = ("attributes", "text")

    def __init__(self, text: str, attributes: Attributes) -> None:
        self.text: Final = text
        self.attributes: Final = attributes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Insert) and self.text == other.text and self.attributes == other.attributes

    def __hash__(self) -> int:
        return hash((self.text, self.attributes.key))

    def __reduce__(self) -> tuple[Any, ...]:
        return Insert, (self.text, self.attributes)

    def __repr__(self) -> str:
        return f"Insert({self.text!r}, {self.attributes!r})"


@mypyc_attr(acyclic=True)
class Embed:
    """Inserts one object, such as a picture, of one unit. `value` has exactly one name."""

    __slots__ = ("attributes", "key", "value")

    def __init__(self, value: dict[str, object], attributes: Attributes | None, key: bytes = b"") -> None:
        self.value: Final = value
        self.attributes: Final = attributes
        self.key: Final = key or canonical(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Embed) and self.key == other.key and same_attributes(self.attributes, other.attributes)

    def __hash__(self) -> int:
        return hash((self.key, self.attributes))

    def __reduce__(self) -> tuple[Any, ...]:
        return Embed, (self.value, self.attributes, self.key)

    def __repr__(self) -> str:
        return f"Embed({self.key.decode()}, {self.attributes!r})"

    def formatted(self, attributes: Attributes | None) -> "Embed":
        return self if attributes is self.attributes else Embed(self.value, attributes, self.key)


Component = int | str | Retain | Insert | Embed
Components = tuple[Component, ...]


def units_of(component: Component) -> int:
    """The units it inserts, deletes or passes."""
    if isinstance(component, int):
        return component if component > 0 else -component
    if isinstance(component, str):
        return len(component)
    if isinstance(component, Retain):
        return component.length
    return len(component.text) if isinstance(component, Insert) else 1


def inserted_units(components: Components) -> int:
    return sum(units_of(component) for component in components if not isinstance(component, (int, Retain)))
