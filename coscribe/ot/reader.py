"""Hands out a delta piece by piece; past its end it retains for ever."""

from typing import Final

from coscribe.ot.attributes import Attributes
from coscribe.ot.components import Component, Components, Embed, Insert, Retain

RETAIN: Final = 0
INSERT: Final = 1
DELETE: Final = 2

_ENDLESS: Final = 2**62


class Reader:
    """`kind`, `left` (units) and `attributes` describe what comes next."""

    __slots__ = ("_component", "_components", "_next", "_offset", "attributes", "done", "kind", "left")

    def __init__(self, components: Components, first: int = 0) -> None:
        self._components = components
        self._next = first
        self._offset = 0
        self._component: Component = 0
        self.kind = RETAIN
        self.left = _ENDLESS
        self.attributes: Attributes | None = None
        self.done = False
        self._load()

    def _load(self) -> None:
        self._offset = 0
        self.attributes = None
        if self._next >= len(self._components):
            self._component = 0
            self.kind = RETAIN
            self.left = _ENDLESS
            self.done = True
            return
        component = self._component = self._components[self._next]
        self._next += 1
        if isinstance(component, int):
            self.kind = RETAIN if component > 0 else DELETE
            self.left = component if component > 0 else -component
        elif isinstance(component, str):
            self.kind = INSERT
            self.left = len(component)
        elif isinstance(component, Retain):
            self.kind = RETAIN
            self.left = component.length
            self.attributes = component.attributes
        else:
            self.kind = INSERT
            self.left = len(component.text) if isinstance(component, Insert) else 1
            self.attributes = component.attributes

    def skip(self, units: int) -> None:
        """Goes on by at most `left` units."""
        if units < self.left:
            self._offset += units
            self.left -= units
        elif not self.done:
            self._load()

    def embed(self) -> Embed | None:
        """What comes next, if it is an embed."""
        component = self._component
        return component if isinstance(component, Embed) else None

    def text(self, units: int) -> str:
        """The next units of an insert of text."""
        component = self._component
        text = component.text if isinstance(component, Insert) else component
        assert isinstance(text, str), "only an insert of text has text"
        return text[self._offset : self._offset + units]

    def rest(self) -> Components:
        """All that is left, in normal form."""
        if self.done:
            return ()
        behind = self._components[self._next :]
        if not self._offset:
            return (self._component, *behind)
        return (self._piece(), *behind)

    def _piece(self) -> Component:
        if self.kind == INSERT:
            text = self.text(self.left)
            return text if self.attributes is None else Insert(text, self.attributes)
        if self.kind == DELETE:
            return -self.left
        return self.left if self.attributes is None else Retain(self.left, self.attributes)
