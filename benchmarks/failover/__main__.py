"""Faults under typing clients, many times each: is anything lost, and how long do people wait?

Starts a system of its own (two hosts, two routers). For each run some documents are opened, six clients type into each,
the fault comes, they go on typing, and then everything is settled and audited against Redis and Postgres: every
acknowledged operation is in the log once, at its revision, and all copies are equal.

python -m benchmarks.failover
python -m benchmarks.failover --only host,redis --runs 20 --results failover.jsonl     (resumable)
python -m benchmarks.failover --only handoff --runs 50 --json
python -m benchmarks.failover --only controller_long,gcs_long --runs 1      (ten minutes each; not among the others)
"""

import json
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.failover.activation import HISTORIES, activation_seconds
from benchmarks.failover.bench import Run, bench_of
from benchmarks.failover.faults import FAULTS, HEARTBEAT_S, LONG, MINUTES
from benchmarks.report import machine, parser
from cluster.postgres import postgres_url
from cluster.valkey import valkey_url
from persistence.log import RedisLog
from persistence.store import PostgresStore
from tests.support.system import running_system

ACTIVATION: Final = "activation"
EVERYTHING: Final = (*FAULTS, ACTIVATION)
KNOWN: Final = (*EVERYTHING, *LONG)


@dataclass(slots=True)
class Results:
    runs: list[Run]
    activation_s: dict[int, float]  # by entries of history


async def measure(faults: list[str], runs: int, results: Path | None, minutes: float) -> Results:
    done = (
        [Run(**json.loads(line)) for line in results.read_text().splitlines()] if results and results.exists() else []
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
        running_system(hosts=2, routers=2, settings={"heartbeat_s": HEARTBEAT_S}) as system,
    ):
        async with bench_of(system, minutes) as bench:
            harmful = [fault for fault in faults if fault in FAULTS or fault in LONG]
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
            runtime = Path(system.state()["runtime"])
            store = await PostgresStore.connect(postgres_url(system.data, runtime))
            log = RedisLog.connect(valkey_url(system.data, runtime))
            activation_s = await activation_seconds(store, log, lambda entries: progress.advance(bar, entries))
            await log.aclose()
            await store.aclose()
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
    options_parser.add_argument("--only", default=",".join(EVERYTHING), help=f"some of {', '.join(KNOWN)}")
    options_parser.add_argument("--runs", type=int, default=3, help="of each fault (default 3)")
    options_parser.add_argument(
        "--minutes", type=float, default=MINUTES, help=f"how long {' and '.join(LONG)} last (default {MINUTES:g})"
    )
    options_parser.add_argument(
        "--results", type=Path, help="a file that keeps each run; those that it has are not run"
    )
    options = options_parser.parse_args()
    faults = options.only.split(",")
    if unknown := [fault for fault in faults if fault not in KNOWN]:
        options_parser.error(f"there is no {unknown[0]}; there are {', '.join(KNOWN)}")
    found = summary(uvloop.run(measure(faults, options.runs, options.results, options.minutes)))
    show(found)
    if options.json:
        print(json.dumps({**found, **machine()}))
    whole = not any(of["acked_lost"] or of["doubled"] or of["diverged"] for of in found["faults"].values())
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
