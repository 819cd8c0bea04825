"""How often a room sends: at once while that is cheap, else what came meanwhile in one frame, the same for everyone."""

import asyncio

import pytest

from router.fan_out import LONGEST_S, SHARE, SHARE_MOST, WINDOW_S, FanOut
from router.run import Run, text_frame
from tests.router.test_room import stage

COST_S = 0.005


async def test_what_comes_while_a_room_waits_is_sent_as_one() -> None:
    async with stage(9, at=0) as on:
        on.cpu_s = COST_S
        one, other, joining = on.sit(0), on.sit(0), on.sit(None)
        on.room.published(on.log.batch(1, 2))
        assert one.revisions == [1, 2], "a quiet room does not wait"
        for revision in range(3, 9):
            on.room.published(on.log.batch(revision, revision))
        assert (on.room.head, on.room.shown) == (8, (2, 1))
        assert one.revisions == [1, 2]
        await asyncio.sleep(COST_S / SHARE)
        assert one.revisions == list(range(1, 9))
        assert len(one.messages) == 2
        assert one.messages == other.messages
        assert one.messages[1] is other.messages[1], "one buffer for all"
        assert on.room.shown == (8, 1)
        assert joining.messages == []


async def test_who_was_brought_up_meanwhile_gets_the_rest_alone() -> None:
    async with stage(5, at=0) as on:
        on.cpu_s = COST_S
        level = on.sit(0)
        for revision in range(1, 4):
            on.room.published(on.log.batch(revision, revision))
        late = on.sit(3)  # it has been sent what waits for the others
        on.room.published(on.log.batch(4, 4))
        await asyncio.sleep(COST_S / SHARE)
        assert level.revisions == [1, 2, 3, 4]
        assert late.revisions == [4]


async def test_nothing_is_forgotten_before_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.room.RING_ENTRIES", 3)
    async with stage(21, at=0) as on:
        on.cpu_s = COST_S
        seat = on.sit(0)
        for revision in range(1, 22):
            on.room.published(on.log.batch(revision, revision))
        await asyncio.sleep(LONGEST_S)
        assert seat.revisions == list(range(1, 22))
        assert len(seat.messages) == 6, "the first, and then what the ring holds and one more"


async def test_one_batch_that_takes_the_whole_ring_takes_nothing_unsent_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("router.room.RING_ENTRIES", 3)
    async with stage(9, at=0) as on:
        on.cpu_s = COST_S
        seat = on.sit(0)
        on.room.published(on.log.batch(1, 1))
        on.room.published(on.log.batch(2, 2))
        on.room.published(on.log.batch(3, 9))
        assert seat.revisions == list(range(1, 10))
        assert seat.lagged is None


async def test_who_stands_before_the_ring_is_told_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.room.RING_ENTRIES", 1)
    async with stage(4, at=0) as on:
        on.room.published(on.log.batch(1, 2))
        seat = on.sit(0)
        on.room.published(on.log.batch(3, 4))
        assert (seat.revisions, seat.lagged) == ([], 4)


async def test_acknowledgements_come_with_the_round() -> None:
    async with stage(at=0) as on:
        on.cpu_s = COST_S
        author = on.sit(0, "client-a")
        on.grow(1)
        on.room.published(on.log.batch(1, 1))
        for cseq in (1, 2):
            on.log.append("client-a", cseq)
            on.room.head_is(on.log.head)
        await asyncio.sleep(LONGEST_S)
        assert author.revisions == [1, 2, 3]
        assert author.acks[-1] == 2


async def test_a_fork_forgets_what_waits() -> None:
    async with stage(5, at=0) as on:
        on.cpu_s = COST_S
        seat = on.sit(0)
        on.room.published(on.log.batch(1, 3))
        on.room.published(on.log.batch(4, 5))
        on.log.lose(3)
        on.grow(1)
        on.room.published(on.log.batch(4, 4))
        await asyncio.sleep(LONGEST_S)
        assert seat.forked
        assert seat.revisions == [1, 2, 3]


def test_a_round_is_followed_by_a_pause_that_makes_it_its_share() -> None:
    fan_out = FanOut(lambda: 0.0, lambda: 0.0)
    assert fan_out.pause_s(0.0) == 0.0
    assert fan_out.pause_s(COST_S) == COST_S / SHARE
    assert fan_out.pause_s(1.0) == LONGEST_S


def test_many_rooms_share_the_share() -> None:
    now = 0.0
    fan_out = FanOut(lambda: now, lambda: 0.0)
    first = fan_out.pause_s(0.001)
    for _ in range(2_000):  # ten rooms, each as if it were alone
        now += first / 10
        fan_out.pause_s(0.001)
    crowded = fan_out.pause_s(0.001)
    assert crowded > 5 * first
    for _ in range(5):
        now += WINDOW_S
        fan_out.pause_s(0.001)
    assert fan_out.pause_s(0.001) <= first, "alone again"


def load(cpu: float, waited: float) -> float:
    """The share after some seconds in which the thread ran, and waited for a core, so much of the time."""
    now = 0.0
    fan_out = FanOut(lambda: now, lambda: cpu * now, lambda: waited * now)
    for _ in range(40):
        now += WINDOW_S
        fan_out.pause_s(0.001)
    return fan_out.share


def test_the_share_is_larger_where_the_core_has_time_to_spare() -> None:
    assert load(0.1, 0.0) == load(0.3, 0.1) == pytest.approx(SHARE_MOST)
    assert load(0.8, 0.0) == load(0.4, 0.4) == pytest.approx(SHARE)
    assert SHARE < load(0.3, 0.27) < SHARE_MOST
    now = 0.0
    assert FanOut(lambda: now, lambda: 0.0).share == SHARE, "until something is known"


@pytest.mark.parametrize(
    ("size", "header"),
    [
        (0, "8100"),
        (5, "8105"),
        (125, "817d"),
        (126, "817e007e"),
        (65_535, "817effff"),
        (65_536, "817f0000000000010000"),
    ],
)
def test_a_frame_is_as_the_rfc_has_it(size: int, header: str) -> None:
    assert text_frame(b"x" * size) == bytes.fromhex(header) + b"x" * size


def test_a_run_is_framed_once() -> None:
    run = Run(b'{"t":"pong"},{"t":"pong"}', 7)
    assert run.frame == text_frame(b'[{"t":"pong"},{"t":"pong"}]')
    assert run.frame is run.frame
