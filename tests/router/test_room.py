"""A room: what is published reaches every member once and in order, and who comes or falls behind is brought level."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from coscribe import link
from coscribe.batch import Author, BatchHeader, encode_batch
from persistence.records import Unavailable
from router.fan_out import FanOut
from router.room import RING_BYTES, RING_ENTRIES, Room
from router.run import Run
from tests.router.bench import KEY, settle
from tests.router.owner import PAGE, MemoryReader, SectionLog, messages


class Seat:
    """A member that records."""

    def __init__(self, sent: int | None = 0, client: str = "client-1") -> None:
        self.sent, self.client = sent, client
        self.messages: list[bytes] = []
        self.acks: list[int] = []
        self.forked = False
        self.lagged: int | None = None

    def deliver(self, run: Run) -> None:
        self.messages.append(run.messages)
        self.sent = run.last

    def lag(self, head: int) -> None:
        self.sent = None
        self.lagged = head

    def acknowledged(self, cseq: int) -> None:
        self.acks.append(cseq)

    def fork(self) -> None:
        self.forked = True

    @property
    def revisions(self) -> list[int]:
        return [
            message["rev"] + number
            for messages in self.messages
            for message in json.loads(b"[%s]" % messages)
            for number in range(len(message["e"]))
        ]


class Stage:
    """A room before a log, and an owner that answers."""

    def __init__(self) -> None:
        self.reader = MemoryReader()
        self.log: SectionLog = self.reader.log(KEY)
        self.owner_down = False
        self.pages = 0
        self.cpu_s = 0.0  # that each look at the clock takes
        self._used_s = 0.0
        self.fan_out = FanOut(asyncio.get_running_loop().time, self._cpu)
        self.room = Room(KEY, self.reader, self._from_owner, self.fan_out)

    def _cpu(self) -> float:
        self._used_s += self.cpu_s
        return self._used_s

    async def _from_owner(self, key: object, after: int) -> link.EntriesAre | None:
        self.pages += 1
        await asyncio.sleep(0)
        if self.owner_down:
            raise Unavailable("no owner")
        log = self.log
        if after > log.head:
            return None
        last = min(after + PAGE, log.head)
        epochs = log.epoch_of(log.head), log.epoch_of(after)
        return link.EntriesAre(1, last, log.head, *epochs, messages(log, after, last))

    def grow(self, count: int) -> None:
        for _ in range(count):
            self.log.append()

    def sit(self, sent: int | None = 0, client: str = "client-1") -> Seat:
        seat = Seat(sent, client)
        self.room.members[seat] = None
        return seat


@asynccontextmanager
async def stage(entries: int = 0, at: int | None = None) -> AsyncIterator[Stage]:
    """A log with so many entries, and a room that knows it up to `at`."""
    made = Stage()
    made.grow(entries)
    if at is not None:
        made.room.position(at, made.log.epoch_of(at))
    yield made
    await made.room.close()


async def test_a_batch_reaches_members_that_stand_right_before_it_as_the_bytes_it_came_as() -> None:
    async with stage(5, at=2) as on:
        level, behind, joining, ahead = on.sit(2), on.sit(1), on.sit(None), on.sit(4)
        published = on.log.batch(3, 4)
        on.room.published(published)
        assert level.messages == [published[-len(level.messages[0]) :]]
        assert (level.revisions, level.sent) == ([3, 4], 4)
        assert (behind.messages, joining.messages, ahead.messages) == ([], [], [])
        on.room.published(on.log.batch(5, 5))
        assert level.revisions == [3, 4, 5]
        assert ahead.revisions == [5]


async def test_a_member_within_a_batch_gets_it_whole() -> None:
    """The client skips what it has: entries are read each by itself."""
    async with stage(4, at=0) as on:
        seat = on.sit(2)
        on.room.published(on.log.batch(1, 4))
        assert seat.revisions == [1, 2, 3, 4]


async def test_the_first_batch_positions_a_room_that_knows_nothing() -> None:
    async with stage(9) as on:
        on.room.published(on.log.batch(8, 9))
        assert (on.room.head, on.room.epoch) == (9, 1)
        assert on.room.since(7) == [on.log.batch(8, 9)[-len((on.room.since(7) or [b""])[0]) :]]
        assert on.room.since(6) is None


async def test_a_batch_that_comes_twice_is_delivered_once() -> None:
    async with stage(4, at=0) as on:
        seat = on.sit()
        for first, last in ((1, 2), (1, 2), (3, 3), (1, 2), (3, 3), (4, 4)):
            on.room.published(on.log.batch(first, last))
        assert seat.revisions == [1, 2, 3, 4]
        assert on.room.gaps == 0
        assert on.reader.reads == []


async def test_authors_hear_that_their_operation_is_durable_wherever_they_stand() -> None:
    async with stage(0, at=0) as on:
        ann, bob, cat = on.sit(0, "client-a"), on.sit(None, "client-b"), on.sit(0, "client-c")
        header = BatchHeader(1, 2, 1, False, (Author("client-a", 7), Author("client-b", 3)))
        on.room.published(encode_batch(header, b'{"s":"0","rev":1,"e":[1,2]}'))
        assert (ann.acks, bob.acks, cat.acks) == ([7], [3], [])


async def test_what_is_no_batch_is_dropped() -> None:
    async with stage(1, at=0) as on:
        seat = on.sit()
        for junk in (b"", b"\0\0\0", b"\0\0\0\1", b"\xff\xff\xff\xffxx", b"\0\0\0\2\x91\x01", b"text"):
            on.room.published(junk)
        on.room.published(on.log.batch(1, 1))
        assert seat.revisions == [1]


# --- The ring ---


async def test_the_ring_gives_what_follows_and_none_before_its_start() -> None:
    async with stage(10, at=4) as on:
        for first in (5, 7, 9):
            on.room.published(on.log.batch(first, first + 1))
        assert on.room.since(3) is None
        assert len(on.room.since(4) or []) == 3
        assert len(on.room.since(6) or []) == 2
        assert len(on.room.since(7) or []) == 2, "revision 7 is in the middle of a batch"
        assert on.room.since(10) == []
        assert on.room.since(99) == []


async def test_a_room_that_knows_nothing_has_nothing_to_give() -> None:
    async with stage(3) as on:
        assert on.room.since(0) is None
        assert on.room.epoch_of(0) is None


async def test_the_ring_knows_the_epoch_of_what_it_holds() -> None:
    async with stage(2, at=2) as on:
        on.log.epoch = 5
        on.grow(2)
        on.room.published(on.log.batch(3, 4))
        await settle()
        assert [on.room.epoch_of(revision) for revision in (1, 2, 3, 4, 5)] == [None, None, 5, 5, None]


async def test_the_ring_is_bounded_in_entries() -> None:
    async with stage(0, at=0) as on:
        for number in range(RING_ENTRIES + 500):
            header = BatchHeader(number + 1, number + 1, 1, False, ())
            on.room.published(encode_batch(header, b'{"s":"0","rev":%d,"e":[1]}' % (number + 1)))
        assert on.room.since(499) is None
        assert len(on.room.since(500) or []) == RING_ENTRIES


async def test_the_ring_is_bounded_in_bytes_but_holds_the_newest_batch() -> None:
    async with stage(0, at=0) as on:
        large = b'{"s":"0","rev":1,"e":["%s"]}' % (b"x" * (RING_BYTES // 3))
        for number in range(9):
            on.room.published(encode_batch(BatchHeader(number + 1, number + 1, 1, False, ()), large))
        assert on.room.since(6) is None
        assert len(on.room.since(7) or []) == 2
        huge = b'{"s":"0","rev":10,"e":["%s"]}' % (b"x" * (2 * RING_BYTES))
        on.room.published(encode_batch(BatchHeader(10, 10, 1, False, ()), huge))
        assert on.room.since(8) is None
        assert on.room.since(9) == [huge]


async def test_heads_are_told_by_announcements_too() -> None:
    async with stage(3, at=1) as on:
        seat = on.sit(1)
        on.room.published(on.log.announcement(3))
        await settle()
        assert seat.revisions == [2, 3]
