"""Where places go over a run of entries: the composition of what each entry does to one place, which is exact.

A place p stands between two units; an insert goes to one, and stays left of what was inserted there (the tie rule).
Place 0 stays where it is. Any other clings to the unit before it: while that is there it moves along; once it is
deleted, all the places of the deleted range are one. So over any entries places go by a monotone map of pieces, where
each piece either moves by one sum (its units are still there) or is all on one place (they are gone).

Transforming over the entries composed into one delta is not the same: that forgets where what came and went has been.
"""

from bisect import bisect_right
from typing import Final

from mypy_extensions import i64, mypyc_attr

from coscribe.ot.algebra import resized
from coscribe.ot.build import COMPILED
from coscribe.ot.builder import Builder
from coscribe.ot.components import Components, Retain, units_of


@mypyc_attr(acyclic=True)
class PositionMap:
    """Piece i has the places from `starts[i]` up to the next piece. If `kept[i]` they move by `sums[i]`, else they all
    are on place `sums[i]`. The first piece starts at place 1, the last has no end."""

    __slots__ = ("kept", "starts", "sums")

    def __init__(self, starts: list[int], sums: list[int], kept: list[bool]) -> None:
        self.starts: Final = starts
        self.sums: Final = sums
        self.kept: Final = kept

    def place(self, at: int) -> int:
        """Where an insert at `at` goes."""
        return carry_insert(at, [self])

    def carry(self, components: Components) -> Components:
        """A delta for which `can_be_carried` holds, as it reads after the run if it is ordered later."""
        starts = self.starts
        out = Builder()
        base = 0  # units of the base that are behind us
        done = 0  # units of what the run led to that are behind us
        for component in components:
            if not isinstance(component, (int, Retain)):
                place = self.place(base)
                out.retain(place - done)
                out.push(component)
                done = place
                continue
            end = base + units_of(component)
            if not isinstance(component, int) or component < 0:
                piece = _pieces_up_to(starts, base + 1) - 1
                while base < end:
                    stop = min(end, starts[piece + 1] - 1) if piece + 1 < len(starts) else end
                    if self.kept[piece]:
                        first = base + self.sums[piece]
                        out.retain(first - done)
                        out.push(resized(component, stop - base))
                        done = first + stop - base
                    base = stop
                    piece += 1
            base = end
        return out.build()


def carry_insert(place: int, maps: list[PositionMap]) -> int:
    """Where an insert at `place` goes over one run after another."""
    if place == 0:
        return 0
    at: i64 = place
    for one in maps:
        piece = (_pieces_up_to(one.starts, at) if COMPILED else bisect_right(one.starts, at)) - 1
        if one.kept[piece]:
            at += one.sums[piece]
        else:
            at = one.sums[piece]
            if at == 0:
                return 0
    return at


def carry_delete(at: int, stop: int, maps: list[PositionMap]) -> tuple[int, int]:
    """How many runs the units from `at` up to `stop` pass whole and in a row, and by how much these move them."""
    first: i64 = at + 1
    last: i64 = stop
    passed = 0
    for one in maps:
        starts = one.starts
        piece = _pieces_up_to(starts, first)
        if not one.kept[piece - 1] or (piece < len(starts) and last >= starts[piece]):
            break
        first += one.sums[piece - 1]
        last += one.sums[piece - 1]
        passed += 1
    return passed, first - 1 - at


def can_be_carried(components: Components) -> bool:
    """Not if an insert follows a delete: what is between them may go, and then normal form puts the insert at the place
    before the delete, from where it goes another way."""
    deleted = False
    for component in components:
        if isinstance(component, int):
            deleted = deleted or component < 0
        elif deleted and not isinstance(component, Retain):
            return False
    return True


# --- Making them ---

_ENDLESS: Final = 2**60


def map_of_entries(ats: list[int], bys: list[int], others: dict[int, Components]) -> PositionMap:
    """One entry after another, as `Delta.at` and `Delta.by` tell it. A plain one changes the few pieces in place; the
    others, here by their number, are each a map of its own."""
    starts = [1]
    firsts = [1]  # where the first place of each piece is now
    kept = [True]
    for number, by in enumerate(bys):
        at = ats[number]
        if by > 0:
            _move(firsts, _part(starts, firsts, kept, at), by)
        elif by < 0:
            gone = _part(starts, firsts, kept, at)
            behind = _part(starts, firsts, kept, at - by)
            _move(firsts, behind, by)
            # What is now on one place is one piece.
            if gone < behind:
                firsts[gone] = at
                kept[gone] = False
                del starts[gone + 1 : behind]
                del firsts[gone + 1 : behind]
                del kept[gone + 1 : behind]
        elif others[number]:
            found = _compose(_map(starts, firsts, kept), _map_of_components(others[number]))
            starts, kept = found.starts, found.kept
            firsts = [total + starts[piece] if kept[piece] else total for piece, total in enumerate(found.sums)]
    return _map(starts, firsts, kept)


def map_of_runs(maps: list[PositionMap]) -> PositionMap:
    """One run after another."""
    while len(maps) > 1:
        pairs = [_compose(maps[i], maps[i + 1]) for i in range(0, len(maps) - 1, 2)]
        if len(maps) % 2:
            pairs.append(maps[-1])
        maps = pairs
    return maps[0]


def _map(starts: list[int], firsts: list[int], kept: list[bool]) -> PositionMap:
    sums = [first - starts[piece] if kept[piece] else first for piece, first in enumerate(firsts)]
    return PositionMap(starts, sums, kept)


def _pieces_up_to(starts: list[int], place: int) -> int:
    """How many pieces start at or before a place."""
    if not COMPILED:
        return bisect_right(starts, place)
    low: i64 = 0
    high: i64 = len(starts)
    at: i64 = place
    while low < high:
        middle = (low + high) >> 1
        if starts[middle] <= at:
            low = middle + 1
        else:
            high = middle
    return low


def _part(starts: list[int], firsts: list[int], kept: list[bool], at: int) -> int:
    """The piece from which on places are right of `at`, made if need be."""
    piece = _pieces_up_to(firsts, at)
    if piece and kept[piece - 1]:
        start = starts[piece - 1] + at + 1 - firsts[piece - 1]
        if piece == len(starts) or start < starts[piece]:
            starts.insert(piece, start)
            firsts.insert(piece, at + 1)
            kept.insert(piece, True)
    return piece


def _move(firsts: list[int], piece: int, by: int) -> None:
    """The pieces from `piece` on."""
    if not COMPILED:
        firsts[piece:] = [first + by for first in firsts[piece:]]
        return
    at: i64 = piece
    count: i64 = len(firsts)
    while at < count:
        firsts[at] += by
        at += 1


def _compose(first: PositionMap, second: PositionMap) -> PositionMap:
    starts: list[int] = []
    sums: list[int] = []
    kept: list[bool] = []
    edges = second.starts
    last = len(edges) - 1
    piece = 0  # of the second, in which the place at hand lies
    edge: i64 = edges[1] if last else _ENDLESS  # where the next one starts
    ends = [*first.starts[1:], _ENDLESS]
    for number, start in enumerate(first.starts):
        total: i64 = first.sums[number]
        if not first.kept[number]:
            starts.append(start)
            sums.append(second.place(total))
            kept.append(False)
            continue
        here: i64 = start
        while edge <= here + total:
            piece += 1
            edge = edges[piece + 1] if piece < last else _ENDLESS
        end: i64 = ends[number]
        while True:
            stays = second.kept[piece]
            starts.append(here)
            sums.append(total + second.sums[piece] if stays else second.sums[piece])
            kept.append(stays)
            here = edge - total
            if here >= end or edge == _ENDLESS:
                break
            piece += 1
            edge = edges[piece + 1] if piece < last else _ENDLESS
    return PositionMap(starts, sums, kept)


def _map_of_components(components: Components) -> PositionMap:
    starts: list[int] = []
    sums: list[int] = []
    kept: list[bool] = []
    base = after = 0
    for component in components:
        units = units_of(component)
        deleted = isinstance(component, int) and component < 0
        if not deleted and not isinstance(component, (int, Retain)):
            after += units
            continue
        starts.append(base + 1)
        sums.append(after if deleted else after - base)
        kept.append(not deleted)
        base += units
        if not deleted:
            after += units
    starts.append(base + 1)
    sums.append(after - base)
    kept.append(True)
    return PositionMap(starts, sums, kept)
