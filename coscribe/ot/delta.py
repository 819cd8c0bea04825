"""A delta: one change of a document, or a document itself (inserts only). Pure, immutable, always in normal form.

Positions and lengths are UTF-16 code units. Data from outside comes in through `decode`, `from_quill` and the builders,
which check it; the constructor trusts its components.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from mypy_extensions import mypyc_attr

from coscribe.ot import algebra
from coscribe.ot.attributes import read_attributes
from coscribe.ot.builder import Builder
from coscribe.ot.components import Components, Insert, Retain, inserted_units, units_of
from coscribe.ot.diff import diff
from coscribe.ot.limits import DEFAULT_LIMITS, OWN_LIMITS, InvalidDelta, Limits
from coscribe.ot.quill import read_operation, read_operations, write_operations
from coscribe.ot.text import collapse, read_text


@mypyc_attr(acyclic=True, free_list_len=1)
class Delta:
    """`at` and `by` are a delta of one plain component as integers: it inserts `by` > 0 units at `at` (their text is
    `typed`) or deletes `-by` from there. `by` is 0 for every other one. What can be seen of it never
    changes."""

    # The components of a plain delta are made when they are asked for: most are applied and forgotten without.
    __slots__ = ("_components", "at", "by", "typed")

    def __init__(self, components: Components | None = (), at: int = 0, by: int = 0, typed: str = "") -> None:
        """Of components in normal form; of a plain change if there are none."""
        self._components = components
        self.at = at
        self.by = by
        self.typed = typed
        if components is not None and 0 < len(components) <= 2:
            self._look_for_a_plain_change(components)

    def _look_for_a_plain_change(self, components: Components) -> None:
        at = 0
        change = components[0]
        if len(components) == 2:
            if not isinstance(change, int) or change < 0:
                return
            at, change = change, components[1]
        if isinstance(change, str):
            self.at, self.by, self.typed = at, len(change), change
        elif isinstance(change, int) and change < 0:
            self.at, self.by = at, change

    @property
    def components(self) -> Components:
        found = self._components
        if found is None:
            change = self.typed or self.by
            found = self._components = (self.at, change) if self.at else (change,)
        return found

    # --- From and to what others write ---

    @staticmethod
    def from_quill(operations: Sequence[Mapping[str, Any]], limits: Limits = OWN_LIMITS) -> "Delta":
        """Raises InvalidDelta, or DeltaTooLarge over a limit."""
        return Delta(read_operations(operations, limits))

    def to_quill(self) -> list[dict[str, Any]]:
        return write_operations(self.components)

    # --- Building, as with quill-delta: each answers a new delta. Of many steps from_quill makes one more quickly. ---

    def insert(self, content: str | Mapping[str, Any], attributes: Mapping[str, Any] | None = None) -> "Delta":
        """Goes on by inserting text, or an embed: a mapping of one name, such as {"image": "a.png"}. Raises
        InvalidDelta; the empty text is nothing."""
        return self if content == "" else Delta(self._then("insert", content, attributes).build())

    def delete(self, length: int) -> "Delta":
        """Goes on by deleting `length` units. Raises InvalidDelta where they are negative; 0 is nothing."""
        return self if length == 0 else Delta(self._then("delete", length, None).build())

    def retain(self, length: int, attributes: Mapping[str, Any] | None = None) -> "Delta":
        """Goes on by passing `length` units, which takes the attributes (None: takes one away) to them. Raises
        InvalidDelta where they are negative; 0 is nothing. Without a change behind it, a plain one does not count."""
        if length == 0:
            return self
        components = self._then("retain", length, attributes).build()
        return Delta(components) if attributes else _Going(components, self._passed() + length)

    def _then(self, name: str, value: object, attributes: Mapping[str, Any] | None) -> Builder:
        out = Builder(self.components)
        out.retain(self._passed())
        operation = {name: value} if attributes is None else {name: value, "attributes": attributes}
        read_operation(out, operation, OWN_LIMITS)
        return out

    def _passed(self) -> int:
        """Units retained behind its last component while it is being built."""
        return 0

    @staticmethod
    def replace(position: int, delete: int, text: str, attributes: Mapping[str, Any] | None = None) -> "Delta":
        """Deletes units from `position` on and puts text in their place."""
        _check_units(position, delete)
        out = Builder()
        out.retain(position)
        if attributes is None:
            out.insert(read_text(text))
        else:
            out.insert(read_text(text), read_attributes(attributes, DEFAULT_LIMITS, keep_null=False))
        out.delete(delete)
        return Delta(out.build())

    @staticmethod
    def format(position: int, length: int, attributes: Mapping[str, Any]) -> "Delta":
        """A value None takes an attribute away."""
        _check_units(position, length)
        out = Builder()
        out.retain(position)
        out.retain(length, read_attributes(attributes, DEFAULT_LIMITS, keep_null=True))
        return Delta(out.build())

    # --- The four verbs, and cutting ---

    def compose(self, other: "Delta") -> "Delta":
        return Delta(algebra.compose(self.components, other.components))

    def transform(self, other: "Delta", priority: bool) -> "Delta":
        """`other` as it must read after this one. With priority, an insert of this one stays left on a tie."""
        if self.by and other.by:
            moved = _transform_plain(self, other, priority)
            if moved is not None:
                return moved
        return Delta(algebra.transform(self.components, other.components, priority))

    def transform_position(self, position: int, priority: bool = False) -> int:
        """Where a position stands after this delta; with priority it stays left of an insert right there."""
        return algebra.transform_position(self.components, position, priority)

    def diff(self, other: "Delta", timeout_s: float = 1.0) -> "Delta":
        """What makes the document `other` of this one: `a.compose(a.diff(b)) == b`. Raises InvalidDelta unless both
        only insert. After about `timeout_s` it stops looking for what they have in common, and replaces more text
        than it must: the answer is larger then, and right all the same."""
        if not (self.is_document and other.is_document):
            raise InvalidDelta("a diff is of two documents, which only insert")
        return Delta(diff(self.components, other.components, timeout_s))

    def invert(self, base: "Delta") -> "Delta":
        """What undoes this delta, which was made for the document `base`."""
        return Delta(algebra.invert(self.components, base.components))

    def cut(self, at: int) -> tuple["Delta", "Delta"]:
        """The parts for [:at] and [at:] of the base, the right one counted from `at`. An insert at `at` goes right."""
        left, right = algebra.cut(self.components, at)
        return Delta(left), Delta(right)

    def shifted(self, by: int) -> "Delta":
        """The same change `by` units further on."""
        if by <= 0 or not self.components:
            return self
        out = Builder()
        out.retain(by)
        out.extend(self.components)
        return Delta(out.build())

    def concat(self, other: "Delta") -> "Delta":
        """The components of one after those of the other: for documents, both texts in a row."""
        if not self.components:
            return other
        out = Builder()
        out.extend(self.components)
        out.extend(other.components)
        return Delta(out.build())

    def slice(self, start: int = 0, end: int | None = None) -> "Delta":
        """Of a document, the units from `start` to `end`."""
        stop = sum(map(units_of, self.components)) if end is None else end
        return Delta(algebra.slice_components(self.components, start, stop))

    # --- Lengths and text ---

    @property
    def base_length(self) -> int:
        """The units of a document that it looks at: a shorter one cannot take it."""
        if self.by:
            return self.at if self.by > 0 else self.at - self.by
        units = 0
        for component in self.components:
            if isinstance(component, int):
                units += component if component > 0 else -component
            elif isinstance(component, Retain):
                units += component.length
        return units

    @property
    def length_change(self) -> int:
        if self.by:
            return self.by
        deleted = sum(component for component in self.components if isinstance(component, int) and component < 0)
        return self.length + deleted

    @property
    def length(self) -> int:
        """The units it inserts: of a document, its length."""
        return inserted_units(self.components)

    @property
    def is_document(self) -> bool:
        return not any(isinstance(component, (int, Retain)) for component in self.components)

    def text(self) -> str:
        """The text it inserts, in real characters. Embeds have none and are skipped, so positions do not fit it."""
        parts = [component for component in self.components if isinstance(component, str)]
        if len(parts) != len(self.components):
            parts = [
                component if isinstance(component, str) else component.text
                for component in self.components
                if isinstance(component, (str, Insert))
            ]
        return collapse("".join(parts))

    # --- As a value ---

    def __bool__(self) -> bool:
        """False for the delta that changes nothing."""
        return self.by != 0 or bool(self._components)

    def __reduce__(self) -> tuple[Any, ...]:
        return Delta, (self.components,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Delta) and self.components == other.components

    def __hash__(self) -> int:
        return hash(self.components)

    def __repr__(self) -> str:
        return f"Delta({list(self.components)!r})"


@mypyc_attr(acyclic=True)
class _Going(Delta):
    """A delta that is being built, and whose last step was a plain retain. It means what it means without."""

    __slots__ = ("_units",)

    def __init__(self, components: Components, units: int) -> None:
        super().__init__(components)
        self._units = units

    def _passed(self) -> int:
        return self._units


# Longer runs of typing are joined by composing, so that none costs n².
JOINED_UNITS: Final = 1_024


def compose_all(deltas: Iterable[Delta]) -> Delta:
    """All of them in their order. Typing is joined as it goes; what is left is composed as a balanced tree, so that a
    long run costs n log n, not n²."""
    joined: list[Delta] = []
    for delta in deltas:
        both = _joined(joined[-1], delta) if joined and joined[-1].by and delta.by else None
        if both is None:
            joined.append(delta)
        else:
            joined[-1] = both
    level = [delta.components for delta in joined]
    if not level:
        return Delta()
    while len(level) > 1:
        pairs = [algebra.compose(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            pairs.append(level[-1])
        level = pairs
    return Delta(level[0])


def _transform_plain(applied: Delta, other: Delta, priority: bool) -> Delta | None:
    """The same by arithmetic, where both are plain and so is what comes out."""
    start = applied.at
    by = applied.by
    at = other.at
    if by > 0:
        if other.by > 0:
            if start < at or (start == at and priority):
                return Delta(None, at + by, other.by, other.typed)
            return other
        if start <= at:
            return Delta(None, at + by, other.by)
        return other if start >= at - other.by else None
    end = start - by
    if other.by > 0:
        if at <= start:
            return other
        return Delta(None, at + by if at >= end else start, other.by, other.typed)
    stop = at - other.by
    if stop <= start:
        return other
    after = at if at <= start else at + by if at >= end else start
    gone = after - (stop + by if stop >= end else start)
    return Delta(None, after, gone) if gone else Delta()


def _joined(first: Delta, second: Delta) -> Delta | None:
    """Both in one, if that is plain too: typing on, taking back what was typed last, deleting on."""
    at = first.at
    by = first.by
    if by > 0:
        if second.by > 0 and at <= second.at <= at + by and by + second.by <= JOINED_UNITS:
            inside = second.at - at
            typed = first.typed[:inside] + second.typed + first.typed[inside:]
            return Delta(None, at, by + second.by, typed)
        if second.by < 0 and at <= second.at and second.at - second.by <= at + by:
            inside = second.at - at
            typed = first.typed[:inside] + first.typed[inside - second.by :]
            return Delta(None, at, len(typed), typed) if typed else Delta()
    elif by < 0 and second.by < 0 and second.at <= at <= second.at - second.by:
        return Delta(None, second.at, by + second.by)
    return None


def _check_units(position: int, length: int) -> None:
    if position < 0 or length < 0:
        raise InvalidDelta("a position or a length is negative")
