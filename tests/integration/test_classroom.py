"""A small classroom of `benchmarks.router` on the real processes: the generator and the product agree on every edit.

The benchmark measures how fast that is; here only right and wrong count.
"""

import os
from collections.abc import Iterator

import pytest
from rich.progress import Progress

from benchmarks.router.measured import Course, Measured
from benchmarks.router.pinned import started, tools_of
from benchmarks.router.rooms import documents, room
from benchmarks.router.slow import slow
from benchmarks.router.storm import storm
from tests.support.system import System

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[System, int, int]]:
    before = os.sched_getaffinity(0)
    with started() as running:
        yield running
    assert os.sched_getaffinity(0) == before


def _is_right(found: Measured) -> None:
    assert found.trouble == ""
    assert (found.acked_lost, found.doubled, found.diverged, found.refused) == (0, 0, 0, 0)
    assert found.acked > 0, "people typed"


async def test_a_room_is_right_and_counted(running: tuple[System, int, int]) -> None:
    async with tools_of(running) as pinned:
        assert pinned.strays() == []
        with Progress(disable=True) as progress:
            found = await room(Course(pinned, progress, seconds=2, warm_s=0.5), 10)
    _is_right(found)
    assert found.bytes_per_delivered > len('["client",1,[1,"x"]]'), "an entry and what is around it"
    assert set(found.cpu) == {"router", "host", "valkey", "postgres", "ray"}


async def test_documents_are_right(running: tuple[System, int, int]) -> None:
    async with tools_of(running) as pinned:
        with Progress(disable=True) as progress:
            found = await documents(Course(pinned, progress, seconds=1, warm_s=0.5), 4)
    _is_right(found)
    assert found.documents == 4


async def test_slow_readers_come_to_the_same_document(running: tuple[System, int, int]) -> None:
    async with tools_of(running) as pinned:
        with Progress(disable=True) as progress:
            found = await slow(Course(pinned, progress, seconds=2, warm_s=0.5), 12, 3, seconds=2)
    _is_right(found.among)


async def test_everyone_comes_back_and_nothing_is_lost(running: tuple[System, int, int]) -> None:
    async with tools_of(running) as pinned:
        with Progress(disable=True) as progress:
            found = await storm(Course(pinned, progress, seconds=1, warm_s=0.5), 15)
    _is_right(found.measured)
    assert found.snapshots == 0, "who resumes needs none"
