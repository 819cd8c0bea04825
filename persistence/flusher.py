"""From the log to the long-term store. Anyone may flush any section, at any time: the store compares before it sets.

Everything from durable revision + 1 is flushed, whoever accepted it. After an outcome that is False or unknown, the
durable revision is read first. A hole is never skipped, and nothing is put behind an entry of another history: a log
that lost its end may have gone on otherwise than what was flushed of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from coscribe.names import SectionKey
from persistence.records import DirtyMark, Durable, Log, LogEntry, LogFork, LogHole, LogState, Store

RELEASE_ATTEMPTS: Final = 3

log_event = structlog.get_logger("flusher")


@dataclass(frozen=True, slots=True)
class FlushLimits:
    """`chunk_*` bound one transaction, and what is held in memory together with one page more. `kept_entries` stay in
    the log after a trim, for routers that missed some."""

    page_entries: int = 250
    chunk_entries: int = 2_000
    chunk_bytes: int = 1_000_000
    kept_entries: int = 1_000


class Flusher:
    def __init__(self, log: Log, store: Store, limits: FlushLimits | None = None) -> None:
        self._log = log
        self._store = store
        self._limits = limits or FlushLimits()

    async def flush_section(
        self, key: SectionKey, through: int | None = None, durable: Durable | None = None
    ) -> Durable:
        """Flush at least up to revision `through`, or to where the log ends now; returns what is durable then.

        `durable` is what the caller last knew: an old value costs a round trip, no more. Raises Unavailable, LogHole
        and LogFork."""
        if through is None:
            state = await self._log.state(key)
            through = 0 if state is None else state.revision
        if durable is None:
            durable = await self._store.durable(key)
        names = f"section {key.section} of document {key.document} ({key.incarnation})"
        while durable.revision < through:
            run = await self._next_run(key, durable, names)
            if run and await self._store.flush(key, run):
                durable = Durable(run[-1].revision, run[-1].epoch)
                continue
            known, durable = durable, await self._store.durable(key)
            if durable.revision > known.revision:  # another flusher was faster, and may have trimmed
                continue
            if not run:
                raise LogHole(f"{names}: entry {durable.revision + 1} is not durable and not in the log")
            if run[0].epoch < durable.epoch:
                raise LogFork(
                    f"{names}: entry {run[0].revision} has epoch {run[0].epoch}, "
                    f"and entry {durable.revision} was stored with epoch {durable.epoch}"
                )
        return durable

    async def _next_run(self, key: SectionKey, durable: Durable, names: str) -> list[LogEntry]:
        """Entries behind the durable one without a gap, as many as one chunk takes. Empty when the first is missing.
        Raises LogFork where the log has another entry than the durable one under its revision."""
        limits, after = self._limits, durable.revision
        run: list[LogEntry] = []
        size = 0
        while len(run) < limits.chunk_entries and size < limits.chunk_bytes:
            first = after + len(run)
            page = await self._log.read(key, max(first - 1, 0), limits.page_entries + 1)
            if page and page[0].revision == first:  # it is still there: most are kept for a while
                if page[0].revision == after and page[0].epoch != durable.epoch:
                    raise LogFork(
                        f"{names}: entry {after} has epoch {page[0].epoch}, and was stored as {durable.epoch}"
                    )
                page = page[1:]
            page = page[: limits.page_entries]
            for entry in page:
                if entry.revision != after + len(run) + 1:
                    return run
                run.append(entry)
                size += len(entry.entry)
            if len(page) < limits.page_entries:
                break
        return run

    async def trim_after(self, key: SectionKey, through: int) -> None:
        """Trim what is durable up to `through` (and needed by nobody else), but for the most recent entries."""
        await self._log.trim(key, through - self._limits.kept_entries)


class Sweeper:
    """Flushes and releases sections that no live host owns, left by hosts that died or left.

    Releasing fences, and a section that is just being taken over is better left alone: so both ways of sweeping act
    on what they found at rest twice."""

    def __init__(self, log: Log, flusher: Flusher, idle_ms: int) -> None:
        self._log = log
        self._flusher = flusher
        self._idle_ms = idle_ms
        self._seen: frozenset[DirtyMark] = frozenset()
        self._resting: dict[SectionKey, LogState] = {}

    async def sweep(self, owned: Callable[[SectionKey], bool]) -> int:
        """Settle dirty sections whose mark the sweep before this one saw too; returns how many. Raises Unavailable.

        The mark is cleared only after the release, which says that nothing was appended since and fences an owner
        that everybody believed dead: what it would still append, believing the section marked, nobody would look
        for."""
        unowned = frozenset(mark for mark in await self._log.dirty() if not owned(mark.key))
        due, self._seen = unowned & self._seen, unowned
        settled = 0
        for mark in sorted(due, key=lambda mark: mark.key):
            if not owned(mark.key) and await self._release(mark.key):
                settled += await self._log.clear_dirty(mark)
        return settled

    async def reclaim(self, unreleased: Sequence[SectionKey], owned: Callable[[SectionKey], bool]) -> int:
        """Release those of the sections that are owned by nobody and were in the same state at the last call; returns
        how many. Nothing marks them: they were only read, or flushed by an owner that left without a release, and
        would stay in memory for ever. Raises Unavailable."""
        states = {key: state for key in unreleased if not owned(key) and (state := await self._log.state(key))}
        due = [key for key, state in states.items() if self._resting.get(key) == state]
        self._resting = states
        released = 0
        for key in due:
            if not owned(key):
                released += await self._release(key)
        return released

    async def _release(self, key: SectionKey) -> bool:
        """Flush, then release, unless somebody appends all the time. A section without keys was released before."""
        try:
            for _ in range(RELEASE_ATTEMPTS):
                state = await self._log.state(key)
                if state is None:
                    return True
                await self._flusher.flush_section(key, state.revision)
                if await self._log.release(key, state, self._idle_ms):
                    return True
        except (LogHole, LogFork) as error:
            log_event.error("section cannot be flushed", **_names(key), error=str(error))
        return False


def _names(key: SectionKey) -> dict[str, object]:
    return {"document": key.document, "incarnation": key.incarnation, "section": key.section}
