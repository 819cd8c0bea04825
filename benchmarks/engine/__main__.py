"""The merge engine, plain and compiled, against pycrdt, loro, quill-delta and diamond-types: one run, medians, ratios.

Every engine does the same work in a process of its own, one after another, several rounds of it. A ratio is of two
times of the same round, and the median of the rounds is shown: more than 1 is quicker than the other.

python -m benchmarks.engine
python -m benchmarks.engine --rounds 5 --json
python -m benchmarks.engine --write docs/performance.md     (replaces the tables there)

It takes some four minutes, and half a minute more to compile the engine when that has changed. Leave the machine alone
meanwhile. The histories are looked for where COSCRIBE_TRACES says.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.engine import node, workloads
from benchmarks.report import machine, parser
from tests.support.traces import FOLDER

ROOT: Final = Path(__file__).parents[2]
COMPILED: Final = ROOT / "build" / "compiled"
BUILDS: Final = ("pure", "compiled")
PLAIN: Final = "automerge-paper"
RICH: Final = "rich-json-crdt-blog-post"

Seconds = dict[str, float]


@dataclass(frozen=True, slots=True)
class Round:
    """What each process told in one round, in seconds an operation."""

    ours: dict[str, Seconds]  # by build
    crdts: Seconds
    npm: Seconds


@dataclass(frozen=True, slots=True)
class Row:
    """One measure. `of` answers from a round, for one build; the marks are for the plain and the compiled one."""

    key: str
    words: str
    marks: tuple[float, float] | None
    of: Callable[[Round, str], float]


def against_npm(ours: str, theirs: str) -> Callable[[Round, str], float]:
    return lambda a_round, build: a_round.npm[theirs] / a_round.ours[build][ours]


def against_crdt(name: str) -> Callable[[Round, str], float]:
    return lambda a_round, build: a_round.crdts[name] / a_round.ours[build][f"submit {PLAIN}"]


def within(slow: str, quick: str) -> Callable[[Round, str], float]:
    return lambda a_round, build: a_round.ours[build][slow] / a_round.ours[build][quick]


ROWS: Final = (
    Row("submit_vs_pycrdt", f"{PLAIN}, submit, against pycrdt applying updates", (2.5, 6), against_crdt("pycrdt")),
    Row(
        "submit_vs_quill_delta", "… against quill-delta's compose", (8, 16),
        against_npm(f"submit {PLAIN}", f"submit {PLAIN}"),
    ),
    Row("submit_vs_loro", "… against loro importing updates", (6, 12), against_crdt("loro")),
    Row(
        "submit_vs_diamond_types", "… against diamond-types (wasm, plain text)", None,
        against_npm(f"submit {PLAIN}", "diamond-types"),
    ),
    *(
        Row(
            f"merge_vs_quill_delta_{behind}", f"merge over {behind:,} entries, 100 kB, against quill-delta", marks,
            against_npm(f"merge 100000 {behind}", f"merge 100000 {behind}"),
        )
        for behind, marks in zip(workloads.BEHIND, ((15, 50), (60, 300), (300, 1600)), strict=True)
    ),
    *(
        Row(
            f"merge_and_remember_vs_quill_delta_{behind}", f"… and remembered, the oldest of {behind:,} let go", None,
            against_npm(f"merge and remember 100000 {behind}", f"merge and remember 100000 {behind}"),
        )
        for behind in workloads.BEHIND
    ),
    Row("merge_1mb_vs_10kb", "merge over 10 entries, 10 kB against 1 MB", (0.6, 0.6),
        within("merge 10000 10", "merge 1000000 10")),
    Row(
        "rich_vs_quill_delta", "rich history applied, against quill-delta", (80, 250),
        against_npm(f"apply {RICH}", f"submit {RICH}"),
    ),
    Row(
        "rich_submit_vs_quill_delta", "… submitted (decoded and remembered too)", None,
        against_npm(f"submit {RICH}", f"submit {RICH}"),
    ),
    Row(
        "friendsforever_txns_per_s", "friendsforever, both authors' sides, transactions a second", (40_000, 90_000),
        lambda a_round, build: 1 / a_round.ours[build]["at once"],
    ),
    Row("offline_vs_stepwise", "1,000 × 1,000 offline operations, step by step against composed", (100, 100),
        within("offline stepwise", "offline composed")),
    Row(
        "section_ops_per_s", "all that a section does with an operation, operations a second", None,
        lambda a_round, build: 1 / a_round.ours[build]["section"],
    ),
)  # fmt: skip


@dataclass(slots=True)
class Result:
    rounds: list[Round] = field(default_factory=list)
    memory: dict[str, dict[str, float]] = field(default_factory=dict)  # by engine

    def value(self, row: Row, build: str) -> float:
        return statistics.median(row.of(a_round, build) for a_round in self.rounds)

    def microseconds(self, build: str, name: str) -> float:
        return 1e6 * statistics.median(a_round.ours[build][name] for a_round in self.rounds)


class Lab:
    """Starts the processes. Each prints one JSON object as its last line."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._node = node.find_node()

    def ours(self, mode: str, build: str) -> dict[str, Any]:
        environment = {**os.environ, "PYTHONPATH": str(COMPILED) if build == "compiled" else ""}
        answer = self._run([sys.executable, "-P", "-m", "benchmarks.engine.ours", mode, str(self._folder)], environment)
        assert answer["engine"] == build, f"the {answer['engine']} engine ran where the {build} one should"
        return answer

    def crdts(self, mode: str, *which: str) -> dict[str, Any]:
        return self._run([sys.executable, "-P", "-m", "benchmarks.engine.crdts", mode, str(self._folder), *which], None)

    def npm(self, mode: str, *which: str) -> dict[str, Any]:
        script = str(node.HOME / "peers.mjs")
        return self._run([str(self._node), "--expose-gc", script, mode, str(self._folder), *which], None)

    def _run(self, command: list[str], environment: dict[str, str] | None) -> dict[str, Any]:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise OSError(f"{' '.join(command[:4])} failed:\n{done.stderr[-2000:]}")
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer


def measure(rounds: int) -> Result:
    result = Result()
    subprocess.run([sys.executable, str(ROOT / "hatch_build.py"), str(COMPILED)], check=True, stdout=sys.stderr)
    node.install()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="coscribe-engine-") as name,
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
    ):
        bar = progress.add_task("Writing what is to be done", total=4 * rounds + 2 + 2 * len(workloads.TRACES))
        folder = Path(name)
        workloads.write(FOLDER, folder)
        lab = Lab(folder)

        def step(words: str, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
            progress.update(bar, description=words)
            answer = run()
            progress.advance(bar)
            return answer

        for number in range(1, rounds + 1):
            words = f"Round {number}: "
            ours = {build: step(words + build, lambda build=build: lab.ours("speed", build)) for build in BUILDS}  # type: ignore[misc]
            crdts = step(words + "pycrdt, loro", lambda: lab.crdts("speed"))
            npm = step(words + "npm", lambda: lab.npm("speed"))
            for what, proof in npm["proofs"].items():
                assert all(ours[build]["proofs"][what] == proof for build in BUILDS), f"{what}: another text"
            seconds = {build: ours[build]["seconds"] for build in BUILDS}
            result.rounds.append(Round(seconds, crdts["seconds"], npm["seconds"]))
        for build in BUILDS:
            result.memory[build] = step("Memory", lambda build=build: lab.ours("memory", build))["memory"]  # type: ignore[misc]
        for engine, process in (("pycrdt", lab.crdts), ("quill-delta", lab.npm)):
            result.memory[engine] = {
                name: step("Memory", lambda name=name, process=process: process("memory", name))["memory"]  # type: ignore[misc]
                for name in workloads.TRACES
            }
    return result


# --- Telling ---


def facts() -> dict[str, str]:
    return {
        **machine(),
        "cores": str(os.cpu_count()),
        "node": node.node_version(node.find_node()),
        "pycrdt": version("pycrdt"),
        "loro": version("loro"),
        **node.versions(),
    }


def as_json(result: Result) -> dict[str, object]:
    figures: dict[str, object] = {
        build: {
            "compiled": build == "compiled",
            **{row.key: round(result.value(row, build), 3) for row in ROWS},
            "microseconds": {name: round(result.microseconds(build, name), 3) for name in result.rounds[0].ours[build]},
        }
        for build in BUILDS
    }
    memory = {
        engine: {name: round(value, 2) for name, value in found.items()} for engine, found in result.memory.items()
    }
    return {**figures, "memory_bytes": memory, "rounds": len(result.rounds), **facts()}


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def speed_rows(result: Result) -> list[list[str]]:
    rows = [["measure", "pure", "compiled", "mark, pure", "mark, compiled"]]
    for row in ROWS:
        cells = [number(result.value(row, build)) for build in BUILDS]
        marks = ["", ""] if row.marks is None else [f"≥ {mark:,g}" for mark in row.marks]
        if row.key == "submit_vs_diamond_types":
            marks = ["", "≥ 1 (stretch)"]
        rows.append([row.words, *cells, *marks])
    return rows


def memory_rows(result: Result) -> list[list[str]]:
    entries = [number(result.memory[build]["entry"]) for build in BUILDS]
    return [
        ["bytes a UTF-16 unit, after all edits", *result.memory],
        *([name, *(number(found[name]) for found in result.memory.values())] for name in workloads.TRACES),
        ["bytes an entry in the history window", *entries, *[""] * (len(result.memory) - len(entries))],
    ]


def table(title: str, rows: list[list[str]]) -> Table:
    made = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for position, name in enumerate(rows[0]):
        made.add_column(name, justify="left" if position == 0 else "right")
    for row in rows[1:]:
        made.add_row(*row)
    return made


def markdown(rows: list[list[str]]) -> str:
    ruled = [rows[0], ["---", *["---:"] * (len(rows[0]) - 1)], *rows[1:]]
    return "\n".join("| " + " | ".join(row) + " |" for row in ruled)


def write(path: Path, result: Result) -> None:
    """Replaces what stands between the markers in a document."""
    words = ", ".join(f"{name} {value}" for name, value in facts().items())
    text = "\n\n".join(
        [
            f"Medians of {len(result.rounds)} rounds; {words}.",
            markdown(speed_rows(result)),
            markdown(memory_rows(result)),
        ]
    )
    document, count = re.subn(
        r"(<!-- benchmarks\.engine -->\n).*?(<!-- end -->)",
        lambda found: f"{found[1]}\n{text}\n\n{found[2]}",
        path.read_text(),
        flags=re.DOTALL,
    )
    if count != 1:
        raise SystemExit(f"{path} has no place for the tables: <!-- benchmarks.engine --> … <!-- end -->")
    path.write_text(document)


def main() -> int:
    options_parser = parser("engine", __doc__ or "")
    options_parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured (default 3)")
    options_parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables into a Markdown document")
    options = options_parser.parse_args()
    if options.rounds < 1:
        options_parser.error("--rounds is at least 1")
    try:
        result = measure(options.rounds)
    except OSError as error:
        print(f"The engine cannot be measured: {error}", file=sys.stderr)
        return 1
    console = Console()
    console.print(table("How many times as quick (or a second)", speed_rows(result)))
    console.print(table("Memory", memory_rows(result)))
    console.print(", ".join(f"{name} {value}" for name, value in facts().items()))
    if options.write:
        write(options.write, result)
    if options.json:
        print(json.dumps(as_json(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
