"""How every benchmark tells its figures: a table for people, and with --json one object as the last line of stdout."""

import argparse
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value under its key; `words` say what it is, `bound` what it should be, if anything."""

    key: str
    value: float
    words: str
    bound: str = ""


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """The command line that all benchmarks share."""
    made = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    return made


def machine() -> dict[str, str]:
    return {"machine": f"{platform.machine()}, {platform.system()}", "python": platform.python_version(),
            "coscribe": version("coscribe")}  # fmt: skip


def show(title: str, figures: list[Figure], *, as_json: bool, more: Mapping[str, object] | None = None) -> None:
    """Print the table, and the object if it is wanted."""
    table = Table("what", "key", "value", "should be", box=None, header_style="bold", pad_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    for figure in figures:
        table.add_row(figure.words, figure.key, f"{figure.value:g}", figure.bound)
    facts = machine()
    console = Console()
    console.print(f"[bold]{title}[/bold]  ({', '.join(facts.values())})")
    console.print(table)
    if as_json:
        print(json.dumps({**{figure.key: figure.value for figure in figures}, **(more or {}), **facts}))
