"""From the real log to the real store: everything once, nothing skipped, whoever flushes."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from persistence import keys
from persistence.flusher import Flusher, FlushLimits, Sweeper
from persistence.log import RedisLog
from persistence.records import Answer, DirtyMark, Durable, Log, LogFork, LogHole, LogState, Store, Unavailable
from persistence.redis_client import execute, shared_client
from tests.persistence.implementations import OpenLog, OpenStore
from tests.persistence.samples import KEY, NEW, OTHER, batch, entries

pytestmark = pytest.mark.services

SMALL = FlushLimits(page_entries=7, chunk_entries=20, chunk_bytes=10_000, kept_entries=5)
IDLE_MS = 3_600_000


@asynccontextmanager
async def both(open_log: OpenLog, open_store: OpenStore) -> AsyncIterator[tuple[Log, Store]]:
    async with open_log() as log, open_store() as store:
        yield log, store


async def fill(log: Log, through: int) -> int:
    """A section with entries up to `through`; returns its epoch."""
    epoch = (await log.activate(KEY, NEW)).epoch
    for base in range(0, through, 10):
        assert await log.commit(KEY, batch(base, min(base + 10, through), epoch)) is Answer.OK
    return epoch


class Unsure:
    """A store whose next flush is done, or not, and does not say so."""

    def __init__(self, store: Store, done: bool) -> None:
        self._store, self._done = store, done
        self.flushes = 0

    async def flush(self, key: object, entries: object) -> bool:
        self.flushes += 1
        if self.flushes == 2:
            if self._done:
                await self._store.flush(key, entries)  # type: ignore[arg-type]
            raise Unavailable("no answer")
        return await self._store.flush(key, entries)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


async def test_everything_is_flushed_in_chunks(open_log: OpenLog, open_store: OpenStore) -> None:
    async with both(open_log, open_store) as (log, store):
        epoch = await fill(log, 55)
        assert await Flusher(log, store, SMALL).flush_section(KEY) == Durable(55, epoch)
        assert tuple(await store.entries(KEY, 0, 99)) == entries(1, 55, epoch)
        assert await Flusher(log, store, SMALL).flush_section(KEY) == Durable(55, epoch)


async def test_bytes_bound_a_chunk_too(open_log: OpenLog, open_store: OpenStore) -> None:
    async with both(open_log, open_store) as (log, store):
        epoch = await fill(log, 55)
        unsure = Unsure(store, done=True)
        tiny = dataclasses.replace(SMALL, chunk_bytes=1)
        with pytest.raises(Unavailable):
            await Flusher(log, unsure, tiny).flush_section(KEY)  # type: ignore[arg-type]
        assert await store.durable(KEY) == Durable(14, epoch)  # two chunks of one page


async def test_flushing_stops_once_the_wanted_revision_is_durable(open_log: OpenLog, open_store: OpenStore) -> None:
    async with both(open_log, open_store) as (log, store):
        await fill(log, 55)
        durable = await Flusher(log, store, SMALL).flush_section(KEY, 15)
        assert 15 <= durable.revision < 55
        assert await store.durable(KEY) == durable


async def test_a_section_nobody_knows_has_nothing_to_flush(open_log: OpenLog, open_store: OpenStore) -> None:
    async with both(open_log, open_store) as (log, store):
        assert await Flusher(log, store).flush_section(KEY) == NEW


async def test_flushers_that_overlap_double_nothing(open_log: OpenLog, open_store: OpenStore) -> None:
    async with both(open_log, open_store) as (log, store):
        epoch = await fill(log, 100)
        limits = [dataclasses.replace(SMALL, page_entries=n, chunk_entries=3 * n) for n in range(2, 8)]
        done = await asyncio.gather(*(Flusher(log, store, each).flush_section(KEY) for each in limits))
        assert set(done) == {Durable(100, epoch)}
        assert tuple(await store.entries(KEY, 0, 999)) == entries(1, 100, epoch)


@pytest.mark.parametrize("done", [True, False])
async def test_after_an_unknown_outcome_nothing_is_doubled_or_missing(
    open_log: OpenLog, open_store: OpenStore, done: bool
) -> None:
    async with both(open_log, open_store) as (log, store):
        epoch = await fill(log, 55)
        flusher = Flusher(log, Unsure(store, done), SMALL)  # type: ignore[arg-type]
        with pytest.raises(Unavailable):
            await flusher.flush_section(KEY)
        for known in (NEW, None):
            assert await flusher.flush_section(KEY, durable=known) == Durable(55, epoch)
        assert tuple(await store.entries(KEY, 0, 99)) == entries(1, 55, epoch)


async def test_what_another_flushed_and_trimmed_is_no_hole(open_log: OpenLog, open_store: OpenStore) -> None:
    async with both(open_log, open_store) as (log, store):
        epoch = await fill(log, 30)
        await Flusher(log, store).flush_section(KEY)
        await log.trim(KEY, 30)
        assert await log.commit(KEY, batch(30, 40, epoch)) is Answer.OK
        assert await Flusher(log, store).flush_section(KEY, durable=Durable(5, epoch)) == Durable(40, epoch)
        await log.trim(KEY, 40)
        assert await Flusher(log, store).flush_section(KEY, durable=Durable(5, epoch)) == Durable(40, epoch)


async def test_a_hole_is_never_skipped(open_log: OpenLog, open_store: OpenStore) -> None:
    async with both(open_log, open_store) as (log, store):
        epoch = await fill(log, 30)
        await Flusher(log, store).flush_section(KEY, 30)
        await log.commit(KEY, batch(30, 40, epoch))
        await log.trim(KEY, 32)
        with pytest.raises(LogHole, match="entry 31"):
            await Flusher(log, store).flush_section(KEY)
        assert await store.durable(KEY) == Durable(30, epoch)
        await log.trim(KEY, 40)  # all of it gone: the log still knows where it ended
        with pytest.raises(LogHole, match="entry 31"):
            await Flusher(log, store).flush_section(KEY)


async def test_a_hole_within_the_log_is_never_skipped(redis_url: str, open_store: OpenStore) -> None:
    log = RedisLog.connect(redis_url)
    async with open_store() as store, shared_client(redis_url) as client:
        epoch = await fill(log, 40)
        await execute(client, "XDEL", keys.stream(KEY), "12-0")
        with pytest.raises(LogHole, match="entry 12"):
            await Flusher(log, store, SMALL).flush_section(KEY)
        assert await store.durable(KEY) == Durable(11, epoch)
    await log.aclose()


async def test_entries_older_than_what_is_stored_before_them_are_a_fork(
    open_log: OpenLog, open_store: OpenStore
) -> None:
    async with both(open_log, open_store) as (log, store):
        await store.flush(KEY, entries(1, 5, 2**52))
        await fill(log, 10)
        with pytest.raises(LogFork, match="entry 6"):
            await Flusher(log, store).flush_section(KEY)


async def test_a_trim_keeps_recent_entries(open_log: OpenLog, open_store: OpenStore) -> None:
    async with both(open_log, open_store) as (log, store):
        await fill(log, 30)
        flusher = Flusher(log, store, SMALL)
        await flusher.trim_after(KEY, 3)
        assert len(await log.read(KEY, 0, 99)) == 30
        await flusher.trim_after(KEY, 30)
        assert [entry.revision for entry in await log.read(KEY, 0, 99)] == [26, 27, 28, 29, 30]


# --- The sweeper ---


def nobody(key: object) -> bool:
    return False


async def test_what_a_dead_host_left_is_flushed_released_and_cleared(open_log: OpenLog, open_store: OpenStore) -> None:
    async with both(open_log, open_store) as (log, store):
        epoch = await fill(log, 30)
        await log.mark_dirty(KEY, f"{epoch}:0")
        sweeper = Sweeper(log, Flusher(log, store), IDLE_MS)
        assert await sweeper.sweep(nobody) == 0  # first seen
        assert await store.durable(KEY) == NEW
        assert await sweeper.sweep(nobody) == 1
        assert await store.durable(KEY) == Durable(30, epoch)
        assert await log.dirty() == []


async def test_an_owner_believed_dead_is_fenced(open_log: OpenLog, open_store: OpenStore) -> None:
    async with both(open_log, open_store) as (log, store):
        epoch = await fill(log, 30)
        await log.mark_dirty(KEY, f"{epoch}:0")
        sweeper = Sweeper(log, Flusher(log, store), IDLE_MS)
        await sweeper.sweep(nobody)
        await sweeper.sweep(nobody)
        assert await log.commit(KEY, batch(30, 31, epoch)) is Answer.FENCED


async def test_what_a_live_host_owns_is_left_alone(open_log: OpenLog, open_store: OpenStore) -> None:
    async with both(open_log, open_store) as (log, store):
        await fill(log, 30)
        await log.mark_dirty(KEY, "1:0")
        await log.mark_dirty(OTHER, "1:0")  # its keys are gone: it was released, and the clearing was lost
        sweeper = Sweeper(log, Flusher(log, store), IDLE_MS)
        for _ in range(3):
            await sweeper.sweep(lambda key: key == KEY)
        assert await log.dirty() == [DirtyMark(KEY, "1:0")]
        assert await store.durable(KEY) == NEW


async def test_a_mark_that_changes_is_newly_seen(open_log: OpenLog, open_store: OpenStore) -> None:
    async with both(open_log, open_store) as (log, store):
        await fill(log, 10)
        sweeper = Sweeper(log, Flusher(log, store), IDLE_MS)
        for token in ("1:0", "1:5", "1:9"):
            await log.mark_dirty(KEY, token)
            assert await sweeper.sweep(nobody) == 0


async def test_a_section_appended_to_while_it_is_swept_stays_marked(open_log: OpenLog, open_store: OpenStore) -> None:
    async with both(open_log, open_store) as (log, store):
        epoch = await fill(log, 10)
        await log.mark_dirty(KEY, "1:0")

        class Busy(Flusher):
            async def flush_section(
                self, key: object, through: int | None = None, durable: Durable | None = None
            ) -> Durable:
                done = await super().flush_section(KEY, through, durable)
                assert await log.commit(KEY, batch(done.revision, done.revision + 1, epoch)) is Answer.OK
                return done

        sweeper = Sweeper(log, Busy(log, store), IDLE_MS)
        await sweeper.sweep(nobody)
        assert await sweeper.sweep(nobody) == 0
        assert await log.dirty() == [DirtyMark(KEY, "1:0")]
        state = await log.state(KEY)
        assert state is not None
        assert state.epoch == epoch


async def test_a_hole_stops_neither_the_sweep_nor_passes_for_done(open_log: OpenLog, open_store: OpenStore) -> None:
    async with both(open_log, open_store) as (log, store):
        epoch = await fill(log, 10)
        await log.trim(KEY, 3)
        other = (await log.activate(OTHER, NEW)).epoch
        await log.commit(OTHER, batch(0, 1, other))
        await log.mark_dirty(KEY, "1:0")
        await log.mark_dirty(OTHER, "1:0")
        sweeper = Sweeper(log, Flusher(log, store), IDLE_MS)
        await sweeper.sweep(nobody)
        assert await sweeper.sweep(nobody) == 1
        assert await log.dirty() == [DirtyMark(KEY, "1:0")]
        assert await log.state(KEY) == LogState(epoch, 10)


async def test_a_clean_section_that_nobody_owns_is_released_too(open_log: OpenLog, open_store: OpenStore) -> None:
    async with both(open_log, open_store) as (log, store):
        flusher = Flusher(log, store)
        epoch = await fill(log, 10)
        await flusher.flush_section(KEY)
        only_read = (await log.activate(OTHER, NEW)).epoch
        sweeper = Sweeper(log, flusher, IDLE_MS)
        assert await sweeper.reclaim([KEY, OTHER], nobody) == 0  # first seen
        assert await sweeper.reclaim([KEY, OTHER], lambda key: key == OTHER) == 1
        assert await log.commit(KEY, batch(10, 11, epoch)) is Answer.FENCED
        assert await log.commit(OTHER, batch(0, 1, only_read)) is Answer.OK


async def test_a_section_that_changed_since_is_not_reclaimed(open_log: OpenLog, open_store: OpenStore) -> None:
    async with both(open_log, open_store) as (log, store):
        epoch = await fill(log, 10)
        sweeper = Sweeper(log, Flusher(log, store), IDLE_MS)
        for base in range(10, 13):
            assert await sweeper.reclaim([KEY], nobody) == 0
            assert await log.commit(KEY, batch(base, base + 1, epoch)) is Answer.OK
        await sweeper.reclaim([KEY], nobody)
        await log.activate(KEY, NEW)
        assert await sweeper.reclaim([KEY], nobody) == 0
