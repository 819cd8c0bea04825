"""The generator's eye on itself: figures of a generator that could not keep up are not figures of the router."""

import asyncio
import contextlib
import gc
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.router.tally import percentile

BEAT_S: Final = 0.01
BUSY_MOST: Final = 0.9
LAG_MOST_MS: Final = 20.0
TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Load:
    """Shares of a core: our own process, its whole core, the core of the system; `lag_p99_ms` of our loop."""

    own: float
    core: float
    system_core: float
    lag_p99_ms: float

    @property
    def bottleneck(self) -> bool:
        return self.core > BUSY_MOST or self.lag_p99_ms > LAG_MOST_MS

    @property
    def words(self) -> str:
        if not self.bottleneck:
            return ""
        return (
            f"THE GENERATOR WAS THE BOTTLENECK: its core {self.core:.0%} busy, {self.own:.0%} with itself, "
            f"its loop late by {self.lag_p99_ms:.0f} ms"
        )


class Meter:
    def __init__(self, core: int, system_core: int) -> None:
        self.load = Load(0.0, 0.0, 0.0, 0.0)
        self.seconds = 0.0
        self._core, self._system_core = core, system_core
        self._late: list[float] = []

    @contextlib.asynccontextmanager
    async def measuring(self) -> AsyncIterator[None]:
        """`load` is of the time in here. No garbage is collected meanwhile: that would be a pause of ours."""
        gc.collect()
        gc.freeze()
        gc.disable()
        self._late = []
        beating = asyncio.create_task(self._beat())
        own, busy, began = time.process_time(), self._busy(), time.perf_counter()
        try:
            yield
        finally:
            beating.cancel()
            self.seconds = time.perf_counter() - began
            core, system_core = (after - before for after, before in zip(self._busy(), busy, strict=True))
            self.load = Load(
                (time.process_time() - own) / self.seconds, core / self.seconds, system_core / self.seconds,
                1000 * percentile(sorted(self._late), 99),
            )  # fmt: skip
            gc.enable()
            gc.unfreeze()

    async def _beat(self) -> None:
        now = time.monotonic
        while True:
            before = now()
            await asyncio.sleep(BEAT_S)
            self._late.append(max(0.0, now() - before - BEAT_S))

    def _busy(self) -> tuple[float, float]:
        """Seconds that the two cores were not idle, whoever used them."""
        found: dict[str, float] = {}
        for line in Path("/proc/stat").read_text().splitlines():
            name, *fields = line.split()
            if name.startswith("cpu") and name != "cpu":
                numbers = [int(field) for field in fields[:8]]
                found[name] = (sum(numbers) - numbers[3] - numbers[4]) * TICK_S
        return found[f"cpu{self._core}"], found[f"cpu{self._system_core}"]
