"""The history window: the last entries of a log, kept to rebase operations that were made before them.

Nearly every operation is one plain insert or delete, which is two integers (`Delta.at`, `Delta.by`), and so is nearly
every entry: passing one is a few steps of arithmetic. The rest go through the general transform. An operation that is
far behind passes whole runs of entries by position maps. All of this gives what the general transform gives.
"""

from typing import Final

from coscribe.ot.algebra import transform_position
from coscribe.ot.delta import Delta
from coscribe.ot.position_map import NO_MAP, PositionMap, can_be_carried, map_of_entries, map_of_runs

# The lengths of runs that have a position map, by level; a run is a whole number of those of the level below. Nearer
# than FAR entries, passing one after another is quicker.
RUNS: Final = (16, 64, 256)
RUN: Final = 16
LONGEST: Final = 256
FAR: Final = 64
# A run of large entries is not worth a map: this many pieces an entry at most, that a window's maps are bounded too.
PIECES: Final = 8


class History:
    """Entries `start` + 1 to `revision`. A base can be rebased if it is at or after `start`."""

    __slots__ = ("_ats", "_bys", "_gone", "_maps", "_what", "revision", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.revision = start
        self._gone = 0  # entries at the head of the lists that are before the window
        # Of each entry `Delta.at`, `Delta.by` and, if it is not plain, the delta itself, else what it has typed. So a
        # window of plain entries has no object that the garbage collector would look at again and again.
        self._ats: list[int] = []
        self._bys: list[int] = []
        self._what: list[str | Delta] = []
        # For each level the maps of its runs, as far as one was asked for.
        self._maps: list[list[PositionMap | None]] = [[] for _ in RUNS]

    def append(self, delta: Delta) -> None:
        self._ats.append(delta.at)
        self._bys.append(delta.by)
        self._what.append(delta.typed if delta.by else delta)
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
        for level, run in enumerate(RUNS):
            del self._maps[level][: count // run]

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
        for level, run in enumerate(RUNS):
            del self._maps[level][keep // run :]

    def rebase(self, delta: Delta, base: int) -> Delta:
        """An operation made at revision `base`, as it must read after every entry since. It is ordered later than
        they are, so on a tie it goes left of them."""
        if base == self.revision:
            return delta
        index = base - self.start + self._gone
        end = len(self._bys)
        assert self._gone <= index <= end, "the base is outside the window"
        while index < end:
            by = delta.by
            if by > 0:
                at = self._pass_insert(delta.at, index)
                return delta if at == delta.at else Delta(None, at, by, delta.typed)
            if by < 0:
                index, delta = self._pass_delete(delta, index)
            else:
                index, delta = self._pass_other(delta, index)
                if not delta:
                    return delta
            if index < end:
                delta = self._entry(index).transform(delta, priority=False)
                index += 1
        return delta

    # --- Plain operations: where they stand after all that follows ---

    def _pass_insert(self, at: int, index: int) -> int:
        """Where an insert at `at` goes, after entry `index` and all that follow."""
        end = len(self._bys)
        if end - index >= FAR:
            first = (index + RUN - 1) // RUN * RUN
            at = self._insert_past(at, index, first)
            index = first
            levels = len(RUNS)
            while end - index >= RUN:
                level = self._level_at(index, end, levels)
                found = self._map(level, index)
                if found.starts:
                    at = found.place(at)
                elif level:
                    levels = level
                    continue
                else:
                    at = self._insert_past(at, index, index + RUN)
                index += RUNS[level]
                levels = len(RUNS)
        return self._insert_past(at, index, end)

    def _insert_past(self, at: int, first: int, end: int) -> int:
        """The same after the entries `first` to `end`, one by one."""
        for index in range(first, end):
            by = self._bys[index]
            start = self._ats[index]
            # An insert at the very place goes right of this one.
            if start < at:
                at += by
                if at < start:
                    at = start
            if by == 0:
                at = transform_position(self._entry(index).components, at, True)
        return at

    def _pass_delete(self, delta: Delta, index: int) -> tuple[int, Delta]:
        """A delete after entry `index` and those that follow. It stops before one that parts it in two or is not plain,
        and at the end of all where nothing of it is left."""
        end = len(self._bys)
        at = delta.at
        stop = at - delta.by
        # A run in which the delete itself is changed is passed by runs of a lower level, at last by its entries.
        far = end - index >= FAR
        levels = len(RUNS)
        while index < end:
            if far and levels and index % RUN == 0 and end - index >= RUN:
                level = self._level_at(index, end, levels)
                moved = self._map(level, index).shift(at, stop)
                if moved is None:
                    levels = level
                else:
                    at += moved
                    stop += moved
                    index += RUNS[level]
                    levels = len(RUNS)
                continue
            by = self._bys[index]
            start = self._ats[index]
            if by == 0:
                break
            if start < stop:
                if by > 0:
                    if start > at:
                        break
                    at += by
                    stop += by
                else:
                    stop = max(start, stop + by)
                    if start < at:
                        at = max(start, at + by)
                    if at == stop:
                        return end, Delta()
            index += 1
            if index % RUN == 0:
                levels = len(RUNS)
        if at == delta.at and at - stop == delta.by:
            return index, delta
        return index, Delta(None, at, at - stop)

    def _pass_other(self, delta: Delta, index: int) -> tuple[int, Delta]:
        """Any other delta by position maps, as far as there are any from entry `index` on."""
        end = len(self._bys)
        components = delta.components
        levels = len(RUNS) if can_be_carried(components) else 0
        while levels and index % RUN == 0 and end - index >= RUN and components:
            level = self._level_at(index, end, levels)
            found = self._map(level, index)
            if found.starts:
                components = found.carry(components)
                index += RUNS[level]
                levels = len(RUNS)
            else:
                levels = level
        return index, Delta(components) if components is not delta.components else delta

    def _level_at(self, index: int, end: int, below: int) -> int:
        """The highest level, under `below`, of which a whole run begins at `index`."""
        level = 0
        while level + 1 < below:
            run = RUNS[level + 1]
            if index % run or index + run > end:
                break
            level += 1
        return level

    def _map(self, level: int, index: int) -> PositionMap:
        """The position map of the run of a level that begins at entry `index`, made when it is first asked for."""
        run = RUNS[level]
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
        parts = [self._map(level - 1, first) for first in range(index, index + run, RUNS[level - 1])]
        return map_of_runs(parts) if NO_MAP not in parts else NO_MAP
