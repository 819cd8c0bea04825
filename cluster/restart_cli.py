"""`coscribe restart`: what the operator sees of a rolling restart."""

import asyncio
import json
import os
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from cluster.config import load, unknown
from cluster.data_folder import CannotStart
from cluster.display import Terminal

if TYPE_CHECKING:
    from cluster.restart import Restarted

out = Terminal()
err = Terminal(stderr=True)

STOPPED_SHORT: Final = 1
NOTHING_RUNS: Final = 3

EXAMPLES = """Examples:

coscribe restart

coscribe restart --data /var/lib/coscribe

coscribe restart --json | jq .restarted
"""


def restart(
    data: Annotated[Path | None, typer.Option(help="Folder for everything that is kept (.coscribe).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Restart the controller, hosts and routers, one after the other, while people type.

    Each stops in order and is started again, with the code that is installed
    now; the next has its turn once it serves. Hosts hand their documents over,
    clients of a router connect again: nobody loses an edit. `coscribe up`
    itself, Ray, Redis and Postgres go on as they are, settings too.

    Exit code 0: all were restarted. 1: one was not, nor those after it.
    3: nothing runs.
    """
    from cluster.restart import CannotRestart, NothingRuns

    done: list[Restarted] = []
    began = time.monotonic()
    problem = ""
    try:
        for sentence in unknown(os.environ):
            err.print(f"Warning: {sentence}", highlight=False)
        asyncio.run(_restart(load(data=data).data.absolute(), done, None if as_json else out))
    except NothingRuns as error:
        problem, code = str(error), NOTHING_RUNS
    except (CannotStart, CannotRestart) as error:
        problem, code = str(error), STOPPED_SHORT
    seconds = round(time.monotonic() - began, 3)
    if as_json:
        found = {"restarted": [asdict(each) for each in done], "seconds": seconds, "problem": problem or None}
        out.print_json(json.dumps(found))
    elif problem:
        err.print(Text(problem), soft_wrap=True)
    else:
        out.print(Text("All restarted", style="bold green"), Text(f"in {seconds:.1f} s."), highlight=False)
    if problem:
        raise typer.Exit(code)


async def _restart(data: Path, done: "list[Restarted]", shown: Console | None) -> None:
    from cluster.restart import RollingRestart

    with _progress(shown) if shown and shown.is_terminal else nullcontext() as progress:
        bar = progress.add_task("", total=None) if progress else None

        def tell(part: str, does: str) -> None:
            if progress and bar is not None:
                progress.update(bar, description=f"{part} {does}")

        rolling = RollingRestart(data, tell)
        if progress and bar is not None:
            progress.update(bar, total=len(rolling.parts))
        with rolling.alone():
            for part in rolling.parts:
                found = await rolling.restart(part)
                done.append(found)
                if shown:
                    line = (
                        f"{part} serves again after {found.seconds:.1f} s (process {found.before}, now {found.after})"
                    )
                    shown.print(Text(line), soft_wrap=not shown.is_terminal)
                if progress and bar is not None:
                    progress.advance(bar)


def _progress(console: Console) -> Progress:
    columns = (
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", style="dim", markup=False),
    )
    return Progress(*columns, console=console, transient=True)
