"""Sections that nobody owns: flushed, released, and their last owner fenced."""

import pytest

from persistence.flusher import Flusher, Sweeper
from persistence.records import Answer, DirtyMark, Durable, LogState
from tests.persistence.both import both, fill
from tests.persistence.implementations import OpenLog, OpenStore
from tests.persistence.samples import KEY, NEW, OTHER, batch

pytestmark = pytest.mark.services

IDLE_MS = 3_600_000


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
