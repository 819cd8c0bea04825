"""The tables for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.report import machine
from benchmarks.router.meter import Load

CPU: tuple[str, ...] = ("router", "host", "valkey", "postgres", "ray")


def show(found: Mapping[str, Any], strays: Sequence[str]) -> None:
    console = Console(highlight=False)
    console.print(f"[bold]Router[/bold]  ({', '.join(machine().values())})")
    for part, runs in found["runs"].items():
        console.print(_runs(part, runs))
        for run in runs:
            for words in _warnings(run):
                console.print(f"{part}, {run['clients']} clients: {words}")
    for part in ("storm", "slow", "idle"):
        if of := found.get(part):
            console.print(f"{part}: " + ", ".join(f"{name} {value}" for name, value in _flat(of).items()))
    for key, value in found.items():
        if not isinstance(value, dict):
            console.print(f"{key}: {value}")
    if strays:
        console.print(f"NOT PINNED: {len(strays)} threads of the product may run elsewhere, {strays[0]} among them")


def _runs(part: str, runs: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(
        "clients", "edits/s", "visible, 50 and 99 %", "acked, 50 and 99 %", "frames/s", "bytes an edit",
        "CPU % " + " ".join(CPU), "generator CPU, lag 99 %", "lost doubled diverged",
        title=part, title_justify="left", title_style="bold", box=None, header_style="bold", pad_edge=False,
    )  # fmt: skip
    for column in table.columns:
        column.justify = "right"
    for run in runs:
        generator = run["generator"]
        table.add_row(
            str(run["clients"]), f"{run['edits_per_s']:.0f}",
            f"{run['visible_p50_ms']:.1f} {run['visible_p99_ms']:.1f} ms",
            f"{run['ack_p50_ms']:.1f} {run['ack_p99_ms']:.1f} ms",
            f"{run['frames_per_s']:.0f}", f"{run['bytes_per_delivered']:.1f}",
            " ".join(f"{100 * run['cpu'].get(name, 0):.0f}" for name in CPU),
            f"{generator['own']:.0%} {generator['lag_p99_ms']:.1f} ms",
            " ".join(str(run[name]) for name in ("acked_lost", "doubled", "diverged")),
        )  # fmt: skip
    return table


def _warnings(run: Mapping[str, Any]) -> list[str]:
    load = Load(**run["generator"])
    found = [words for words in (load.words, run["trouble"]) if words]
    others = load.system_core - sum(run["cpu"].values())
    if others > 0.05:
        found.append(f"others had {others:.0%} of the product's core")
    found += [f"{name}: {run[name]}" for name in ("refused", "nacks", "closes", "gaps", "lagging") if run[name]]
    return found


def _flat(of: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in of.items()}
