"""What every long-term store promises: persistence.records.Store."""

import asyncio
import dataclasses

import pytest

from coscribe.names import SectionKey
from persistence.records import Document, Durable, StoredSnapshot
from tests.persistence.implementations import OpenStore
from tests.persistence.samples import KEY, NEW, OTHER, entries, entry

pytestmark = pytest.mark.services

NOTES = Document("notes", "life1", "acme", "zoë", 1_700_000_000_123)


def snapshot(revision: int, epoch: int = 1, content: bytes = b"[]") -> StoredSnapshot:
    return StoredSnapshot(revision, epoch, None, None, content)


async def test_a_document_is_created_once(open_store: OpenStore) -> None:
    async with open_store() as store:
        assert await store.document("notes") is None
        assert await store.create_document(NOTES) == NOTES
        assert await store.create_document(dataclasses.replace(NOTES, incarnation="life2", created_by="max")) == NOTES
        assert await store.document("notes") == NOTES


async def test_of_many_who_create_a_document_at_once_all_get_the_same(open_store: OpenStore) -> None:
    async with open_store() as store:
        wanted = [dataclasses.replace(NOTES, incarnation=f"life{number}") for number in range(20)]
        got = await asyncio.gather(*map(store.create_document, wanted))
        assert len(set(got)) == 1
        assert got[0] in wanted


async def test_a_deleted_document_stays_known_and_is_not_created_again(open_store: OpenStore) -> None:
    async with open_store() as store:
        await store.create_document(NOTES)
        gone = dataclasses.replace(NOTES, deleted=True)
        assert await store.delete_document("notes", NOTES.created_ms + 1) == gone
        assert await store.delete_document("notes", NOTES.created_ms + 2) == gone
        assert await store.document("notes") == gone
        assert await store.create_document(dataclasses.replace(NOTES, incarnation="life2")) == gone
        assert await store.delete_document("others", 1) is None


async def test_what_is_flushed_is_read_as_it_was(open_store: OpenStore) -> None:
    async with open_store() as store:
        assert await store.durable(KEY) == NEW
        odd = dataclasses.replace(entry(3, 2), user="Zoë  of two words", entry=bytes(range(256)))
        assert await store.flush(KEY, entries(1, 2))
        assert await store.flush(KEY, (odd, *entries(4, 9, 2)))
        assert await store.durable(KEY) == Durable(9, 2)
        assert tuple(await store.entries(KEY, 0, 99)) == (*entries(1, 2), odd, *entries(4, 9, 2))
        assert await store.durable(OTHER) == NEW


async def test_any_part_of_the_past_can_be_read(open_store: OpenStore) -> None:
    async with open_store() as store:
        for first in range(1, 20, 4):
            assert await store.flush(KEY, entries(first, first + 3))
        for after in range(22):
            for through in range(after, 23):
                assert tuple(await store.entries(KEY, after, through)) == entries(after + 1, min(through, 20))


async def test_a_flush_that_does_not_continue_what_is_there_changes_nothing(open_store: OpenStore) -> None:
    async with open_store() as store:
        assert not await store.flush(KEY, entries(2, 3))
        assert await store.flush(KEY, entries(1, 5))
        for first, last in ((1, 5), (1, 7), (5, 6), (7, 8)):
            assert not await store.flush(KEY, entries(first, last))
        assert await store.durable(KEY) == Durable(5, 1)
        assert tuple(await store.entries(KEY, 0, 99)) == entries(1, 5)


async def test_entries_of_an_older_epoch_are_refused(open_store: OpenStore) -> None:
    async with open_store() as store:
        assert await store.flush(KEY, entries(1, 5, 3))
        assert not await store.flush(KEY, entries(6, 7, 2))
        assert await store.flush(KEY, entries(6, 7, 3))


async def test_of_many_who_flush_the_same_one_succeeds(open_store: OpenStore) -> None:
    async with open_store() as store:
        for first in (1, 11):
            done = await asyncio.gather(*(store.flush(KEY, entries(first, first + 5 + n % 3)) for n in range(12)))
            assert done.count(True) == 1
            assert await store.flush(KEY, entries((await store.durable(KEY)).revision + 1, 10 if first == 1 else 20))
        assert tuple(await store.entries(KEY, 0, 99)) == entries(1, 20)


async def test_lives_of_a_document_are_apart(open_store: OpenStore) -> None:
    async with open_store() as store:
        second = SectionKey("notes", "life2", "0")
        assert await store.flush(KEY, entries(1, 5))
        assert await store.durable(second) == NEW
        assert await store.flush(second, entries(1, 2))


async def test_large_revisions_and_epochs(open_store: OpenStore) -> None:
    async with open_store() as store:
        assert await store.flush(KEY, entries(1, 1, 2**52))
        assert await store.durable(KEY) == Durable(1, 2**52)


async def test_the_newest_snapshot_counts(open_store: OpenStore) -> None:
    async with open_store() as store:
        await store.flush(KEY, entries(1, 9))
        assert await store.newest_snapshot(KEY) is None
        large = StoredSnapshot(5, 1, "7", "3", b'["text \xc3\xab"]' * 20_000)
        await store.save_snapshot(KEY, large)
        assert await store.newest_snapshot(KEY) == large
        await store.save_snapshot(KEY, snapshot(9))
        await store.save_snapshot(KEY, snapshot(3))
        assert await store.newest_snapshot(KEY) == snapshot(9)
        await store.save_snapshot(KEY, snapshot(9))
        assert await store.newest_snapshot(KEY) == snapshot(9)


async def test_a_new_section_may_begin_with_a_snapshot_before_its_first_entry(open_store: OpenStore) -> None:
    async with open_store() as store:
        await store.save_snapshot(OTHER, snapshot(0, content=b'["born of a split\\n"]'))
        assert await store.newest_snapshot(OTHER) == snapshot(0, content=b'["born of a split\\n"]')
        assert await store.flush(OTHER, entries(1, 1))


async def test_a_snapshot_ahead_of_the_entries_is_a_mistake(open_store: OpenStore) -> None:
    async with open_store() as store:
        await store.flush(KEY, entries(1, 4))
        with pytest.raises(AssertionError):
            await store.save_snapshot(KEY, snapshot(5))
