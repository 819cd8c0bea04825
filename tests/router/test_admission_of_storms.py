"""Handshakes that come all at once: let in at the rate, refused at the rate, and none refused again and again."""

import heapq
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.admission import FARTHEST_S, FULL_S, SOON_S, Admission, Refused

RATE = 200.0
TURNED_AWAY_S = 10.0  # at most, by what the last one in a line is told


class Storm:
    """Clients that come, wait for their turn, and come back when they were told, or a little later."""

    def __init__(self, seed: int, arrivals: list[float], limit: int = 0, rate: float = RATE) -> None:
        self.random = random.Random(seed)
        self.admission = Admission(rate, limit, 0.0)
        self.refusals: Counter[int] = Counter()
        self.refused_at: list[float] = []
        self.let_in_at: list[float] = []
        self._events = [(at, number, number, True) for number, at in enumerate(arrivals)]
        heapq.heapify(self._events)
        self._sequence = len(arrivals)

    def _later(self, at: float, client: int, arrives: bool) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (at, self._sequence, client, arrives))

    def run(self, until: float = 300.0) -> None:
        while self._events and self._events[0][0] < until:
            now, _, client, arrives = heapq.heappop(self._events)
            inside = len(self.let_in_at)
            if arrives and (wait_s := self.admission.arrive(now, inside)):
                self._later(now + wait_s, client, arrives=False)
                continue
            refused = self.admission.decide(now, inside, self.random.random())
            if refused is None:
                self.let_in_at.append(now)
            else:
                self.refusals[client] += 1
                self.refused_at.append(now)
                self._later(now + refused.retry_after_s * self.random.uniform(1.0, 1.2), client, arrives=True)


def most_in_a_second(times: list[float]) -> int:
    times = sorted(times)
    most = first = 0
    for last, time in enumerate(times):
        while times[first] <= time - 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


@pytest.mark.parametrize("over_s", [0.0, 1.0, 5.0])
def test_a_storm_comes_in_as_fast_as_may_be_and_few_are_refused_twice(over_s: float) -> None:
    storm = Storm(1, [number * over_s / 2_000 for number in range(2_000)])
    storm.run()
    assert len(storm.let_in_at) == 2_000
    assert max(storm.let_in_at) < 1.5 * 2_000 / RATE
    assert sum(count > 1 for count in storm.refusals.values()) < 300
    assert max(storm.refusals.values()) <= 3
    assert most_in_a_second(storm.refused_at) <= 2 * RATE + 1
    assert most_in_a_second(storm.let_in_at) <= 3 * RATE + 1


def test_a_storm_larger_than_can_be_promised_comes_in_all_the_same() -> None:
    storm = Storm(2, [0.0] * 12_000)
    storm.run()
    assert len(storm.let_in_at) == 12_000
    assert max(storm.let_in_at) < 1.5 * 12_000 / RATE


@given(
    seed=st.integers(0, 2**32),
    arrivals=st.lists(st.floats(0, 20), min_size=1, max_size=400),
    rate=st.sampled_from([1.0, 7.0, 30.0, 500.0]),
)
def test_both_rates_are_kept_and_nobody_is_forgotten(seed: int, arrivals: list[float], rate: float) -> None:
    storm = Storm(seed, arrivals, rate=rate)
    storm.run(until=5_000.0)
    assert len(storm.let_in_at) == len(arrivals)
    assert most_in_a_second(storm.let_in_at) <= 3 * rate + 1
    assert most_in_a_second(storm.refused_at) <= 2 * max(rate, 20.0) + 1


def test_a_router_that_is_full_refuses_whoever_comes_and_takes_one_for_each_that_leaves() -> None:
    admission = Admission(RATE, 3, 0.0)
    told = []
    for chance in (0.0, 0.5, 1.0):
        assert admission.arrive(0.0, 3) == 0.0
        refused = admission.decide(0.0, 3, chance)
        assert isinstance(refused, Refused)
        assert refused.why == "full"
        told.append(refused.retry_after_s)
    assert told == [FULL_S, 1.5 * FULL_S, 2 * FULL_S]
    assert admission.decide(0.0, 2, 0.5) is None


def test_who_is_refused_is_told_a_slot_of_its_own_and_nobody_a_time_too_far() -> None:
    admission = Admission(10.0, 0, 0.0)
    told = [admission.decide(0.0, 0, 0.5) for _ in range(1_000)]
    assert told[:20] == [None] * 20, "the burst"
    waits = [refused.retry_after_s for refused in told if refused]
    slots = waits[: int(10 * FARTHEST_S)]
    assert slots == sorted(set(slots))
    assert slots[0] < SOON_S + 1.0
    assert FARTHEST_S < min(waits[310:]) <= max(waits) < FARTHEST_S + TURNED_AWAY_S


def test_newcomers_stand_in_line_behind_those_who_wait() -> None:
    admission = Admission(100.0, 0, 0.0)
    for _ in range(200):
        assert admission.arrive(0.0, 0) == 0.0
        assert admission.decide(0.0, 0, 0.0) is None
    for _ in range(100):
        assert admission.arrive(0.0, 0) == 0.0
        assert admission.decide(0.0, 0, 0.0) is not None
    turns = [admission.arrive(0.0, 0) for _ in range(50)]
    assert turns == pytest.approx([(number + 1) / 100 for number in range(50)])
    assert admission.arrive(0.1, 0) == pytest.approx(0.41), "though there are tokens to come in by then"
