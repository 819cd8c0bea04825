"""Everyone loses the router at once: kill -9 of it, and the supervisor starts it again.

Two thousand clients stand in one room, so that all of them ask about one section and one owner; a few of them type
throughout. They come back with full jitter, as docs/protocol.md says. The router's admission is left at its default of
400 handshakes a second: turning people away, for a moment that it names, is how it takes a storm.
"""

import time
from dataclasses import dataclass
from typing import Final

from benchmarks.router.crowd import Seat, Unsettled, classroom
from benchmarks.router.measured import Course, Measured

CLIENTS: Final = 2_000
TYPISTS: Final = 20
PATIENCE_S: Final = 120.0
AFTER_S: Final = 3.0  # of typing once all are back


@dataclass(frozen=True, slots=True)
class Storm:
    clients: int
    resume_s: float
    first_back_s: float
    owner_before: float
    owner_during: float
    snapshots: int
    turned_away: int
    measured: Measured

    @property
    def owner_cpu_ratio(self) -> float:
        return self.owner_during / max(self.owner_before, 0.001)


def _seats(clients: int, document: str) -> list[Seat]:
    seats = classroom(clients, document, typing=False)
    typing = [number for number, seat in enumerate(seats) if not seat.full][:: max(1, clients // TYPISTS)]
    for number in typing:
        seats[number] = Seat(document, observes=seats[number].observes)
    return seats


async def storm(course: Course, clients: int) -> Storm:
    crowd, pinned = course.crowd(), course.pinned
    now = time.monotonic
    async with course.leaving(crowd):
        measured = Measured(clients)
        bar = course.progress.add_task(f"storm: {clients} come", total=None)
        await crowd.join(_seats(clients, course.document("storm")), course.joins_per_s)
        course.progress.remove_task(bar)
        span = await course.measure("storm: before", crowd, TYPISTS, measured)
        snapshots, cpu, killed = crowd.tally.snapshots, pinned.cpu_s(), now()
        closes = crowd.tally.closes.total()
        pinned.system.kill("router-0")
        bar = course.progress.add_task("storm: all come back", total=clients)

        def back() -> bool:
            # The first look may be before the loop has heard of the closes.
            level = sum(client.level and client.level_at > killed for client in crowd.clients)
            course.progress.update(bar, completed=level)
            return level == clients

        try:
            await crowd.until(back, PATIENCE_S, "all are back")
        except Unsettled as error:
            measured.trouble = str(error)
        ended = now()
        owner = pinned.spent(cpu)["host"] / (ended - killed)
        course.progress.remove_task(bar)
        times = sorted(client.level_at - killed for client in crowd.clients)
        turned_away = crowd.tally.closes.total() - closes - clients
        found = crowd.tally.snapshots - snapshots
        await course.wait("storm: after", AFTER_S)
        trouble = measured.trouble
        await course.settle(crowd, measured, span)
        measured.trouble = trouble or measured.trouble
        return Storm(
            clients, times[-1], next((time for time in times if time > 0), 0.0),
            measured.cpu["host"], owner, found, turned_away, measured,
        )  # fmt: skip
