"""What a host does beside editing: flush to Postgres, take snapshots, trim the log, let idle sections go, sweep.

All of it may fail and be done again: the stream keeps what Postgres has not confirmed.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Final

import structlog

from actors.host import ShardHost
from actors.section_actor import SectionActor
from cluster.ring import Ring
from coscribe.names import SectionKey
from coscribe.section import ContentAt
from persistence.flusher import Flusher, Sweeper
from persistence.records import Log, LogFork, LogHole, Store, StoredSnapshot, Unavailable

FLUSHES_AT_ONCE: Final = 4
NONE_YET: Final = -1

log_event = structlog.get_logger("upkeep")


@dataclass(frozen=True, slots=True)
class UpkeepSettings:
    """A section gets a snapshot after so many entries, or when it has been quiet for a while with some; one of at most
    `live_bytes` in the log too."""

    flush_every_s: float = 0.5
    sweep_every_s: float = 5.0
    reclaim_every_s: float = 120.0
    snapshot_entries: int = 1_000
    snapshot_quiet_ms: int = 5_000
    live_bytes: int = 1024 * 1024
    idle_ms: int = 300_000


class Upkeep:
    """Looks after the sections of one host."""

    def __init__(
        self, host: ShardHost, log: Log, store: Store, ring: Callable[[], Ring], settings: UpkeepSettings
    ) -> None:
        self._host, self._store, self._ring, self._settings = host, store, ring, settings
        self._log = log
        self._flusher = Flusher(log, store)
        self._sweeper = Sweeper(log, self._flusher, settings.idle_ms)
        self._slots = asyncio.Semaphore(FLUSHES_AT_ONCE)
        self._broken: dict[SectionKey, str] = {}  # what was last said of a section that cannot be flushed

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._every(self._settings.flush_every_s, self.flush_all))
            tasks.create_task(self._every(self._settings.sweep_every_s, self._sweep))
            tasks.create_task(self._every(self._settings.reclaim_every_s, self._reclaim))

    async def _every(self, seconds: float, work: Callable[[], Coroutine[None, None, None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except Unavailable as error:
                log_event.warning("upkeep put off", error=str(error))
            except Exception:  # top of a loop: one bad section must not end the upkeep of all
                log_event.exception("upkeep failed")

    async def flush_all(self) -> None:
        """Bring every section of this host to Postgres as far as it is committed. What fails is logged."""
        self._broken = {key: text for key, text in self._broken.items() if key in self._host.sections}
        due = [actor for actor in self._host.sections.values() if self._is_due(actor)]
        ends = await asyncio.gather(*(self._settle(actor) for actor in due), return_exceptions=True)
        for actor, end in zip(due, ends, strict=True):
            if isinstance(end, Exception):
                log_event.error("section cannot be flushed", **_names(actor.key), exc_info=end)

    def _is_due(self, actor: SectionActor) -> bool:
        committed = actor.section.committed_revision
        return committed > min(actor.durable.revision, actor.snapshot_revision, _last_live(actor))

    async def _settle(self, actor: SectionActor) -> None:
        async with self._slots:
            try:
                await self._keep_live(actor)
                if actor.section.committed_revision > actor.durable.revision:
                    await self._flush(actor)
                if not actor.closed:
                    await self._store_snapshot(actor)
                self._broken.pop(actor.key, None)
            except Unavailable as error:
                log_event.warning("flush put off", **_names(actor.key), error=str(error))
            except (LogHole, LogFork) as error:
                if self._broken.get(actor.key) != str(error):
                    self._broken[actor.key] = str(error)
                    log_event.error("section cannot be flushed", **_names(actor.key), error=str(error))

    async def _flush(self, actor: SectionActor) -> None:
        try:
            durable = await self._flusher.flush_section(actor.key, actor.section.committed_revision, actor.durable)
        except LogHole:
            await actor.look_for_lost()
            raise
        await actor.flushed(durable)

    def _snapshot(self, actor: SectionActor, newest: int) -> ContentAt | None:
        """A snapshot, if it is time for one after the one of revision `newest`."""
        behind = actor.section.committed_revision - newest
        quiet = self._host.now_ms() - actor.used_ms >= self._settings.snapshot_quiet_ms
        if behind < self._settings.snapshot_entries and not (behind and quiet):
            return None
        least = actor.section.committed_revision if quiet else newest + self._settings.snapshot_entries // 2
        return actor.section.snapshot(least)

    async def _keep_live(self, actor: SectionActor) -> None:
        """The first one soon: as long as the section has none, its next owner needs Postgres."""
        last = _last_live(actor)
        if last == NONE_YET:
            found = actor.section.snapshot(actor.section.committed_revision)
        else:
            found = self._snapshot(actor, last)
        if found and len(found.content) <= self._settings.live_bytes:
            await actor.keep_live(found)
        elif found:
            await actor.drop_live(found.revision)

    async def _store_snapshot(self, actor: SectionActor) -> None:
        """Once Postgres has a snapshot, the entries before it are not needed in the log any more, but for those that
        the live snapshot does not cover."""
        found = self._snapshot(actor, actor.snapshot_revision)
        if found is None or found.revision > actor.durable.revision:
            return
        section = actor.section
        snapshot = StoredSnapshot(found.revision, found.epoch, section.next, section.sealed, found.content)
        await self._store.save_snapshot(actor.key, snapshot)
        actor.snapshot_revision = snapshot.revision
        covered = snapshot.revision if actor.live_revision is None else min(snapshot.revision, actor.live_revision)
        await self._flusher.trim_after(actor.key, covered)

    async def _sweep(self) -> None:
        await self._host.passivate_idle()
        await self._sweeper.sweep(self._looked_after)

    async def _reclaim(self) -> None:
        """Free the memory of sections that were only read, or whose owner left without a release."""
        await self._sweeper.reclaim(await self._log.unreleased(), self._looked_after)

    def _looked_after(self, key: SectionKey) -> bool:
        """Whether another host, or a section that is active here, will flush this one."""
        return self._host.has(key) or self._ring().owner(key) != self._host.name


def _last_live(actor: SectionActor) -> int:
    """The revision of the live snapshot, or at which there was to be one."""
    if actor.live_revision is not None:
        return actor.live_revision
    return NONE_YET if actor.too_large_at is None else actor.too_large_at


def _names(key: SectionKey) -> dict[str, object]:
    return {"document": key.document, "section": key.section}
