"""Where places go over a run of entries: the composition of what each entry does to one place, which is exact.

A place p stands between two units; an insert goes to one, and stays left of what was inserted there (the tie rule).
Place 0 stays where it is. Any other clings to the unit before it: while that is there it moves along; once it is
deleted, all the places of the deleted range are one. So over any entries places go by a monotone map of pieces, where
each piece either moves by one sum (its units are still there) or is all on one place (they are gone).

Transforming over the entries composed into one delta is not the same: that forgets where what came and went has been.
"""

from bisect import bisect_right
from typing import Final

from coscribe.ot.algebra import resized
from coscribe.ot.builder import Builder
from coscribe.ot.components import Components, Retain, units_of


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
        if at == 0:
            return 0
        piece = bisect_right(self.starts, at) - 1
        return at + self.sums[piece] if self.kept[piece] else self.sums[piece]

    def shift(self, at: int, stop: int) -> int | None:
        """By how much the units from `at` up to `stop` have moved, if they are all there and still in a row. Of NO_MAP
        nobody knows."""
        starts = self.starts
        piece = bisect_right(starts, at + 1) - 1
        if piece >= 0 and self.kept[piece] and (piece + 1 == len(starts) or stop < starts[piece + 1]):
            return self.sums[piece]
        return None

    def carry(self, components: Components) -> Components:
        """A delta for which `can_be_carried` holds, as it reads after the run if it is ordered later."""
        starts = self.starts
        out = Builder()
        base = 0  # units of the base that are behind us
        done = 0  # units of what the run led to that are behind us
        for component in components:
            units = units_of(component)
            if not isinstance(component, (int, Retain)):
                place = self.place(base)
                out.retain(place - done)
                out.push(component)
                done = place
                continue
            end = base + units
            if not isinstance(component, int) or component < 0:
                piece = bisect_right(starts, base + 1) - 1
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


# Of a run that has none.
NO_MAP: Final = PositionMap([], [], [])


def map_of_entries(ats: list[int], bys: list[int], others: dict[int, Components]) -> PositionMap:
    """One entry after another, as `Delta.at` and `Delta.by` tell it. A plain one changes the few pieces in place; the
    others, here by their number, are each a map of its own."""
    starts = [1]
    sums = [0]
    kept = [True]
    for number, by in enumerate(bys):
        at = ats[number]
        if by > 0:
            first = _part(starts, sums, kept, at)
            for piece in range(first, len(starts)):
                sums[piece] += by
        elif by < 0:
            first = _part(starts, sums, kept, at)
            behind = _part(starts, sums, kept, at - by)
            for piece in range(behind, len(starts)):
                sums[piece] += by
            # What is now on one place is one piece.
            if first < behind:
                sums[first] = at
                kept[first] = False
                del starts[first + 1 : behind]
                del sums[first + 1 : behind]
                del kept[first + 1 : behind]
        elif others[number]:
            found = _compose(PositionMap(starts, sums, kept), _map_of_components(others[number]))
            starts, sums, kept = found.starts, found.sums, found.kept
    return PositionMap(starts, sums, kept)


def map_of_runs(maps: list[PositionMap]) -> PositionMap:
    """One run after another."""
    while len(maps) > 1:
        pairs = [_compose(maps[i], maps[i + 1]) for i in range(0, len(maps) - 1, 2)]
        if len(maps) % 2:
            pairs.append(maps[-1])
        maps = pairs
    return maps[0]


def _part(starts: list[int], sums: list[int], kept: list[bool], at: int) -> int:
    """The piece from which on places are right of `at`, made if need be."""
    low = 0
    high = len(starts)
    while low < high:  # bisection, by where the first place of a piece is now
        middle = (low + high) // 2
        where = starts[middle] + sums[middle] if kept[middle] else sums[middle]
        if where <= at:
            low = middle + 1
        else:
            high = middle
    if low and kept[low - 1]:
        start = at + 1 - sums[low - 1]
        if low == len(starts) or start < starts[low]:
            starts.insert(low, start)
            sums.insert(low, sums[low - 1])
            kept.insert(low, True)
    return low


def _compose(first: PositionMap, second: PositionMap) -> PositionMap:
    starts: list[int] = []
    sums: list[int] = []
    kept: list[bool] = []
    edges = second.starts
    piece = 0  # of the second, in which the place at hand lies
    for number, start in enumerate(first.starts):
        total = first.sums[number]
        if not first.kept[number]:
            starts.append(start)
            sums.append(second.place(total))
            kept.append(False)
            continue
        end = first.starts[number + 1] if number + 1 < len(first.starts) else 0
        while piece + 1 < len(edges) and edges[piece + 1] <= start + total:
            piece += 1
        while True:
            starts.append(start)
            sums.append(total + second.sums[piece] if second.kept[piece] else second.sums[piece])
            kept.append(second.kept[piece])
            if piece + 1 == len(edges):
                break
            start = edges[piece + 1] - total
            if end and start >= end:
                break
            piece += 1
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
