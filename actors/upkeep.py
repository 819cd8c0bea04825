"""What a host does beside editing: flush to Postgres, take snapshots, trim the log, let idle sections go, sweep.

All of it may fail and be done again: the stream keeps what Postgres has not confirmed.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
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
    """Every `look_every_s` it is seen what is due. A section is flushed once it rests for a while; one that does not
    rest, some seconds after its first entry that waits, or when many wait: a write for each key would cost more than
    all the rest of editing. It gets a snapshot after so many entries, or when it has been quiet for longer with some;
    one of at most `live_bytes` in the log too."""

    look_every_s: float = 0.5
    flush_rest_ms: int = 1_000
    flush_latest_ms: int = 10_000
    flush_entries: int = 500
    flush_bytes: int = 512 * 1024
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
            tasks.create_task(self._every(self._settings.look_every_s, self.settle_due))
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
        await self._settle_all([actor for actor in self._host.sections.values() if self._is_behind(actor)])

    async def settle_due(self) -> None:
        """The same for those sections that are to be flushed now, or need a snapshot."""
        sections = self._host.sections.values()
        await self._settle_all([actor for actor in sections if self._is_behind(actor) and self._is_due(actor)])

    async def _settle_all(self, due: Sequence[SectionActor]) -> None:
        self._broken = {key: text for key, text in self._broken.items() if key in self._host.sections}
        ends = await asyncio.gather(*(self._settle(actor) for actor in due), return_exceptions=True)
        for actor, end in zip(due, ends, strict=True):
            if isinstance(end, Exception):
                log_event.error("section cannot be flushed", **_names(actor.key), exc_info=end)

    def _is_behind(self, actor: SectionActor) -> bool:
        committed = actor.section.committed_revision
        return committed > min(actor.durable.revision, actor.snapshot_revision, _last_live(actor))

    def _is_due(self, actor: SectionActor) -> bool:
        return (
            self._flush_is_due(actor)
            or _last_live(actor) == NONE_YET
            or self._snapshot_is_due(actor, min(actor.snapshot_revision, _last_live(actor)))
        )

    def _flush_is_due(self, actor: SectionActor) -> bool:
        settings, now_ms = self._settings, self._host.now_ms()
        waiting = actor.section.committed_revision - actor.durable.revision
        return waiting > 0 and (
            now_ms - actor.committed_ms >= settings.flush_rest_ms
            or now_ms - actor.unflushed_since_ms >= settings.flush_latest_ms
            or waiting >= settings.flush_entries
            or actor.backlog.bytes >= settings.flush_bytes
        )

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

    def _is_quiet(self, actor: SectionActor) -> bool:
        return self._host.now_ms() - actor.used_ms >= self._settings.snapshot_quiet_ms

    def _snapshot_is_due(self, actor: SectionActor, newest: int) -> bool:
        """Whether it is time for one after the one of revision `newest`."""
        behind = actor.section.committed_revision - newest
        return behind >= self._settings.snapshot_entries or (behind > 0 and self._is_quiet(actor))

    def _snapshot(self, actor: SectionActor, newest: int) -> ContentAt | None:
        """A snapshot, if it is time for one after the one of revision `newest`."""
        if not self._snapshot_is_due(actor, newest):
            return None
        committed = actor.section.committed_revision
        return actor.section.snapshot(
            committed if self._is_quiet(actor) else newest + self._settings.snapshot_entries // 2
        )

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
