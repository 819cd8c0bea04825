"""compose, transform, invert and cut over components, with the results of quill-delta 5.

Tie rule of the product: of two inserts at one place the operation ordered later goes left. An owner transforms a new
operation over an applied one with priority=False, a client a received one over its own with priority=True.
"""

from coscribe.ot.attributes import compose_attributes, invert_attributes, transform_attributes
from coscribe.ot.builder import Builder
from coscribe.ot.components import Component, Components, Insert, Retain, units_of
from coscribe.ot.limits import InvalidDelta
from coscribe.ot.reader import DELETE, INSERT, RETAIN, Reader


def compose(first: Components, second: Components) -> Components:
    """One delta that does `first`, then `second`."""
    if not first:
        return second
    if not second:
        return first
    head, passed = _head_of_result(first, second[0])
    out = Builder(first[:head])
    a, b = Reader(first, head), Reader(second)
    b.skip(passed)
    while not b.done:
        if b.kind == INSERT:
            _take_insert(out, b, b.left)
        elif a.kind == DELETE:
            out.delete(a.left)
            a.skip(a.left)
        else:
            units = min(a.left, b.left)
            if b.kind == DELETE:
                if a.kind == RETAIN:
                    out.delete(units)
            elif a.kind == RETAIN:
                out.retain(units, compose_attributes(a.attributes, b.attributes, keep_null=True))
            else:
                _put_insert(out, a, units, b)
            a.skip(units)
            b.skip(units)
    out.extend(a.rest())
    return out.build()


def transform(applied: Components, other: Components, priority: bool) -> Components:
    """`other` as it must read after `applied`; with priority, an insert of `applied` stays left on a tie."""
    if not applied:
        return other
    head, passed = _head_of_base(other, applied[0])
    out = Builder(other[:head])
    a, b = Reader(applied), Reader(other, head)
    a.skip(passed)
    while not b.done and not a.done:
        if a.kind == INSERT and (priority or b.kind != INSERT):
            out.retain(a.left)
            a.skip(a.left)
        elif b.kind == INSERT:
            _take_insert(out, b, b.left)
        else:
            units = min(a.left, b.left)
            if a.kind == RETAIN:
                if b.kind == DELETE:
                    out.delete(units)
                else:
                    out.retain(units, transform_attributes(a.attributes, b.attributes, priority))
            a.skip(units)
            b.skip(units)
    out.extend(b.rest())
    return out.build()


def transform_position(applied: Components, position: int, priority: bool) -> int:
    """Where a position stands after `applied`; with priority it stays left of an insert right there."""
    at = 0
    for component in applied:
        if at > position:
            break
        units = units_of(component)
        if isinstance(component, int) and component < 0:
            position -= min(units, position - at)
            continue
        if not isinstance(component, (int, Retain)) and (at < position or not priority):
            position += units
        at += units
    return position


def invert(components: Components, base: Components) -> Components:
    """What undoes `components` on the document `base`."""
    out = Builder()
    old = Reader(base)
    for component in components:
        plain_retain = isinstance(component, int) and component > 0
        if not isinstance(component, (int, Retain)):
            out.delete(units_of(component))
            continue
        left = units_of(component)
        while left:
            if old.kind != INSERT:
                raise InvalidDelta("the delta runs past the end of its base")
            units = min(left, old.left)
            if isinstance(component, Retain):
                out.retain(units, invert_attributes(component.attributes, old.attributes))
            elif plain_retain:
                out.retain(units)
            else:
                _put_insert(out, old, units, None)
            old.skip(units)
            left -= units
    return out.build()


def cut(components: Components, at: int) -> tuple[Components, Components]:
    """The parts for [:at] and [at:] of the base. An insert at the cut goes right."""
    left, right = Builder(), Builder()
    base = 0
    for component in components:
        if not isinstance(component, (int, Retain)):
            (left if base < at else right).push(component)
            continue
        units = units_of(component)
        inside = min(units, max(0, at - base))
        if inside:
            left.push(resized(component, inside))
        if units > inside:
            right.push(resized(component, units - inside))
        base += units
    return left.build(), right.build()


def slice_components(components: Components, start: int, end: int) -> Components:
    """The units from `start` to `end`, each component counted with its own: for a document its range."""
    out = Builder()
    at = 0
    for component in components:
        if at >= end:
            break
        units = units_of(component)
        first, last = max(0, start - at), min(units, end - at)
        at += units
        if first >= last:
            continue
        if isinstance(component, str):
            out.insert(component[first:last])
        elif isinstance(component, Insert):
            out.insert(component.text[first:last], component.attributes)
        elif isinstance(component, (int, Retain)):
            out.push(resized(component, last - first))
        else:
            out.embed(component)
    return out.build()


# Most changes are small and far from the start, and most of what they meet is before them: that is taken over whole.


def _head_of_result(components: Components, lead: Component) -> tuple[int, int]:
    """How many components lie within what `lead`, if it is a plain retain, passes of their result; and their units."""
    count = passed = 0
    if isinstance(lead, int) and lead > 0:
        for component in components:
            if isinstance(component, int):
                units = component if component > 0 else 0
            else:
                units = len(component) if isinstance(component, str) else units_of(component)
            if passed + units > lead:
                break
            passed += units
            count += 1
    return count, passed


def _head_of_base(components: Components, lead: Component) -> tuple[int, int]:
    """The same of their base. An insert at its very end is left to the rule of ties."""
    count = passed = 0
    if isinstance(lead, int) and lead > 0:
        for component in components:
            if isinstance(component, int):
                units = component if component > 0 else -component
            else:
                units = component.length if isinstance(component, Retain) else 0
            if passed + units > lead or (not units and passed == lead):
                break
            passed += units
            count += 1
    return count, passed


def resized(component: int | Retain, units: int) -> Component:
    """A retain or delete of as many units."""
    if isinstance(component, Retain):
        return Retain(units, component.attributes)
    return units if component > 0 else -units


def _take_insert(out: Builder, reader: Reader, units: int) -> None:
    _put_insert(out, reader, units, None)
    reader.skip(units)


def _put_insert(out: Builder, source: Reader, units: int, format_by: Reader | None) -> None:
    """The next units of `source`, formatted by the retain that `format_by` stands on."""
    attributes = source.attributes
    if format_by is not None:
        attributes = compose_attributes(attributes, format_by.attributes, keep_null=False)
    embed = source.embed()
    if embed is not None:
        out.embed(embed.formatted(attributes))
    else:
        out.insert(source.text(units), attributes)
