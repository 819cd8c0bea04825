"""Puts components together in normal form.

Normal form: neighbours that can be one component are one; at one place inserts come before the delete; nothing is
empty; no plain retain at the end. So two deltas that mean the same are equal, but for embeds that come and go.
"""

from coscribe.ot.attributes import Attributes, same_attributes
from coscribe.ot.components import Component, Components, Embed, Insert, Retain


class Builder:
    __slots__ = ("_out",)

    def __init__(self, head: Components = ()) -> None:
        """Begins with a run that is in normal form."""
        self._out: list[Component] = list(head)

    def retain(self, length: int, attributes: Attributes | None = None) -> None:
        if length <= 0:
            return
        out = self._out
        last = out[-1] if out else 0
        if attributes is None:
            if isinstance(last, int) and last > 0:
                out[-1] = last + length
            else:
                out.append(length)
        elif isinstance(last, Retain) and same_attributes(last.attributes, attributes):
            out[-1] = Retain(last.length + length, attributes)
        else:
            out.append(Retain(length, attributes))

    def delete(self, length: int) -> None:
        if length <= 0:
            return
        out = self._out
        last = out[-1] if out else 0
        if isinstance(last, int) and last < 0:
            out[-1] = last - length
        else:
            out.append(-length)

    def insert(self, text: str, attributes: Attributes | None = None) -> None:
        if not text:
            return
        out = self._out
        place = self._insert_place()
        before: Component = out[place - 1] if place else 0
        if attributes is None:
            if isinstance(before, str):
                out[place - 1] = before + text
            else:
                out.insert(place, text)
        elif isinstance(before, Insert) and same_attributes(before.attributes, attributes):
            out[place - 1] = Insert(before.text + text, attributes)
        else:
            out.insert(place, Insert(text, attributes))

    def embed(self, embed: Embed) -> None:
        self._out.insert(self._insert_place(), embed)

    def push(self, component: Component) -> None:
        if isinstance(component, int):
            if component > 0:
                self.retain(component)
            else:
                self.delete(-component)
        elif isinstance(component, str):
            self.insert(component)
        elif isinstance(component, Retain):
            self.retain(component.length, component.attributes)
        elif isinstance(component, Insert):
            self.insert(component.text, component.attributes)
        else:
            self.embed(component)

    def extend(self, components: Components) -> None:
        """A run that is in normal form. It is pushed as long as it can still touch what is here: an insert after a
        delete goes before it, and leaves the delete last."""
        out = self._out
        count = 0
        while count < len(components):
            self.push(components[count])
            count += 1
            last = out[-1]
            if not (isinstance(last, int) and last < 0):
                out.extend(components[count:])
                return

    def build(self) -> Components:
        out = self._out
        if out:
            last = out[-1]
            if isinstance(last, int) and last > 0:
                out.pop()
        return tuple(out)

    def _insert_place(self) -> int:
        out = self._out
        if not out:
            return 0
        last = out[-1]
        return len(out) - 1 if isinstance(last, int) and last < 0 else len(out)
