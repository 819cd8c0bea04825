"""The first look at a whole system: how long it takes to start, and how long an edit takes, two clients, nothing else.

python -m benchmarks.smoke
python -m benchmarks.smoke --edits 2000 --json
"""

import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import aiohttp
import uvloop

from benchmarks.report import Figure, parser, show
from benchmarks.running import Running
from coscribe.client import DocumentClient
from coscribe.ot import Delta
from coscribe.session import Acknowledged, Changed, Event

WARM_UP: Final = 100


class Stopwatch:
    """Times from an edit to its acknowledgement and to its arrival at the other client, in seconds."""

    def __init__(self) -> None:
        self.sent_at = 0.0
        self.ack_s: list[float] = []
        self.visible_s: list[float] = []

    def typist(self, event: Event) -> None:
        if isinstance(event, Acknowledged):
            self.ack_s.append(time.perf_counter() - self.sent_at)

    def watcher(self, event: Event) -> None:
        if isinstance(event, Changed):
            self.visible_s.append(time.perf_counter() - self.sent_at)


async def measure(running: Running, http: aiohttp.ClientSession, edits: int) -> Stopwatch:
    """Type one character after another, each once the one before has arrived."""
    watch = Stopwatch()
    tokens = [await running.token(name) for name in ("typist", "watcher")]
    async with (
        DocumentClient(http, running.url, "smoke", token=tokens[0], on_event=watch.typist) as typist,
        DocumentClient(http, running.url, "smoke", token=tokens[1], on_event=watch.watcher) as watcher,
    ):
        await typist.joined()
        await watcher.joined()
        for number in range(WARM_UP + edits):
            watch.sent_at = time.perf_counter()
            typist.edit(Delta.replace(number, 0, "abcdefghij"[number % 10]))
            await typist.settled()
            await watcher.wait_for(lambda number=number: len(watch.visible_s) > number)  # type: ignore[misc]
        assert typist.content == watcher.content, "both clients read the same"
    return watch


async def run(edits: int) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="coscribe-smoke-") as folder:
        async with aiohttp.ClientSession() as http:
            running = Running(Path(folder) / "data", _free_port(), http)
            try:
                startup_s = await running.start()
                watch = await measure(running, http, edits)
                await running.stop()
                restart_s = await running.start()
            finally:
                await running.stop()
    ack_ms = [1000 * seconds for seconds in watch.ack_s[WARM_UP:]]
    visible_ms = [1000 * seconds for seconds in watch.visible_s[WARM_UP:]]
    return [
        Figure("edit_to_visible_p50_ms", _percentile(visible_ms, 50), "edit to visible at the other client, median"),
        Figure("edit_to_visible_p99_ms", _percentile(visible_ms, 99), "… 99th percentile"),
        Figure("edit_to_ack_p50_ms", _percentile(ack_ms, 50), "edit to acknowledgement (on disk), median"),
        Figure("startup_s", round(startup_s, 2), "first start to the first document read"),
        Figure("restart_s", round(restart_s, 2), "start on a data folder that is there", "< 15"),
    ]


def _percentile(values: list[float], percent: int) -> float:
    return round(statistics.quantiles(values, n=100)[percent - 1], 3)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> int:
    options_parser = parser("smoke", __doc__ or "")
    options_parser.add_argument("--edits", type=int, default=1000, help="edits to measure (default 1000)")
    options = options_parser.parse_args()
    figures = uvloop.run(run(options.edits))
    show("Smoke: 2 clients, quiet system", figures, as_json=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
