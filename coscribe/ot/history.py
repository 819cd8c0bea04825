"""The history window: the last entries of a log, kept to rebase operations that were made before them.

Nearly every operation is one plain insert or delete, which is two integers (`Delta.at`, `Delta.by`), and so is nearly
every entry: passing one is a few steps of arithmetic. The rest go through the general transform. An operation that is
far behind passes whole runs of entries by position maps. All of this gives what the general transform gives.
"""

from typing import Final

from mypy_extensions import i64

from coscribe.ot.algebra import transform_position
from coscribe.ot.delta import Delta
from coscribe.ot.position_map import (
    PositionMap,
    can_be_carried,
    carry_delete,
    carry_insert,
    map_of_entries,
    map_of_runs,
)

# The lengths of runs that have a position map: 16 entries, and at each further level four runs of the one below. Nearer
# than FAR entries, passing one after another is quicker.
RUN: Final = 16
FANOUT_BITS: Final = 2
LEVELS: Final = 3
LONGEST: Final = RUN << FANOUT_BITS * (LEVELS - 1)
FAR: Final = 64
# A run of large entries has no map: this many pieces an entry at most, that a window's maps are bounded too.
PIECES: Final = 8
NO_MAP: Final = PositionMap([], [], [])


class History:
    """Entries `start` + 1 to `revision`. A base can be rebased if it is at or after `start`."""

    __slots__ = (
        "_ats", "_bys", "_cover", "_cover_first", "_cover_last", "_gone", "_maps", "_others", "_what",
        "revision", "start",
    )  # fmt: skip

    def __init__(self, start: int) -> None:
        self.start = start
        self.revision = start
        self._gone = 0  # entries at the head of the lists that are before the window
        # Of each entry `Delta.at`, `Delta.by` and, if it is not plain, the delta itself, else what it has typed. So a
        # window of plain entries has no object that the garbage collector would look at again and again.
        self._ats: list[int] = []
        self._bys: list[int] = []
        self._what: list[str | Delta] = []
        self._others = 0  # components of those that are not plain
        # For each level the maps of its runs, as far as one was asked for.
        self._maps: list[list[PositionMap | None]] = [[] for _ in range(LEVELS)]
        self._forget_cover()

    def append(self, delta: Delta) -> None:
        self._ats.append(delta.at)
        self._bys.append(delta.by)
        if delta.by:
            self._what.append(delta.typed)
        else:
            self._what.append(delta)
            self._others += len(delta.components)
        self.revision += 1

    def between(self, after: int, through: int) -> list[Delta]:
        """The entries after revision `after`, up to and with `through`."""
        assert self.start <= after <= through <= self.revision, "only entries of the window"
        shift = self._gone - self.start
        return [self._entry(index) for index in range(after + shift, through + shift)]

    def _entry(self, index: int) -> Delta:
        what = self._what[index]
        if isinstance(what, Delta):
            return what
        return Delta(None, self._ats[index], self._bys[index], what)

    def drop_before(self, revision: int) -> None:
        """Moves the start of the window on to `revision`."""
        if revision > self.start:
            revision = min(revision, self.revision)
            self._gone += revision - self.start
            self.start = revision
            if self._gone >= LONGEST and self._gone * 2 >= len(self._bys):
                self._compact()

    def _compact(self) -> None:
        """By whole runs of the highest level, so that each run goes on to begin at a multiple of its length."""
        count = self._gone // LONGEST * LONGEST
        self._gone -= count
        del self._ats[:count]
        del self._bys[:count]
        del self._what[:count]
        for level in range(LEVELS):
            del self._maps[level][: count // _run(level)]
        self._others = self._components_from(0) if self._others else 0
        self._forget_cover()

    def _components_from(self, index: int) -> int:
        return sum([len(what.components) for what in self._what[index:] if isinstance(what, Delta)])

    def work(self, delta: Delta, base: int) -> int:
        """About how many components are read to rebase a delta that was made at `base`, one entry after another."""
        index = base - self.start + self._gone
        count = len(self._bys) - index
        if not delta.by:
            count *= len(delta.components)
        return count + self._components_from(index) if self._others else count

    def truncate(self, revision: int) -> None:
        """Forgets the entries above `revision`."""
        assert revision >= self.start, "the window begins after this revision"
        if revision >= self.revision:
            return
        self.revision = revision
        keep = revision - self.start + self._gone
        del self._ats[keep:]
        del self._bys[keep:]
        del self._what[keep:]
        for level in range(LEVELS):
            del self._maps[level][keep // _run(level) :]
        self._forget_cover()

    def _forget_cover(self) -> None:
        self._cover_first = -1
        self._cover_last = -1
        self._cover: list[PositionMap] | None = None

    def rebase(self, delta: Delta, base: int) -> Delta:
        """An operation made at revision `base`, as it must read after every entry since. It is ordered later than
        they are, so on a tie it goes left of them."""
        if base == self.revision:
            return delta
        index = base - self.start + self._gone
        end = len(self._bys)
        assert self._gone <= index <= end, "the base is outside the window"
        if end - index >= FAR:
            first = (index + RUN - 1) // RUN * RUN
            delta = self._pass(delta, index, first)
            index = first
            if delta.by or can_be_carried(delta.components):
                last = end // RUN * RUN
                maps = self._maps_between(first, last)
                if maps is not None:
                    delta = _carry(delta, maps)
                    index = last
        return self._pass(delta, index, end)

    # --- One entry after another ---

    def _pass(self, delta: Delta, index: int, end: int) -> Delta:
        """`delta` after the entries from `index` up to `end`."""
        while index < end:
            by = delta.by
            if by > 0:
                at = self._pass_insert(delta.at, index, end)
                return delta if at == delta.at else Delta(None, at, by, delta.typed)
            if by < 0:
                index, delta = self._pass_delete(delta, index, end)
            elif not delta:
                return delta
            if index < end:
                delta = self._entry(index).transform(delta, priority=False)
                index += 1
        return delta

    def _pass_insert(self, place: int, first: int, end: int) -> int:
        """Where an insert at `place` goes."""
        bys = self._bys
        ats = self._ats
        at: i64 = place
        index: i64 = first
        stop: i64 = end
        while index < stop:
            by: i64 = bys[index]
            start: i64 = ats[index]
            # An insert at the very place goes right of this one.
            if start < at:
                at += by
                if at < start:
                    at = start
            if by == 0:
                at = transform_position(self._entry(index).components, at, True)
            index += 1
        return at

    def _pass_delete(self, delta: Delta, first: int, end: int) -> tuple[int, Delta]:
        """A delete, and the entry that it has come to: one that parts it in two or is not plain, or `end`, also where
        nothing of it is left."""
        bys = self._bys
        ats = self._ats
        index: i64 = first
        count: i64 = end
        at: i64 = delta.at
        stop: i64 = at - delta.by
        while index < count:
            by: i64 = bys[index]
            start: i64 = ats[index]
            if by == 0:
                break
            if start < stop:
                if by > 0:
                    if start > at:
                        break
                    at += by
                    stop += by
                else:
                    if stop > start - by:
                        stop += by
                    else:
                        stop = start
                    if start < at:
                        at = start if at < start - by else at + by
                    if at == stop:
                        return end, Delta()
            index += 1
        if at == delta.at and at - stop == delta.by:
            return index, delta
        return index, Delta(None, at, at - stop)

    # --- Whole runs at once ---

    def _maps_between(self, first: int, last: int) -> list[PositionMap] | None:
        """The fewest maps that lead from entry `first` to `last`, both at an end of a run; None where one of them would
        be too large. Many operations come from about the same base, so the last answer is kept."""
        if first == self._cover_first and last == self._cover_last:
            return self._cover
        maps: list[PositionMap] | None = []
        index = first
        while index < last:
            level = _level_at(index, last)
            found = self._map(level, index)
            if found is NO_MAP:
                maps = None
                break
            assert maps is not None
            maps.append(found)
            index += _run(level)
        self._cover_first, self._cover_last, self._cover = first, last, maps
        return maps

    def _map(self, level: int, index: int) -> PositionMap:
        """The position map of the run of a level that begins at entry `index`, made when it is first asked for."""
        run = _run(level)
        number = index // run
        maps = self._maps[level]
        while len(maps) <= number:
            maps.append(None)
        found = maps[number]
        if found is None:
            found = self._new_map(level, index, run)
            if len(found.starts) > PIECES * run:
                found = NO_MAP
            maps[number] = found
        return found

    def _new_map(self, level: int, index: int, run: int) -> PositionMap:
        if not level:
            bys = self._bys[index : index + run]
            others = {at: self._entry(index + at).components for at, by in enumerate(bys) if not by}
            return map_of_entries(self._ats[index : index + run], bys, others)
        parts = [self._map(level - 1, first) for first in range(index, index + run, _run(level - 1))]
        return map_of_runs(parts) if NO_MAP not in parts else NO_MAP


def _carry(delta: Delta, maps: list[PositionMap]) -> Delta:
    by = delta.by
    if by > 0:
        at = carry_insert(delta.at, maps)
        return delta if at == delta.at else Delta(None, at, by, delta.typed)
    passed = 0
    if by < 0:
        passed, moved = carry_delete(delta.at, delta.at - by, maps)
        if moved:
            delta = Delta(None, delta.at + moved, by)
    if passed < len(maps):
        components = delta.components
        for one in maps[passed:]:
            components = one.carry(components)
        delta = Delta(components)
    return delta


def _run(level: int) -> int:
    return RUN << FANOUT_BITS * level


def _level_at(index: int, end: int) -> int:
    """The highest level of which a whole run begins at `index`."""
    level = 0
    run = RUN << FANOUT_BITS
    while level + 1 < LEVELS and index % run == 0 and index + run <= end:
        level += 1
        run <<= FANOUT_BITS
    return level
