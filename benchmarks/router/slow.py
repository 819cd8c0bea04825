"""Fifty people on a bad line among three hundred: the others should not notice. In the end they read again as fast as
they can, and have to come to the same document.
"""

import time
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.router.crowd import FULL_MOST, OBSERVERS_MOST, Seat, Unsettled, evenly
from benchmarks.router.measured import Course, Measured
from benchmarks.router.rooms import KEYS_PER_S
from benchmarks.router.straw import SlowReader

CLIENTS, SLOW = 300, 50
PATIENCE_S: Final = 60.0
SECONDS: Final = 60.0  # until the slow ones lag: what the kernel and the router hold for each is full by then


@dataclass(frozen=True, slots=True)
class Slow:
    """`behind`: entries that the slowest had not read when the typing ended; from then on all read at full speed."""

    without: Measured
    among: Measured
    rss_before_kb: int
    rss_after_kb: int
    behind: int
    caught_up_s: float

    @property
    def p99_ratio(self) -> float:
        return self.among.visible_p99_ms / max(self.without.visible_p99_ms, 0.001)


def _seats(clients: int, slow: int, document: str, *, really: bool) -> list[Seat]:
    """Everyone types but those who are slow, or would be."""
    slow_ones = evenly(slow, clients)
    others = [number for number in range(clients) if number not in slow_ones]
    full = {others[index] for index in evenly(FULL_MOST, len(others))}
    light = [number for number in others if number not in full]
    observing = {light[index] for index in evenly(OBSERVERS_MOST, len(light))}
    return [
        Seat(
            document, number in full, types=number not in slow_ones, observes=number in observing,
            slow=really and number in slow_ones,
        )
        for number in range(clients)
    ]  # fmt: skip


async def _run(course: Course, clients: int, slow: int, *, really: bool) -> Slow:
    crowd = course.crowd()
    name = f"{slow} slow among {clients}" if really else f"none slow among {clients}"
    async with course.leaving(crowd):
        found = Measured(clients)
        seats = _seats(clients, slow, course.document("slow"), really=really)
        bar = course.progress.add_task(f"{name}: all come", total=None)
        await crowd.join(seats, course.joins_per_s)
        course.progress.remove_task(bar)
        rss_kb = course.pinned.rss_kb()
        readers = [client for client in crowd.clients if isinstance(client, SlowReader)]
        for reader in readers:
            reader.slow = True
        span = await course.measure(name, crowd, KEYS_PER_S * (clients - slow), found)
        head = max(client.revision for client in crowd.clients)
        behind = max((head - reader.revision for reader in readers), default=0)
        for reader in readers:
            reader.slow = False
        now = time.monotonic
        began = now()
        try:
            await crowd.until(
                lambda: all(reader.revision >= head for reader in readers), PATIENCE_S, "the slow ones read"
            )
        except Unsettled as error:
            found.trouble = str(error)
        caught_up_s, trouble = now() - began, found.trouble
        await course.settle(crowd, found, span)
        found.trouble = trouble or found.trouble
        return Slow(found, found, rss_kb, found.router_rss_kb, behind, caught_up_s)


async def slow(course: Course, clients: int = CLIENTS, slow: int = SLOW, seconds: float = SECONDS) -> Slow:
    without = await _run(course, clients, slow, really=False)
    among = await _run(replace(course, seconds=max(course.seconds, seconds)), clients, slow, really=True)
    return replace(among, without=without.among)
