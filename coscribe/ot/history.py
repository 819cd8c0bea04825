"""The history window: the last entries of a log, kept to rebase operations that were made before them.

Nearly every entry is one plain insert or delete. Those stand in two lists of integers, so that a late operation of
that form passes each in a few steps of arithmetic; the rest go through the general transform. Both give the same.
"""

from coscribe.ot.delta import Delta

# The lists are compacted once this many forgotten entries lead them and make up half.
_COMPACT_FROM = 256


class History:
    """Entries `start` + 1 to `revision`. A base can be rebased if it is at or after `start`."""

    __slots__ = ("_ats", "_bys", "_deltas", "_gone", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self._gone = 0  # entries at the head of the lists that are before the window
        self._deltas: list[Delta] = []
        # What Delta says of itself as `at` and `by`; by == 0: look at the delta.
        self._ats: list[int] = []
        self._bys: list[int] = []

    @property
    def revision(self) -> int:
        return self.start + len(self._deltas) - self._gone

    def append(self, delta: Delta) -> None:
        self._deltas.append(delta)
        self._ats.append(delta.at)
        self._bys.append(delta.by)

    def between(self, after: int, through: int) -> list[Delta]:
        """The entries after revision `after`, up to and with `through`."""
        assert self.start <= after <= through <= self.revision, "only entries of the window"
        shift = self._gone - self.start
        return self._deltas[after + shift : through + shift]

    def drop_before(self, revision: int) -> None:
        """Moves the start of the window on to `revision`."""
        revision = min(revision, self.revision)
        if revision <= self.start:
            return
        self._gone += revision - self.start
        self.start = revision
        if self._gone >= _COMPACT_FROM and self._gone * 2 >= len(self._deltas):
            del self._deltas[: self._gone]
            del self._ats[: self._gone]
            del self._bys[: self._gone]
            self._gone = 0

    def truncate(self, revision: int) -> None:
        """Forgets the entries above `revision`."""
        assert revision >= self.start, "the window begins after this revision"
        keep = revision - self.start + self._gone
        del self._deltas[keep:]
        del self._ats[keep:]
        del self._bys[keep:]

    def rebase(self, delta: Delta, base: int) -> Delta:
        """An operation made at revision `base`, as it must read after every entry since. It is ordered later than
        they are, so on a tie it goes left of them."""
        index = base - self.start + self._gone
        end = len(self._deltas)
        assert self._gone <= index <= end, "the base is outside the window"
        while index < end:
            if delta.by > 0:
                index, delta = self._pass_insert(delta, index)
            elif delta.by < 0:
                index, delta = self._pass_delete(delta, index)
            elif not delta.components:
                return delta
            if index < end:
                delta = self._deltas[index].transform(delta, priority=False)
                index += 1
        return delta

    def _pass_insert(self, delta: Delta, index: int) -> tuple[int, Delta]:
        """The plain insert `delta` after entry `index` and those that follow, up to one that is not plain."""
        at = delta.at
        for start, by in zip(self._ats[index:], self._bys[index:], strict=True):
            if by == 0:
                break
            # An insert at the very place goes right of this one.
            if start < at:
                at += by
                if at < start:
                    at = start
            index += 1
        if at == delta.at:
            return index, delta
        text = delta.components[-1]
        return index, Delta((at, text) if at else (text,), at, delta.by)

    def _pass_delete(self, delta: Delta, index: int) -> tuple[int, Delta]:
        """The same for a plain delete. It stops where an insert parts it in two, or nothing of it is left."""
        at = delta.at
        stop = at - delta.by
        for start, by in zip(self._ats[index:], self._bys[index:], strict=True):
            if start < stop:
                if by > 0:
                    if start > at:
                        break
                    at += by
                    stop += by
                elif by < 0:
                    stop = max(start, stop + by)
                    if start < at:
                        at = max(start, at + by)
                    if at == stop:
                        return len(self._bys), Delta()
            if by == 0:
                break
            index += 1
        if at == delta.at and stop - at == -delta.by:
            return index, delta
        return index, Delta((at, at - stop) if at else (at - stop,), at, at - stop)
