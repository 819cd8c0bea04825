"""What every log promises to owners: persistence.records.Log."""

import dataclasses
from dataclasses import replace

import pytest

from persistence.records import Answer, DirtyMark, Durable, LiveSnapshot, LogState, StoredSnapshot, Unavailable
from tests.persistence.implementations import OpenLog
from tests.persistence.samples import KEY, NEW, OTHER, batch, entries, entry

pytestmark = pytest.mark.services


async def test_first_activation_finds_nothing(open_log: OpenLog) -> None:
    async with open_log() as log:
        activation = await log.activate(KEY, NEW)
        assert (activation.head, activation.tail) == (0, ())
        assert activation.epoch > 0


async def test_committed_entries_are_read_as_they_were(open_log: OpenLog) -> None:
    async with open_log() as log:
        epoch = (await log.activate(KEY, NEW)).epoch
        assert await log.commit(KEY, batch(0, 3, epoch)) is Answer.OK
        assert await log.commit(KEY, batch(3, 4, epoch)) is Answer.OK
        assert tuple(await log.read(KEY, 0, 10)) == entries(1, 4, epoch)
        assert tuple(await log.read(KEY, 2, 10)) == entries(3, 4, epoch)
        assert tuple(await log.read(KEY, 1, 2)) == entries(2, 3, epoch)
        assert tuple(await log.read(KEY, 4, 10)) == ()
        assert tuple(await log.read(OTHER, 0, 10)) == ()


async def test_any_bytes_and_any_user_survive(open_log: OpenLog) -> None:
    async with open_log() as log:
        epoch = (await log.activate(KEY, NEW)).epoch
        odd = dataclasses.replace(entry(1, epoch), user="Zoë  of two words", entry=bytes(range(256)) * 40)
        assert await log.commit(KEY, dataclasses.replace(batch(0, 1, epoch), entries=(odd,))) is Answer.OK
        assert tuple(await log.read(KEY, 0, 1)) == (odd,)


async def test_each_activation_steps_the_epoch_and_returns_the_tail(open_log: OpenLog) -> None:
    async with open_log() as log:
        first = await log.activate(KEY, NEW)
        await log.commit(KEY, batch(0, 2, first.epoch))
        second = await log.activate(KEY, NEW)
        assert second.epoch > first.epoch
        assert (second.head, second.tail) == (2, entries(1, 2, first.epoch))


async def test_the_epoch_passes_the_one_of_the_long_term_store(open_log: OpenLog) -> None:
    async with open_log() as log:
        far = 2**52 + 1
        assert (await log.activate(KEY, Durable(0, far))).epoch == far + 1
        assert (await log.activate(KEY, NEW)).epoch == far + 2


async def test_a_batch_sent_again_is_a_duplicate(open_log: OpenLog) -> None:
    async with open_log() as log:
        epoch = (await log.activate(KEY, NEW)).epoch
        assert await log.commit(KEY, batch(0, 2, epoch)) is Answer.OK
        assert await log.commit(KEY, batch(0, 2, epoch)) is Answer.DUP
        assert len(await log.read(KEY, 0, 10)) == 2


async def test_another_batch_at_the_same_base_is_behind(open_log: OpenLog) -> None:
    async with open_log() as log:
        epoch = (await log.activate(KEY, NEW)).epoch
        await log.commit(KEY, batch(0, 2, epoch))
        assert await log.commit(KEY, batch(0, 2, epoch, "another")) is Answer.AHEAD
        assert await log.commit(KEY, batch(1, 5, epoch)) is Answer.AHEAD
        assert len(await log.read(KEY, 0, 10)) == 2


async def test_a_batch_beyond_the_end_of_the_log_is_lost(open_log: OpenLog) -> None:
    async with open_log() as log:
        epoch = (await log.activate(KEY, NEW)).epoch
        await log.commit(KEY, batch(0, 2, epoch))
        assert await log.commit(KEY, batch(3, 4, epoch)) is Answer.LOST
        assert len(await log.read(KEY, 0, 10)) == 2


async def test_an_epoch_that_the_log_does_not_know_yet_is_lost(open_log: OpenLog) -> None:
    async with open_log() as log:
        epoch = (await log.activate(KEY, NEW)).epoch
        assert await log.commit(KEY, batch(0, 1, epoch + 1)) is Answer.LOST
        assert await log.read(KEY, 0, 10) == []


async def test_an_owner_whose_log_lost_its_end_claims_it_again(open_log: OpenLog) -> None:
    async with open_log() as log:
        epoch = (await log.activate(KEY, NEW)).epoch
        await log.commit(KEY, batch(0, 2, epoch))
        assert await log.commit(KEY, batch(3, 4, epoch)) is Answer.LOST
        claimed = await log.reclaim(KEY, NEW, epoch, "mine")
        assert claimed is not None
        assert (claimed.head, claimed.tail) == (2, entries(1, 2, epoch))
        assert claimed.epoch > epoch
        assert await log.commit(KEY, batch(2, 4, epoch)) is Answer.FENCED
        # What was acknowledged keeps its epoch; only the owner's is new.
        again = replace(batch(2, 4, epoch), epoch=claimed.epoch)
        assert await log.commit(KEY, again) is Answer.OK
        assert tuple(await log.read(KEY, 0, 10)) == entries(1, 4, epoch)


async def test_an_epoch_that_was_lost_is_passed(open_log: OpenLog) -> None:
    async with open_log() as log:
        epoch = (await log.activate(KEY, NEW)).epoch
        claimed = await log.reclaim(KEY, NEW, epoch + 50_000, "mine")
        assert claimed is not None
        assert claimed.epoch > epoch + 50_000


async def test_a_claim_whose_reply_was_lost_is_made_again(open_log: OpenLog) -> None:
    async with open_log() as log:
        epoch = (await log.activate(KEY, NEW)).epoch
        first = await log.reclaim(KEY, NEW, epoch, "mine")
        second = await log.reclaim(KEY, NEW, epoch, "mine")
        assert first is not None
        assert second is not None
        assert second.epoch > first.epoch


async def test_who_has_been_followed_by_another_owner_claims_nothing(open_log: OpenLog) -> None:
    async with open_log() as log:
        old = (await log.activate(KEY, NEW)).epoch
        assert await log.reclaim(KEY, NEW, old, "mine") is not None
        new = await log.activate(KEY, NEW)
        assert await log.reclaim(KEY, NEW, old, "mine") is None
        assert await log.reclaim(KEY, NEW, old, "another") is None
        assert await log.commit(KEY, batch(0, 1, new.epoch)) is Answer.OK


async def test_a_section_without_keys_cannot_be_claimed(open_log: OpenLog) -> None:
    async with open_log() as log:
        assert await log.reclaim(KEY, NEW, 7, "mine") is None


async def test_an_older_owner_is_fenced(open_log: OpenLog) -> None:
    async with open_log() as log:
        old = (await log.activate(KEY, NEW)).epoch
        new = (await log.activate(KEY, NEW)).epoch
        assert await log.commit(KEY, batch(0, 1, old)) is Answer.FENCED
        assert await log.commit(KEY, batch(0, 1, new)) is Answer.OK
        assert tuple(await log.read(KEY, 0, 10)) == entries(1, 1, new)


async def test_a_section_that_was_never_activated_is_fenced(open_log: OpenLog) -> None:
    async with open_log() as log:
        assert await log.commit(KEY, batch(0, 1, 2**52)) is Answer.FENCED
        assert await log.state(KEY) is None


async def test_sections_are_independent(open_log: OpenLog) -> None:
    async with open_log() as log:
        one, two = await log.activate(KEY, NEW), await log.activate(OTHER, NEW)
        await log.commit(KEY, batch(0, 3, one.epoch))
        assert await log.commit(OTHER, batch(0, 1, two.epoch)) is Answer.OK
        assert await log.state(KEY) == LogState(one.epoch, 3)
        assert await log.state(OTHER) == LogState(two.epoch, 1)


async def test_a_trim_forgets_entries_but_not_where_the_log_ends(open_log: OpenLog) -> None:
    async with open_log() as log:
        epoch = (await log.activate(KEY, NEW)).epoch
        await log.commit(KEY, batch(0, 6, epoch))
        await log.trim(KEY, 4)
        assert tuple(await log.read(KEY, 0, 10)) == entries(5, 6, epoch)
        await log.trim(KEY, 6)
        assert await log.read(KEY, 0, 10) == []
        again = await log.activate(KEY, Durable(6, epoch))
        assert (again.head, again.tail) == (6, ())
        assert await log.commit(KEY, batch(6, 7, again.epoch)) is Answer.OK
        assert tuple(await log.read(KEY, 0, 10)) == entries(7, 7, again.epoch)


async def test_where_the_long_term_store_is_ahead_its_entries_count(open_log: OpenLog) -> None:
    async with open_log() as log:
        old = await log.activate(KEY, NEW)
        await log.commit(KEY, batch(0, 3, old.epoch))  # and then the log lost 4 and 5
        activation = await log.activate(KEY, Durable(5, old.epoch))
        assert (activation.head, activation.tail) == (5, ())
        assert await log.commit(KEY, batch(5, 6, activation.epoch)) is Answer.OK
        assert tuple(await log.read(KEY, 0, 10)) == entries(6, 6, activation.epoch)


async def test_a_section_that_only_the_long_term_store_knows_goes_on_there(open_log: OpenLog) -> None:
    async with open_log() as log:
        activation = await log.activate(KEY, Durable(41, 7))
        assert (activation.head, activation.tail) == (41, ())
        assert await log.commit(KEY, batch(0, 1, activation.epoch)) is Answer.AHEAD
        assert await log.commit(KEY, batch(41, 42, activation.epoch)) is Answer.OK


async def test_release_fences_the_owner_and_activation_takes_the_section_back(open_log: OpenLog) -> None:
    async with open_log() as log:
        epoch = (await log.activate(KEY, NEW)).epoch
        await log.commit(KEY, batch(0, 2, epoch))
        assert await log.release(KEY, LogState(epoch, 2), 3_600_000)
        assert await log.commit(KEY, batch(2, 3, epoch)) is Answer.FENCED
        again = await log.activate(KEY, Durable(2, epoch))
        assert (again.head, len(again.tail)) == (2, 2)
        assert await log.commit(KEY, batch(2, 3, again.epoch)) is Answer.OK


async def test_release_keeps_what_is_not_durable_and_what_a_newer_owner_has(open_log: OpenLog) -> None:
    async with open_log() as log:
        old = (await log.activate(KEY, NEW)).epoch
        await log.commit(KEY, batch(0, 2, old))
        assert not await log.release(KEY, LogState(old, 1), 1)
        new = (await log.activate(KEY, NEW)).epoch
        assert not await log.release(KEY, LogState(old, 2), 1)
        assert await log.commit(KEY, batch(2, 3, new)) is Answer.OK
        assert not await log.release(OTHER, LogState(0, 0), 1)


def live(revision: int, epoch: int, content: bytes = b'["x"]') -> LiveSnapshot:
    return LiveSnapshot(StoredSnapshot(revision, epoch, None, "7", content), Durable(1, 5), 1)


async def test_the_next_owner_finds_the_live_snapshot_as_it_was(open_log: OpenLog) -> None:
    async with open_log() as log:
        first = await log.activate(KEY, NEW)
        assert first.live is None
        await log.commit(KEY, batch(0, 3, first.epoch))
        odd = live(2, first.epoch, bytes(range(256)))
        assert await log.keep_live(KEY, first.epoch, odd)
        found = await log.activate(KEY, NEW)
        assert (found.live, found.tail) == (odd, entries(1, 3, first.epoch))
        assert (await log.activate(OTHER, NEW)).live is None


async def test_without_word_of_what_is_durable_a_live_snapshot_is_needed(open_log: OpenLog) -> None:
    async with open_log() as log:
        with pytest.raises(Unavailable):
            await log.activate(KEY, None)
        assert await log.state(KEY) is None
        first = await log.activate(KEY, Durable(4, 9))
        with pytest.raises(Unavailable):
            await log.activate(KEY, None)
        assert await log.state(KEY) == LogState(first.epoch, 4)
        await log.keep_live(KEY, first.epoch, live(4, 9))
        alone = await log.activate(KEY, None)
        assert (alone.head, alone.live) == (4, live(4, 9))
        assert alone.epoch > first.epoch


async def test_a_live_snapshot_is_of_the_owner_and_never_older(open_log: OpenLog) -> None:
    async with open_log() as log:
        assert not await log.keep_live(KEY, 7, live(0, 0))
        old = (await log.activate(KEY, NEW)).epoch
        await log.commit(KEY, batch(0, 5, old))
        assert await log.keep_live(KEY, old, live(3, old))
        assert not await log.keep_live(KEY, old, live(2, old))
        assert not await log.keep_live(KEY, old, live(6, old)), "nobody may see what is not in the log"
        assert await log.keep_live(KEY, old, live(3, old)), "a retry after a lost reply"
        new = (await log.activate(KEY, NEW)).epoch
        assert not await log.keep_live(KEY, old, live(5, old))
        assert not await log.keep_live(KEY, old, None)
        assert (await log.activate(KEY, NEW)).live == live(3, old)
        assert not await log.keep_live(KEY, new, live(5, old))


async def test_a_live_snapshot_may_be_dropped(open_log: OpenLog) -> None:
    async with open_log() as log:
        epoch = (await log.activate(KEY, NEW)).epoch
        assert await log.keep_live(KEY, epoch, None)
        await log.keep_live(KEY, epoch, live(0, 0))
        assert await log.keep_live(KEY, epoch, None)
        assert (await log.activate(KEY, NEW)).live is None


async def test_a_mark_is_cleared_only_under_its_token(open_log: OpenLog) -> None:
    async with open_log() as log:
        await log.mark_dirty(KEY, "5:0")
        await log.mark_dirty(OTHER, "9:3")
        assert set(await log.dirty()) == {DirtyMark(KEY, "5:0"), DirtyMark(OTHER, "9:3")}
        await log.mark_dirty(KEY, "5:8")
        assert not await log.clear_dirty(DirtyMark(KEY, "5:0"))
        assert await log.clear_dirty(DirtyMark(KEY, "5:8"))
        assert not await log.clear_dirty(DirtyMark(KEY, "5:8"))
        assert await log.dirty() == [DirtyMark(OTHER, "9:3")]


async def test_a_log_opened_again_knows_everything(open_log: OpenLog) -> None:
    async with open_log() as log:
        epoch = (await log.activate(KEY, NEW)).epoch
        await log.commit(KEY, batch(0, 2, epoch))
    async with open_log() as log:
        assert await log.state(KEY) == LogState(epoch, 2)
        assert await log.commit(KEY, batch(0, 2, epoch)) is Answer.DUP
