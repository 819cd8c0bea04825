"""The search for the largest number that fits."""

import pytest

from benchmarks.router.crowd import FULL_MOST, OBSERVERS_MOST, classroom, evenly
from benchmarks.router.search import TOLERANCE, Search


def _search(limit: int, first: int = 100, least: int = 10, most: int = 8_000) -> tuple[int, list[int]]:
    search, tried = Search(first, least, most), []
    while (number := search.next()) is not None:
        tried.append(number)
        assert len(tried) < 30, "it ends"
        search.told(number, number <= limit)
    return search.largest, tried


@pytest.mark.parametrize("limit", [10, 11, 77, 99, 100, 101, 700, 1_234, 7_999])
def test_it_comes_close_from_below(limit: int) -> None:
    found, tried = _search(limit)
    assert found <= limit
    assert limit - found <= max(1, TOLERANCE * limit)
    assert len(tried) == len(set(tried)), "nothing is tried twice"


def test_nothing_fits() -> None:
    assert _search(3)[0] == 0


def test_it_stops_at_the_most() -> None:
    assert _search(1_000_000)[0] == 8_000


@pytest.mark.parametrize("clients", [10, 100, 300, 1_000, 2_000])
def test_full_clients_and_observers_are_spread(clients: int) -> None:
    seats = classroom(clients, "d")
    full = [number for number, seat in enumerate(seats) if seat.full]
    observers = [number for number, seat in enumerate(seats) if seat.observes]
    assert len(full) == min(FULL_MOST, max(2, clients // 5))
    assert len(observers) == min(OBSERVERS_MOST, clients - len(full))
    assert not set(full) & set(observers)
    assert max(observers) >= 0.9 * clients - 1, "the last who come count too"
    assert all(seat.live or not seat.types for seat in seats), "who reads later cannot type"
    assert sum(seat.full and seat.types for seat in seats) >= 2


def test_evenly() -> None:
    assert evenly(2, 10) == {2, 7}
    assert evenly(5, 3) == {0, 1, 2}
