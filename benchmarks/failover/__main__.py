"""Faults under typing clients, many times each: is anything lost, and how long do people wait?

Starts a system of its own (two hosts, two routers). For each run some documents are opened, six clients type into each,
the fault comes, they go on typing, and then everything is settled and audited against Redis and Postgres: every
acknowledged operation is in the log once, at its revision, and all copies are equal.

python -m benchmarks.failover
python -m benchmarks.failover --only host,redis --runs 20 --results failover.jsonl     (resumable)
python -m benchmarks.failover --only handoff --runs 50 --json
"""

import asyncio
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.failover.activation import HISTORIES, activation_seconds
from benchmarks.failover.audit import audit
from benchmarks.failover.crowd import Crowd
from benchmarks.failover.faults import FAULTS, Site
from benchmarks.report import machine, parser
from cluster.postgres import postgres_url
from cluster.valkey import valkey_url
from coscribe.ot import Delta
from persistence.log import RedisLog
from persistence.map_store import RedisMapStore
from persistence.reader import RedisLogReader
from persistence.redis_client import shared_client
from persistence.store import PostgresStore
from tests.support.system import running_system

DOCUMENTS: Final = 3
TEXT_UNITS: Final = 100_000
QUIET_S: Final = 1.5  # typing before and after a fault
ACTIVATION: Final = "activation"
EVERYTHING: Final = (*FAULTS, ACTIVATION)


@dataclass(frozen=True, slots=True)
class Run:
    """One fault, once. `pause_s` is the longest wait of a metronome whose document the fault concerns."""

    fault: str
    acked_lost: int
    doubled: int
    diverged: int
    operations: int
    pause_s: float
    sockets_closed: int


class Bench:
    def __init__(self, site: Site, http: aiohttp.ClientSession, store: PostgresStore, log: RedisLogReader) -> None:
        self._site, self._http, self._store, self._log = site, http, store, log

    async def run(self, fault: str, number: int) -> Run:
        system = self._site.system
        await self._site.whole()
        documents = [f"{fault}-{number}-{time.time_ns()}-{index}" for index in range(DOCUMENTS)]
        tokens = [await asyncio.to_thread(system.guest, name) for name in ("ann", "bob", "cy")]
        crowd = Crowd(self._http, [system.url], tokens, seed=number)
        try:
            await crowd.join(documents)
            crowd.typists[0].client.edit(Delta.replace(0, 0, "lorem ipsum " * (TEXT_UNITS // 12)))
            await asyncio.sleep(QUIET_S)
            victim = await self._site.owner(documents[0])
            concerned = [
                typist
                for typist in crowd.metronomes()
                if fault not in ("host", "stalled_host", "handoff")
                or (await self._site.owner(typist.client.document) == victim and fault != "handoff")
                or typist.client.document == documents[0]
            ]
            connects = sum(typist.client.connects for typist in crowd.typists)
            started = time.perf_counter()
            await FAULTS[fault](self._site, documents[0])
            ended = time.perf_counter()
            await asyncio.sleep(QUIET_S)
            await self._site.whole()
            await asyncio.sleep(QUIET_S)
            await crowd.settle()
            verdicts = [
                await audit(
                    document,
                    [typist for typist in crowd.typists if typist.client.document == document],
                    self._store,
                    self._log,
                )
                for document in documents
            ]
            return Run(
                fault,
                sum(verdict.acked_lost for verdict in verdicts),
                sum(verdict.doubled for verdict in verdicts),
                sum(verdict.diverged for verdict in verdicts),
                sum(len(typist.acked) for typist in crowd.typists),
                max(typist.pause_s(started, ended) for typist in concerned),
                sum(typist.client.connects for typist in crowd.typists) - connects,
            )
        finally:
            await crowd.leave()


@dataclass(slots=True)
class Results:
    runs: list[Run]
    activation_s: dict[int, float]  # by entries of history


async def measure(faults: list[str], runs: int, results: Path | None) -> Results:
    done = (
        [Run(**json.loads(line)) for line in results.read_text().splitlines()] if results and results.exists() else []
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
        running_system(hosts=2, routers=2) as system,
    ):
        runtime = Path(system.state()["runtime"])
        client = shared_client(valkey_url(system.data, runtime))
        store = await PostgresStore.connect(postgres_url(system.data, runtime))
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as http:
            bench = Bench(Site(system, RedisMapStore(client)), http, store, RedisLogReader(client))
            harmful = [fault for fault in faults if fault in FAULTS]
            bar = progress.add_task("", total=len(harmful) * runs)
            for fault in harmful:
                for number in range(runs):
                    progress.update(bar, description=fault, advance=0)
                    if sum(run.fault == fault for run in done) <= number:
                        done.append(await bench.run(fault, number))
                        if results:
                            with results.open("a") as output:
                                output.write(json.dumps(asdict(done[-1])) + "\n")
                    progress.advance(bar)
        activation_s: dict[int, float] = {}
        if ACTIVATION in faults:
            bar = progress.add_task(ACTIVATION, total=sum(HISTORIES))
            log = RedisLog.connect(valkey_url(system.data, runtime))
            activation_s = await activation_seconds(store, log, lambda entries: progress.advance(bar, entries))
            await log.aclose()
        await store.aclose()
        await client.aclose()
    return Results([run for run in done if run.fault in faults], activation_s)


def percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1] if len(values) > 1 else values[0]


def summary(results: Results) -> dict[str, Any]:
    """Under the keys that are kept from version to version."""
    runs = results.runs
    faults: dict[str, dict[str, Any]] = {}
    for fault in dict.fromkeys(run.fault for run in runs):
        of = [run for run in runs if run.fault == fault]
        pauses = [run.pause_s for run in of]
        faults[fault] = {
            "runs": len(of),
            "operations": sum(run.operations for run in of),
            "acked_lost": sum(run.acked_lost for run in of),
            "doubled": sum(run.doubled for run in of),
            "diverged": sum(run.diverged for run in of),
            "pause_p50_s": round(percentile(pauses, 50), 3),
            "pause_p95_s": round(percentile(pauses, 95), 3),
            "sockets_closed": sum(run.sockets_closed for run in of),
        }
    found: dict[str, Any] = {"faults": faults}
    if "host" in faults:
        found["takeover_p95_s"] = faults["host"]["pause_p95_s"]
    if "handoff" in faults:
        pauses = [run.pause_s for run in runs if run.fault == "handoff"]
        found["handoff_pause_p99_ms"] = round(1000 * percentile(pauses, 99), 1)
        found["sockets_closed"] = faults["handoff"]["sockets_closed"]
    if results.activation_s:
        few, many = (results.activation_s[entries] for entries in HISTORIES)
        found["activation_10k_ms"] = round(1000 * few, 2)
        found["activation_1m_vs_10k"] = round(many / few, 3)
    return found


def show(found: dict[str, Any]) -> None:
    table = Table("fault", "runs", "operations", "lost", "doubled", "diverged", "pause, median", "95 %", "sockets lost",
                  box=None, header_style="bold", pad_edge=False)  # fmt: skip
    for column in table.columns[1:]:
        column.justify = "right"
    for fault, of in found["faults"].items():
        table.add_row(
            fault, *(str(of[name]) for name in ("runs", "operations", "acked_lost", "doubled", "diverged")),
            f"{of['pause_p50_s']:.3f} s", f"{of['pause_p95_s']:.3f} s", str(of["sockets_closed"]),
        )  # fmt: skip
    console = Console()
    console.print(table)
    for key, value in found.items():
        if key != "faults":
            console.print(f"{key}: {value}", highlight=False)


def main() -> int:
    options_parser = parser("failover", __doc__ or "")
    options_parser.add_argument("--only", default=",".join(EVERYTHING), help=f"some of {', '.join(EVERYTHING)}")
    options_parser.add_argument("--runs", type=int, default=3, help="of each fault (default 3)")
    options_parser.add_argument(
        "--results", type=Path, help="a file that keeps each run; those that it has are not run"
    )
    options = options_parser.parse_args()
    faults = options.only.split(",")
    if unknown := [fault for fault in faults if fault not in EVERYTHING]:
        options_parser.error(f"there is no {unknown[0]}; there are {', '.join(EVERYTHING)}")
    found = summary(uvloop.run(measure(faults, options.runs, options.results)))
    show(found)
    if options.json:
        print(json.dumps({**found, **machine()}))
    whole = not any(of["acked_lost"] or of["doubled"] or of["diverged"] for of in found["faults"].values())
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
