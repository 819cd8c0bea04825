"""From the real log to the real store: everything once, nothing skipped, whoever flushes."""

import asyncio
import dataclasses

import pytest

from persistence import keys
from persistence.flusher import Flusher, FlushLimits
from persistence.log import RedisLog
from persistence.records import Answer, Durable, LogFork, LogHole, Store, Unavailable
from persistence.redis_client import execute, shared_client
from tests.persistence.both import both, fill
from tests.persistence.implementations import OpenLog, OpenStore
from tests.persistence.samples import KEY, NEW, batch, entries

pytestmark = pytest.mark.services

SMALL = FlushLimits(page_entries=7, chunk_entries=20, chunk_bytes=10_000, kept_entries=5)


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
        await log.trim(KEY, 5)  # the one that stands before them is there no more
        with pytest.raises(LogFork, match="entry 6"):
            await Flusher(log, store).flush_section(KEY)


async def test_nothing_is_put_behind_an_entry_of_another_history(open_log: OpenLog, open_store: OpenStore) -> None:
    """Flushed late, from a log that lost its end before and has gone on with others under the same revisions."""
    async with both(open_log, open_store) as (log, store):
        epoch = await fill(log, 10)
        await store.flush(KEY, entries(1, 8, epoch - 1))
        with pytest.raises(LogFork, match="entry 8"):
            await Flusher(log, store).flush_section(KEY)
        assert await store.durable(KEY) == Durable(8, epoch - 1)


async def test_a_trim_keeps_recent_entries(open_log: OpenLog, open_store: OpenStore) -> None:
    async with both(open_log, open_store) as (log, store):
        await fill(log, 30)
        flusher = Flusher(log, store, SMALL)
        await flusher.trim_after(KEY, 3)
        assert len(await log.read(KEY, 0, 99)) == 30
        await flusher.trim_after(KEY, 30)
        assert [entry.revision for entry in await log.read(KEY, 0, 99)] == [26, 27, 28, 29, 30]
