"""The token bucket: so many at once, then so many a second, and the wait it names is just long enough."""

import pytest

from router.admission import TokenBucket


def test_a_burst_and_then_the_rate() -> None:
    bucket = TokenBucket.full(rate=10, burst=3, now=100.0)
    assert [bucket.take(100.0) for _ in range(4)] == [0, 0, 0, pytest.approx(0.1)]
    assert bucket.take(100.05) == pytest.approx(0.05)
    assert bucket.take(100.1) == 0
    assert bucket.take(100.1) == pytest.approx(0.1)


def test_what_is_not_used_is_kept_up_to_the_burst() -> None:
    bucket = TokenBucket.full(rate=10, burst=3, now=0.0)
    for _ in range(3):
        bucket.take(0.0)
    assert [bucket.take(1_000.0) for _ in range(4)] == [0, 0, 0, pytest.approx(0.1)]


def test_whoever_is_refused_pays_nothing() -> None:
    bucket = TokenBucket.full(rate=1, burst=1, now=0.0)
    bucket.take(0.0)
    for tenth in range(1, 10):
        assert bucket.take(tenth / 10) > 0
    assert bucket.take(1.0) == 0


def test_after_the_wait_that_was_named_there_is_one() -> None:
    bucket = TokenBucket.full(rate=7, burst=14, now=0.0)
    now, taken = 0.0, 0
    while now < 10:
        wait_s = bucket.take(now)
        taken += not wait_s
        now += wait_s
        assert wait_s <= 1 / 7 + 1e-6
    assert taken == pytest.approx(14 + 70, abs=1)


def test_a_clock_that_stands_still_or_goes_back_gives_nothing() -> None:
    bucket = TokenBucket.full(rate=100, burst=1, now=50.0)
    assert bucket.take(50.0) == 0
    assert bucket.take(50.0) > 0
    assert bucket.take(40.0) > 0
