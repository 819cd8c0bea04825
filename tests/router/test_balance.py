"""How many clients a router asks to move: never below the mean, never too fast, and until each has its share."""

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.balance import HELPLESS_S, JUDGED, LEAST_EXCESS, LEAST_PER_S, OF_ADMISSION, Balance, drain_per_s

FACTOR, JOINS = 1.25, 200.0
SAY_S, MOVE_S = 3, 2  # counts of others are that old; a client takes that long to move


def asks(sockets: int, others: Sequence[int], seconds: int = 1, leaving: int = 0, factor: float = FACTOR) -> list[int]:
    """In each second, while nobody goes."""
    balance = Balance(factor, JOINS)
    return [balance.due(sockets, leaving, others, float(second)) for second in range(seconds)]


def test_who_has_its_share_asks_nobody() -> None:
    assert asks(1_000, [1_000, 1_000]) == [0]
    assert asks(1_000, [0]) == [10]
    assert asks(0, [1_000]) == [0]
    assert asks(1_000, []) == [0], "there is nowhere to go"
    assert asks(1_000, [0], factor=0.0) == [0]


def test_a_few_more_are_not_worth_it() -> None:
    assert asks(2 * LEAST_EXCESS, [0]) == [0]
    assert asks(2 * LEAST_EXCESS + 2, [0]) == [10]
    assert asks(1_250, [750]) == [0]
    assert asks(1_252, [748]) == [12]


def test_a_hundredth_a_second_or_ten_and_less_than_the_others_let_in() -> None:
    assert asks(10_000, [0], seconds=4) == [100] * 4
    assert asks(500, [0], seconds=4) == [10] * 4
    assert asks(100_000, [0], seconds=2) == [150] * 2
    assert asks(100_000, [0, 0, 0, 0, 0], seconds=2) == [750] * 2


def test_whoever_was_asked_counts_as_gone_until_it_shows_that_it_is_not() -> None:
    assert asks(1_000, [0], leaving=374) == [10]
    assert asks(1_000, [0], leaving=375) == [0]


def test_it_stops_half_way_to_the_mean_and_does_not_begin_again_there() -> None:
    balance = Balance(FACTOR, JOINS)
    sockets, others, now = 1_300, 700, 0.0
    while due := balance.due(sockets, 0, [others], now):
        sockets, others, now = sockets - due, others + due, now + 1.0
    assert sockets == 1_125
    for sockets in range(1_125, 1_250):
        assert not balance.due(sockets, 0, [2_000 - sockets], now)


@pytest.mark.parametrize(("others", "helps"), [(1, 75), (3, 62), (9, 55)])
def test_more_that_come_back_than_by_chance_and_it_stops_for_long(others: int, helps: int) -> None:
    balance = Balance(FACTOR, JOINS)
    assert balance.judge(JUDGED, helps, others, 100.0)
    assert balance.due(5_000, 0, [0] * others, 100.0)
    assert balance.judge(JUDGED - 1, JUDGED - 1, others, 100.0), "too few to know"
    assert not balance.judge(JUDGED, helps + 1, others, 100.0)
    assert not balance.due(5_000, 0, [0] * others, 99.0 + HELPLESS_S)
    assert balance.due(5_000, 0, [0] * others, 101.0 + HELPLESS_S)


def test_those_who_drain_share_what_the_others_let_in() -> None:
    assert drain_per_s(200.0, 1, 1) == OF_ADMISSION * 200
    assert drain_per_s(200.0, 4, 2) == OF_ADMISSION * 400


# --- Several routers ---


@dataclass
class SharedRouter:
    sockets: int
    balance: Balance = field(default_factory=lambda: Balance(FACTOR, JOINS))
    heard: list[int] = field(default_factory=list)
    asked: deque[tuple[int, int]] = field(default_factory=deque)  # when, how many

    @property
    def leaving(self) -> int:
        return sum(count for _, count in self.asked)


class Shared:
    """Routers behind a balancer that chooses at random; every second all look, every three they hear of each other."""

    def __init__(self, starts: Sequence[int], seed: int) -> None:
        self.routers = [SharedRouter(count) for count in starts]
        self.random = random.Random(seed)
        self.total = sum(starts)
        self.now = 0

    @property
    def mean(self) -> float:
        return self.total / len(self.routers)

    def second(self) -> int:
        """Returns how many were asked."""
        if self.now % SAY_S == 0:
            for router in self.routers:
                router.heard = [other.sockets for other in self.routers if other is not router]
        all_asked = 0
        for router in self.routers:
            due = router.balance.due(router.sockets, router.leaving, router.heard, float(self.now))
            assert due <= max(LEAST_PER_S, router.sockets / 100)
            assert due <= OF_ADMISSION * JOINS * (len(self.routers) - 1)
            if due:
                assert router.sockets - router.leaving - due >= self.mean - 1
                router.asked.append((self.now, due))
            all_asked += due
        for router in self.routers:
            while router.asked and router.asked[0][0] <= self.now - MOVE_S:
                for _ in range(router.asked.popleft()[1]):
                    router.sockets -= 1
                    self.random.choice(self.routers).sockets += 1
        self.now += 1
        return all_asked


@given(starts=st.lists(st.integers(0, 3_000), min_size=1, max_size=6), seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_every_start_comes_to_rest_with_a_share_for_each(starts: list[int], seed: int) -> None:
    shared = Shared(starts, seed)
    quiet = 0
    while quiet < 5 * SAY_S:
        quiet = 0 if shared.second() else quiet + 1
        assert shared.now < 3_000, [router.sockets for router in shared.routers]
    assert sum(router.sockets for router in shared.routers) == shared.total
    for router in shared.routers:
        assert router.sockets <= shared.mean + max(LEAST_EXCESS, shared.mean * (FACTOR - 1))


def test_half_the_clients_move_to_a_router_that_starts() -> None:
    shared = Shared([8_000, 0], seed=7)
    asked = 0
    while shared.now < 400:
        asked += shared.second()
    assert shared.routers[0].sockets < 1.25 * shared.mean
    assert asked < 8_000
