"""What pub/sub lost is read from the log, or from the owner where the log has it no more; nothing is merged that does
not belong together."""

import asyncio
import json

from router.room import REPAIR_RETRY_S, REPAIR_TRIES
from tests.router.bench import KEY, settle
from tests.router.owner import SectionLog
from tests.router.test_room import stage


async def test_a_gap_is_read_from_the_log() -> None:
    async with stage(6, at=1) as on:
        seat = on.sit(1)
        on.room.published(on.log.batch(6, 6))
        await settle()
        assert seat.revisions == [2, 3, 4, 5, 6]
        assert on.room.gaps == 1
        assert on.pages == 0


async def test_batches_that_come_during_a_repair_come_once() -> None:
    async with stage(6, at=1) as on:
        seat = on.sit(1)
        on.room.published(on.log.batch(4, 4))
        on.room.published(on.log.batch(5, 5))
        await asyncio.sleep(0)
        on.room.published(on.log.batch(6, 6))
        await settle()
        on.grow(1)
        on.room.published(on.log.batch(7, 7))
        assert seat.revisions == [2, 3, 4, 5, 6, 7]


async def test_a_long_gap_is_read_in_pages_and_acknowledges_on_the_way() -> None:
    async with stage(at=0) as on:
        seat = on.sit(0, "client-a")
        for cseq in range(1, 1301):
            on.log.append("client-a", cseq)
        on.room.head_is(1300)
        await settle()
        assert seat.revisions == list(range(1, 1301))
        assert seat.acks[-1] == 1300
        assert len(on.reader.reads) == 4, "the last one brings nothing"


async def test_a_renewed_subscription_reads_the_log() -> None:
    async with stage(4, at=2) as on:
        seat = on.sit(2)
        on.room.repair()
        await settle()
        assert seat.revisions == [3, 4]


async def test_a_renewal_during_a_repair_makes_it_look_again() -> None:
    async with stage(2, at=2) as on:
        seat = on.sit(2)
        on.reader.gate = asyncio.Event()
        on.room.repair()
        await settle()
        on.grow(1)  # after the log was read, and lost by pub/sub
        on.room.repair()
        on.reader.gate.set()
        await settle()
        assert seat.revisions == [3]


async def test_a_head_that_is_told_before_the_room_knows_anything_counts() -> None:
    async with stage(5) as on:
        on.room.head_is(5)
        on.room.position(2, 1)  # a snapshot from before
        await settle()
        assert on.room.head == 5
        assert len(on.room.since(2) or []) == 3


async def test_what_the_log_has_no_more_comes_from_the_owner() -> None:
    async with stage(8, at=1) as on:
        seat = on.sit(1)
        on.log.trimmed = 6
        on.room.published(on.log.batch(8, 8))
        await settle()
        assert seat.revisions == [2, 3, 4, 5, 6, 7, 8]
        assert on.pages == 2


async def test_what_the_log_lost_but_the_owner_has_comes_from_the_owner() -> None:
    """Entries that were flushed before the log lost its tail count."""
    async with stage(5, at=2) as on:
        seat = on.sit(2)
        whole, on.log.entries = on.log.entries, on.log.entries[:2]
        on.room.head_is(5)
        await asyncio.sleep(REPAIR_RETRY_S)
        assert seat.revisions == []
        on.reader.logs[KEY] = stream = SectionLog(KEY)
        stream.entries, on.log.entries = whole[:2], whole
        await asyncio.sleep(2 * REPAIR_RETRY_S)
        assert seat.revisions == [3, 4, 5]


async def test_what_comes_from_the_owner_keeps_its_epochs_and_acknowledges() -> None:
    async with stage(2, at=0) as on:
        seat = on.sit(0, "client-a")
        on.log.epoch = 4
        on.log.append("client-a", 9)
        on.log.epoch = 7
        on.grow(3)
        on.log.trimmed = on.log.head
        on.room.head_is(6)
        for _ in range(3):  # the owner is told apart from what it says of other revisions while it comes
            await asyncio.sleep(0)
        await settle()
        assert seat.revisions == [1, 2, 3, 4, 5, 6]
        assert seat.acks == [9]
        assert [on.room.epoch_of(revision) for revision in range(1, 7)] == [1, 1, 4, 7, 7, 7]
        told = [message.get("epoch") for part in seat.messages for message in json.loads(b"[%s]" % part)]
        assert told == [1, 4, 7]


async def test_neither_log_nor_owner_is_asked_for_more_than_is_known_to_exist() -> None:
    async with stage(3, at=3) as on:
        on.room.head_is(3)
        on.room.head_is(1)
        await settle()
        assert on.reader.reads == []
        assert on.pages == 0


async def test_without_the_log_the_repair_waits_for_it() -> None:
    async with stage(4, at=1) as on:
        seat = on.sit(1)
        on.reader.refusing = True
        on.room.published(on.log.batch(4, 4))
        await asyncio.sleep(60)
        assert seat.revisions == []
        on.reader.refusing = False
        await asyncio.sleep(REPAIR_RETRY_S)
        assert seat.revisions == [2, 3, 4]


async def test_a_head_that_nobody_has_is_given_up_and_the_next_is_believed() -> None:
    async with stage(2, at=2) as on:
        seat = on.sit(2)
        on.room.head_is(9)
        await asyncio.sleep(REPAIR_RETRY_S * (REPAIR_TRIES + 2))
        reads = len(on.reader.reads)
        assert REPAIR_TRIES <= reads <= REPAIR_TRIES + 1
        await asyncio.sleep(60)
        assert len(on.reader.reads) == reads
        on.grow(1)
        on.room.published(on.log.batch(3, 3))
        assert seat.revisions == [3]


async def test_a_fault_in_a_repair_does_not_end_repairs() -> None:
    async with stage(4, at=1) as on:
        seat = on.sit(1)
        good = on.log.entries[2]
        on.log.entries[2] = type(good)(good.revision, good.epoch, good.time_ms, good.user, b"\xff not an entry")
        on.room.published(on.log.batch(4, 4))
        await asyncio.sleep(1)
        on.log.entries[2] = good
        on.room.repair()
        await asyncio.sleep(1)
        assert seat.revisions[-3:] == [2, 3, 4]


# --- Forks: a revision under another epoch ---


async def test_a_batch_of_a_newer_epoch_over_what_was_read_is_a_fork() -> None:
    async with stage(5, at=0) as on:
        read, joining, fresh = on.sit(0), on.sit(None), on.sit(2)
        on.room.published(on.log.batch(1, 5))
        on.log.lose(3)
        on.grow(1)
        on.room.published(on.log.batch(4, 4))
        assert (read.forked, joining.forked, fresh.forked) == (True, True, True)
        assert (on.room.head, on.room.epoch) == (4, 2)
        assert on.room.since(3) is not None
        assert on.room.epoch_of(5) is None


async def test_a_new_epoch_alone_is_no_fork() -> None:
    async with stage(3, at=0) as on:
        seat = on.sit(0)
        on.room.published(on.log.batch(1, 3))
        on.log.epoch = 9
        on.grow(1)
        on.room.published(on.log.batch(4, 4))
        await settle()
        assert not seat.forked
        assert seat.revisions == [1, 2, 3, 4]


async def test_a_batch_of_a_new_epoch_that_fits_by_its_number_alone_is_a_fork() -> None:
    async with stage(5, at=0) as on:
        seat = on.sit(0)
        on.room.published(on.log.batch(1, 5))
        on.log.lose(3)
        on.grow(3)
        on.room.published(on.log.batch(6, 6))  # those before it were lost by pub/sub
        await settle()
        assert seat.forked
        assert seat.revisions == [1, 2, 3, 4, 5]


async def test_a_late_batch_of_an_older_epoch_is_no_fork() -> None:
    async with stage(3, at=0) as on:
        seat = on.sit(0)
        late = on.log.batch(2, 3)
        on.room.published(on.log.batch(1, 1))
        on.log.epoch = 9
        on.grow(1)
        on.room.published(on.log.batch(4, 4))
        await settle()
        on.room.published(late)
        assert not seat.forked
        assert seat.revisions == [1, 2, 3, 4]


async def test_a_log_that_lost_what_was_read_is_not_read_on() -> None:
    """The new epoch's first batch was lost too: the next entry would fit by its number alone."""
    async with stage(5, at=0) as on:
        seat = on.sit(0)
        on.room.published(on.log.batch(1, 5))
        on.log.lose(3)
        on.grow(4)
        on.room.published(on.log.batch(7, 7))
        await settle()
        assert seat.forked
        assert seat.revisions == [1, 2, 3, 4, 5]
        assert on.room.head is None or on.room.epoch == 2


async def test_an_owner_that_lost_what_was_read_is_not_read_on() -> None:
    async with stage(5, at=0) as on:
        seat = on.sit(0)
        on.room.published(on.log.batch(1, 5))
        on.log.lose(3)
        on.grow(4)
        on.log.trimmed = on.log.head
        on.room.head_is(7)
        await settle()
        assert seat.forked
        assert seat.revisions == [1, 2, 3, 4, 5]


async def test_a_quiet_log_that_ends_before_what_was_read_is_a_fork() -> None:
    """Nothing comes that would show it: who joined now would be given entries that are void."""
    async with stage(5, at=0) as on:
        seat = on.sit(0)
        on.room.published(on.log.batch(1, 5))
        on.log.lose(3)
        on.room.log_ends(3, known=5)
        await settle()
        assert seat.forked
        assert on.room.since(3) is None


async def test_while_nobody_can_say_whether_it_is_one_nobody_is_told() -> None:
    async with stage(5, at=0) as on:
        seat = on.sit(0)
        on.room.published(on.log.batch(1, 5))
        on.log.lose(3)
        on.owner_down = True
        on.room.log_ends(3, known=5)
        await settle()
        assert not seat.forked
        on.owner_down = False
        await asyncio.sleep(2 * REPAIR_RETRY_S)
        assert seat.forked


async def test_a_log_that_is_gone_while_the_owner_has_everything_is_asked_for_twice() -> None:
    """Its keys may have expired; and an owner that is asked all the time is never idle."""
    async with stage(5, at=0) as on:
        seat = on.sit(0)
        on.room.published(on.log.batch(1, 5))
        on.log.trimmed = 5
        for _ in range(4):
            on.room.log_ends(None, known=5)
            await asyncio.sleep(2 * REPAIR_RETRY_S)
        assert not seat.forked
        assert on.pages == 2


async def test_where_the_log_ended_before_more_came_says_nothing() -> None:
    async with stage(5, at=0) as on:
        seat = on.sit(0)
        on.room.published(on.log.batch(1, 5))
        on.room.log_ends(4, known=4)
        await settle()
        assert not seat.forked
        assert on.pages == 0
