"""One run of typing: people come, type for a while, and everything is settled and verified."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from rich.progress import Progress

from benchmarks.router.connected import Network
from benchmarks.router.crowd import Crowd, Seat, Unsettled
from benchmarks.router.meter import Load, Meter
from benchmarks.router.pinned import Pinned
from benchmarks.router.tally import Tally, percentile
from benchmarks.router.verify import verify

VISIBLE_MOST_MS: Final = 250.0
SHOWN_S: Final = 0.25


@dataclass(slots=True)
class Measured:
    """Of the seconds measured; verdict and trouble of the whole run. Times in milliseconds, CPU in shares of a core."""

    clients: int
    documents: int = 1
    edits_per_s: float = 0.0
    visible_p50_ms: float = 0.0
    visible_p99_ms: float = 0.0
    ack_p50_ms: float = 0.0
    ack_p99_ms: float = 0.0
    frames_per_s: float = 0.0
    delivered_per_s: float = 0.0
    bytes_per_delivered: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    generator: Load = field(default_factory=lambda: Load(0.0, 0.0, 0.0, 0.0))
    router_rss_kb: int = 0
    keys: int = 0
    acked: int = 0
    acked_lost: int = 0
    doubled: int = 0
    diverged: int = 0
    refused: int = 0
    nacks: dict[str, int] = field(default_factory=dict)
    closes: dict[int, int] = field(default_factory=dict)
    gaps: int = 0
    lagging: int = 0
    trouble: str = ""

    @property
    def whole(self) -> bool:
        """Everything is there, once, and the same for all."""
        return not (self.acked_lost or self.doubled or self.diverged or self.refused or self.trouble)

    @property
    def fits(self) -> bool:
        return self.whole and 0 < self.visible_p99_ms < VISIBLE_MOST_MS


@dataclass(slots=True)
class Course:
    """How a run is done: `joins_per_s` is below what the router admits, so that nobody is turned away."""

    pinned: Pinned
    progress: Progress
    seconds: float = 15.0
    warm_s: float = 4.0
    joins_per_s: float = 150.0
    seed: int = 1

    def document(self, name: str) -> str:
        """An id that was never used."""
        return f"{name}-{secrets.token_hex(6)}"

    def crowd(self) -> Crowd:
        network = Network("127.0.0.1", self.pinned.system.port, self.pinned.token, Tally())
        return Crowd(network, self.seed)

    @contextlib.asynccontextmanager
    async def leaving(self, crowd: Crowd) -> AsyncIterator[None]:
        """The crowd leaves in the end, and the router is left to rest for a moment."""
        try:
            yield
        finally:
            await crowd.leave()
            await asyncio.sleep(1.0)

    async def wait(self, words: str, seconds: float) -> None:
        """With a bar that fills."""
        bar = self.progress.add_task(words, total=seconds)
        began = time.monotonic()
        while (left := began + seconds - time.monotonic()) > 0:
            self.progress.update(bar, completed=seconds - left)
            await asyncio.sleep(min(left, SHOWN_S))
        self.progress.remove_task(bar)

    async def typed(self, name: str, seats: Sequence[Seat], keys_per_s: float) -> Measured:
        """A crowd of its own comes, types and leaves."""
        crowd = self.crowd()
        async with self.leaving(crowd):
            found = Measured(len(seats), len({seat.document for seat in seats}))
            bar = self.progress.add_task(f"{name}: {len(seats)} come", total=None)
            try:
                await crowd.join(seats, self.joins_per_s)
            except Unsettled as trouble:
                found.trouble = str(trouble)
                return found
            finally:
                self.progress.remove_task(bar)
            span = await self.measure(f"{name}: {len(seats)} clients", crowd, keys_per_s, found)
            await self.settle(crowd, found, span)
            return found

    async def measure(self, words: str, crowd: Crowd, keys_per_s: float, found: Measured) -> tuple[float, float]:
        """They type until `settle`. Returns the span that was measured, by the loop's clock."""
        tally, pinned = crowd.tally, self.pinned
        meter = Meter(pinned.generator_core, pinned.core)
        now = time.monotonic
        crowd.type(keys_per_s)
        await self.wait(f"{words} warm up", self.warm_s)
        async with meter.measuring():
            since, cpu = now(), pinned.cpu_s()
            before = (tally.frames_in, tally.delivered, tally.bytes_in, crowd.keys)
            await self.wait(words, self.seconds)
            until, spent = now(), pinned.spent(cpu)
            after = (tally.frames_in, tally.delivered, tally.bytes_in, crowd.keys)
            rss_kb = pinned.rss_kb()
        frames, delivered, size, keys = (b - a for a, b in zip(before, after, strict=True))
        seconds = until - since
        found.generator, found.router_rss_kb = meter.load, rss_kb
        found.cpu = {part: round(spent_s / seconds, 3) for part, spent_s in spent.items()}
        found.frames_per_s, found.delivered_per_s = frames / seconds, delivered / seconds
        found.edits_per_s = keys / seconds
        found.bytes_per_delivered = size / max(1, delivered)
        return since, until

    async def settle(self, crowd: Crowd, found: Measured, span: tuple[float, float]) -> None:
        """Times are of what was typed in the span."""
        tally = crowd.tally
        bar = self.progress.add_task("everything is settled and verified", total=None)
        try:
            await crowd.settle()
        except Unsettled as trouble:
            found.trouble = str(trouble)
        visible, acknowledged = tally.visible.of(*span), tally.acknowledged.of(*span)
        found.visible_p50_ms, found.visible_p99_ms = (1000 * percentile(visible, percent) for percent in (50, 99))
        found.ack_p50_ms, found.ack_p99_ms = (1000 * percentile(acknowledged, percent) for percent in (50, 99))
        verdict = await verify(self.pinned, crowd)
        found.acked_lost, found.doubled, found.diverged = verdict.acked_lost, verdict.doubled, verdict.diverged
        found.keys, found.acked = crowd.keys, sum(len(client.acked) for client in crowd.clients)
        found.refused, found.nacks, found.closes = tally.refused, dict(tally.nacks), dict(tally.closes)
        found.gaps, found.lagging = tally.gaps, tally.lagging
        self.progress.remove_task(bar)


def plain(found: Measured) -> dict[str, Any]:
    """As it stands in JSON."""

    def rounded(value: Any) -> Any:
        if isinstance(value, float):
            return round(value, 3)
        if isinstance(value, dict):
            return {str(key): rounded(below) for key, below in value.items()}
        return value

    made: dict[str, Any] = rounded(asdict(found))
    return made
