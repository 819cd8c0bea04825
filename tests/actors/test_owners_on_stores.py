"""Owners on the real Redis and Postgres: what memory stands in for elsewhere, held to what the servers do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from actors.activation import activate
from actors.backlog import Backlog
from actors.section_actor import SectionActor
from coscribe.ot import Limits
from coscribe.section import Section, WindowLimits
from persistence.flusher import Flusher
from persistence.log import RedisLog
from persistence.records import StoredSnapshot
from persistence.store import PostgresStore
from tests.actors.maps import op
from tests.actors.owners import KEY, Time, duplicate, moved
from tests.support.services import Valkey

pytestmark = pytest.mark.services
KEEP = 1_000


class Place:
    """One host's connections, and the owners it makes."""

    def __init__(self, log: RedisLog, store: PostgresStore) -> None:
        self.log, self.store = log, store
        self.said: list[object] = []

    async def owner(self) -> SectionActor:
        found = await activate(KEY, self.log, self.store, KEEP)
        section = Section(KEY, found.epoch, found.state, Limits(), WindowLimits())
        clock = Time().clock()
        return SectionActor(section, found.stored, self.log, self.store, clock, lambda _: None, Backlog(2**30))

    async def typed(self, actor: SectionActor, first: int, last: int) -> None:
        for cseq in range(first, last + 1):
            actor.submit(op(cseq, base=actor.section.committed_revision), self.said.append)
        await _committed(actor)


async def _committed(actor: SectionActor) -> None:
    while actor._pump is not None and not actor._pump.done():
        await actor._pump
    assert actor.section.revision == actor.section.committed_revision or actor.closed


@asynccontextmanager
async def place(redis_url: str, postgres_url: str) -> AsyncIterator[Place]:
    log, store = RedisLog.connect(redis_url), await PostgresStore.connect(postgres_url)
    try:
        yield Place(log, store)
    finally:
        await log.aclose()
        await store.aclose()


def content(actor: SectionActor) -> bytes:
    found = actor.section.snapshot(actor.section.committed_revision)
    assert found is not None
    return found.content


async def test_each_next_owner_finds_what_the_one_before_committed(redis_url: str, postgres_url: str) -> None:
    """Not flushed; flushed; with a snapshot; trimmed; all trimmed; without Redis's keys."""
    async with place(redis_url, postgres_url) as here:
        flusher = Flusher(here.log, here.store)
        expected, revision = content(await here.owner()), 0
        for step in ("nothing", "flush", "snapshot", "trim", "trim all"):
            actor = await here.owner()
            assert (actor.section.revision, content(actor)) == (revision, expected), step
            await here.typed(actor, revision + 1, revision + 7)
            expected, revision = content(actor), actor.section.committed_revision
            if step != "nothing":
                await flusher.flush_section(KEY)
            if step in ("snapshot", "trim all"):
                found = actor.section.snapshot(revision)
                assert found is not None
                stored = StoredSnapshot(found.revision, found.epoch, None, None, found.content)
                await here.store.save_snapshot(KEY, stored)
            if step.startswith("trim"):
                await here.log.trim(KEY, revision - (2 if step == "trim" else 0))
        assert revision == 35
        assert here.said == []
        actor = await here.owner()
        assert (actor.section.revision, content(actor)) == (35, expected)
        assert actor.section.window_start == 34


async def test_a_section_survives_the_loss_of_redis(valkey: Valkey, postgres_url: str) -> None:
    async with place(valkey.url, postgres_url) as here:
        actor = await here.owner()
        await here.typed(actor, 1, 9)
        before, epoch = content(actor), actor.section.epoch
        await Flusher(here.log, here.store).flush_section(KEY)
        valkey.clear()
        heir = await here.owner()
        assert (heir.section.revision, content(heir)) == (9, before)
        assert heir.section.epoch > epoch
        await here.typed(heir, 10, 12)
        assert [entry.revision for entry in await here.log.read(KEY, 0, 99)] == [10, 11, 12]


async def test_of_two_owners_the_older_is_fenced_and_answers_moved(redis_url: str, postgres_url: str) -> None:
    async with place(redis_url, postgres_url) as old, place(redis_url, postgres_url) as new:
        first = await old.owner()
        await old.typed(first, 1, 3)
        second = await new.owner()
        await old.typed(first, 4, 4)
        assert first.closed
        assert old.said == [moved(op(4, base=3))]
        await new.typed(second, 4, 4)
        second.submit(op(4, base=3), new.said.append)
        assert new.said == [duplicate(op(4), 4)]
        assert [entry.revision for entry in await new.log.read(KEY, 0, 99)] == [1, 2, 3, 4]


async def test_an_owner_whose_keys_were_taken_away_leaves(valkey: Valkey, postgres_url: str) -> None:
    async with place(valkey.url, postgres_url) as here:
        actor = await here.owner()
        await here.typed(actor, 1, 3)
        valkey.clear()
        await here.typed(actor, 4, 4)
        assert actor.closed
        assert here.said == [moved(op(4, base=3))]


async def test_no_time_falls_over_a_change_of_owners(redis_url: str, postgres_url: str) -> None:
    """The second owner's clock is years behind, and the first left nothing in the stream."""
    async with place(redis_url, postgres_url) as here:
        actor = await here.owner()
        actor._clock = Time(ms=9_999_999_999_999).clock()
        await here.typed(actor, 1, 2)
        await Flusher(here.log, here.store).flush_section(KEY)
        found = actor.section.snapshot(2)
        assert found is not None
        await here.store.save_snapshot(KEY, StoredSnapshot(2, found.epoch, None, None, found.content))
        await here.log.trim(KEY, 2)
        heir = await here.owner()
        await here.typed(heir, 3, 3)
        (entry,) = await here.log.read(KEY, 0, 9)
        assert entry.time_ms == 9_999_999_999_999
