"""Ten thousand people who have a document open and do nothing: what does a socket cost a router?

They sit in a hundred documents and send a ping every heartbeat, as every client does.
"""

from dataclasses import dataclass
from typing import Final

from benchmarks.router.crowd import HEARTBEAT_S, Seat
from benchmarks.router.measured import Course
from benchmarks.router.meter import Load, Meter

SOCKETS: Final = 10_000
A_DOCUMENT: Final = 100
COMES_PATIENCE_S: Final = 120.0
REST_S: Final = HEARTBEAT_S  # until the first ping of the last who came


@dataclass(frozen=True, slots=True)
class Idle:
    sockets: int
    rss_before_kb: int
    rss_after_kb: int
    cpu: dict[str, float]
    frames_per_s: float
    closed: int
    generator: Load

    @property
    def socket_kb(self) -> float:
        return (self.rss_after_kb - self.rss_before_kb) / self.sockets


async def idle(course: Course, sockets: int) -> Idle:
    pinned, crowd = course.pinned, course.crowd()
    names = [course.document("idle") for _ in range(max(1, sockets // A_DOCUMENT))]
    seats = [Seat(names[number % len(names)], types=False) for number in range(sockets)]
    async with course.leaving(crowd):
        before_kb = pinned.rss_kb()
        bar = course.progress.add_task(f"idle: {sockets} come", total=None)
        await crowd.join(seats, course.joins_per_s, COMES_PATIENCE_S)
        course.progress.remove_task(bar)
        await course.wait("idle: rest", REST_S)
        closes = crowd.tally.closes.total()
        meter = Meter(pinned.generator_core, pinned.core)
        async with meter.measuring():
            cpu, frames = pinned.cpu_s(), crowd.tally.frames_in
            await course.wait(f"idle: {sockets} sockets", HEARTBEAT_S)
            spent, frames = pinned.spent(cpu), crowd.tally.frames_in - frames
            after_kb = pinned.rss_kb()
        shares = {part: round(spent_s / meter.seconds, 3) for part, spent_s in spent.items()}
        closed = crowd.tally.closes.total() - closes
        return Idle(sockets, before_kb, after_kb, shares, frames / meter.seconds, closed, meter.load)
