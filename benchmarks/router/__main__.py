"""A classroom at one router: how many people fit, how fast, at what cost, and what a storm and slow readers do.

Starts the whole product, durable as always, on the first core that it may use, and types from the last: with two cores,
all of the product shares one and the generator has the other. Every part has a system of its own. Twenty of the clients
are full ones; at the end of every run what was acknowledged has to be in the log once, and every copy equal.

python -m benchmarks.router
python -m benchmarks.router --only classroom --clients 100,300,500,1000
python -m benchmarks.router --only storm,slow --json
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks.report import machine, parser
from benchmarks.router.idle import SOCKETS, Idle, idle
from benchmarks.router.measured import Course, Measured, plain
from benchmarks.router.pinned import started, tools_of
from benchmarks.router.rooms import COSTED, HUNDRED, largest_room, most_documents, room
from benchmarks.router.shown import show
from benchmarks.router.slow import Slow, slow
from benchmarks.router.storm import CLIENTS as STORM_CLIENTS
from benchmarks.router.storm import Storm, storm
from tests.support.system import System

PARTS: Final = ("hundred", "classroom", "documents", "storm", "slow", "idle")


@dataclass(frozen=True, slots=True)
class Options:
    parts: list[str]
    clients: list[int]
    seconds: float
    storm_clients: int
    sockets: int
    joins_per_s: float


@dataclass(slots=True)
class Results:
    """`runs` are all runs of typing, by part."""

    runs: dict[str, list[Measured]] = field(default_factory=dict)
    largest_room: int | None = None
    most_documents: int | None = None
    storm: Storm | None = None
    slow: Slow | None = None
    idle: Idle | None = None
    strays: list[str] = field(default_factory=list)

    def teller(self, part: str) -> Callable[[Measured], None]:
        return self.runs.setdefault(part, []).append

    @property
    def all_runs(self) -> list[Measured]:
        return [run for runs in self.runs.values() for run in runs]


async def measure(part: str, running: tuple[System, int, int], options: Options, results: Results) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        async with tools_of(running) as pinned:
            course = Course(pinned, progress, seconds=options.seconds, joins_per_s=options.joins_per_s)
            results.strays += pinned.strays()
            await _measure(part, course, options, results)
            results.strays += pinned.strays()


async def _measure(part: str, course: Course, options: Options, results: Results) -> None:
    tell = results.teller(part)
    match part:
        case "hundred":
            for clients in (HUNDRED, COSTED):
                tell(await room(course, clients))
        case "classroom" if options.clients:
            for clients in options.clients:
                tell(await room(course, clients))
        case "classroom":
            results.largest_room = await largest_room(course, tell)
        case "documents":
            results.most_documents = await most_documents(course, tell)
        case "storm":
            results.storm = await storm(course, options.storm_clients)
            tell(results.storm.measured)
        case "slow":
            results.slow = await slow(course)
            tell(results.slow.without)
            tell(results.slow.among)
        case "idle":
            results.idle = await idle(course, options.sockets)


def summary(results: Results) -> dict[str, Any]:
    """Under the keys that are kept from version to version; only those of the parts that were run."""
    found: dict[str, Any] = {}
    if results.largest_room is not None:
        found["classroom_max_clients"] = results.largest_room
    if results.most_documents is not None:
        found["documents_max"] = results.most_documents
    if hundred := results.runs.get("hundred"):
        small, costed = hundred
        found["p50_ms_at_100"] = round(small.visible_p50_ms, 2)
        found["p99_ms_at_100"] = round(small.visible_p99_ms, 2)
        found["bytes_per_delivered"] = round(costed.bytes_per_delivered, 2)
    if results.storm:
        found["storm_resume_s"] = round(results.storm.resume_s, 2)
        found["storm_owner_cpu_ratio"] = round(results.storm.owner_cpu_ratio, 2)
    if results.slow:
        found["slow_reader_p99_ratio"] = round(results.slow.p99_ratio, 3)
    if results.idle:
        found["idle_socket_kb"] = round(results.idle.socket_kb, 2)
    found["acked_lost"] = sum(run.acked_lost for run in results.all_runs)
    found["doubled"] = sum(run.doubled for run in results.all_runs)
    found["diverged"] = sum(run.diverged for run in results.all_runs)
    found["generator_bottlenecks"] = sum(run.generator.bottleneck for run in results.all_runs)
    found["runs"] = {part: [plain(run) for run in runs] for part, runs in results.runs.items() if runs}
    if results.storm:
        found["storm"] = {name: value for name, value in asdict(results.storm).items() if name != "measured"}
    if results.slow:
        found["slow"] = {
            name: value for name, value in asdict(results.slow).items() if name not in ("without", "among")
        }
    if results.idle:
        found["idle"] = asdict(results.idle)
    return found


def main() -> int:
    options_parser = parser("router", __doc__ or "")
    options_parser.add_argument("--only", default=",".join(PARTS), help=f"some of {', '.join(PARTS)}")
    options_parser.add_argument(
        "--clients", default="", help="a curve of classrooms of so many clients, in place of the search for the largest"
    )
    options_parser.add_argument("--seconds", type=float, default=15.0, help="measured of each run (default 15)")
    options_parser.add_argument("--storm-clients", type=int, default=STORM_CLIENTS, help="default 2000")
    options_parser.add_argument("--sockets", type=int, default=SOCKETS, help="that idle (default 10000)")
    options_parser.add_argument(
        "--joins-per-s", type=float, default=150.0,
        help="pace at which clients come (default 150, below the 400 a second that a router admits by default)",
    )  # fmt: skip
    given = options_parser.parse_args()
    parts = given.only.split(",")
    if unknown := [part for part in parts if part not in PARTS]:
        options_parser.error(f"there is no {unknown[0]}; there are {', '.join(PARTS)}")
    clients = [int(number) for number in given.clients.split(",") if number]
    options = Options(parts, clients, given.seconds, given.storm_clients, given.sockets, given.joins_per_s)
    results = Results()
    for part in parts:  # each on a system of its own: memory that one took is not another's
        with started() as running:
            uvloop.run(measure(part, running, options, results))
    found = summary(results)
    show(found, results.strays)
    if given.json:
        print(json.dumps({**found, **machine()}))
    whole = all(run.whole or part in ("classroom", "documents") for part, runs in results.runs.items() for run in runs)
    return 0 if whole and not (found["acked_lost"] or found["doubled"]) else 1


if __name__ == "__main__":
    sys.exit(main())
