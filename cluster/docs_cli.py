"""`coscribe docs`: looks after what is stored, with the stores as they run."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from cluster.config import Settings, load, unknown
from cluster.data_folder import CannotStart
from cluster.display import Terminal

if TYPE_CHECKING:
    from persistence.audit import Finding
    from persistence.audit_stores import AuditStores
    from persistence.auditor import DocumentAudit

docs = typer.Typer(help="Look after stored documents.", no_args_is_help=True, rich_markup_mode="rich")
out = Terminal()
err = Terminal(stderr=True)

FOUND: Final = 1
CANNOT_READ: Final = 2
LISTED_MOST: Final = 1_000  # findings of all documents; further ones are counted

EXAMPLES = """Examples:

coscribe docs verify notes

coscribe docs verify --all --data /var/lib/coscribe

coscribe docs verify --all --json | jq .findings
"""


@docs.callback()
def _group() -> None:
    """Look after stored documents."""


@dataclass(slots=True)
class Summary:
    documents: int = 0
    sections: int = 0
    entries: int = 0
    snapshots: int = 0
    findings: "list[Finding]" = field(default_factory=list)
    unlisted: int = 0
    seconds: float = 0.0

    def add(self, found: "DocumentAudit") -> None:
        self.documents += 1
        self.sections += found.sections
        self.entries += found.entries
        self.snapshots += found.snapshots
        room = LISTED_MOST - len(self.findings)
        self.findings += found.findings[:room]
        self.unlisted += found.unlisted + len(found.findings[room:])

    @property
    def whole(self) -> bool:
        return not self.findings


@docs.command(epilog=EXAMPLES)
def verify(
    documents: Annotated[list[str] | None, typer.Argument(metavar="DOCUMENT", show_default=False)] = None,
    every: Annotated[bool, typer.Option("--all", help="Every document, deleted ones too.")] = False,
    data: Annotated[Path | None, typer.Option(help="Folder for everything that is kept (.coscribe).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Prove that what is stored of documents is whole.

    Reads every entry in Postgres and Redis: none is missing, doubled or out of
    order, both stores agree, and each snapshot is what its entries lead to. It
    changes nothing, and people may type meanwhile.

    Exit code 0: all is whole. 1: something was found. 2: it cannot be read.
    """
    from persistence.records import ConfigurationError, Unavailable

    if every == bool(documents):
        raise typer.BadParameter("name documents, or say --all")
    try:
        for sentence in unknown(os.environ):
            err.print(f"Warning: {sentence}", highlight=False)
        summary = asyncio.run(_verify(*_addresses(load(data=data)), documents, err if not as_json else None))
    except (CannotStart, ConfigurationError, Unavailable) as error:
        err.print(Text(str(error)), soft_wrap=True)
        raise typer.Exit(CANNOT_READ) from None
    if as_json:
        out.print_json(json.dumps(_as_json(summary)))
    else:
        _show(summary)
    raise typer.Exit(0 if summary.whole else FOUND)


def _addresses(settings: Settings) -> tuple[str, str]:
    """Of Redis and Postgres: those of the settings, else the private ones that run on the data folder."""
    from cluster.postgres import postgres_url
    from cluster.processes import is_running
    from cluster.supervisor import read_state
    from cluster.valkey import valkey_url

    if settings.redis_url and settings.postgres_url:
        return settings.redis_url.get_secret_value(), settings.postgres_url.get_secret_value()
    state = read_state(settings.data / "state.json")
    if state is None or not is_running(state.up):
        raise CannotStart(
            f"Nothing runs on {settings.data}. Start it with `coscribe up`, or give the addresses of its Redis and "
            "Postgres with COSCRIBE_REDIS_URL and COSCRIBE_POSTGRES_URL."
        )
    missing = [
        variable
        for variable, given, part in (
            ("COSCRIBE_REDIS_URL", settings.redis_url, "Valkey"),
            ("COSCRIBE_POSTGRES_URL", settings.postgres_url, "Postgres"),
        )
        if given is None and part not in state.parts
    ]
    if missing:
        raise CannotStart(f"What runs on {settings.data} has services of yours: give {' and '.join(missing)} too.")
    runtime = Path(state.runtime)
    redis, postgres = settings.redis_url, settings.postgres_url
    return (
        redis.get_secret_value() if redis else valkey_url(settings.data, runtime),
        postgres.get_secret_value() if postgres else postgres_url(settings.data, runtime),
    )


async def _verify(redis_url: str, postgres_url: str, named: Sequence[str] | None, shown: Console | None) -> Summary:
    from persistence.audit_stores import open_stores
    from persistence.auditor import audit_document

    summary, began = Summary(), time.monotonic()
    async with open_stores(redis_url, postgres_url) as stores:
        total = len(named) if named else await stores.count()
        with _progress(shown) if shown and shown.is_terminal else nullcontext() as progress:
            bar = progress.add_task("", total=total, entries=0) if progress else None

            def read(entries: int) -> None:
                if progress and bar is not None:
                    progress.update(bar, entries=progress.tasks[0].fields["entries"] + entries)

            async for document, incarnation in _wanted(stores, named):
                if progress and bar is not None:
                    progress.update(bar, description=document if len(document) <= 24 else document[:23] + "…")
                summary.add(await audit_document(stores, document, incarnation, read))
                if progress and bar is not None:
                    progress.advance(bar)
    summary.seconds = time.monotonic() - began
    return summary


def _progress(console: Console) -> Progress:
    columns = (
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("{task.fields[entries]:,} entries"),
        TimeElapsedColumn(),
        TextColumn("{task.description}", style="dim", markup=False),
    )
    return Progress(*columns, console=console, transient=True)


async def _wanted(stores: "AuditStores", named: Sequence[str] | None) -> AsyncIterator[tuple[str, str]]:
    if not named:
        async for found in stores.documents():
            yield found
        return
    known = {name: await stores.document(name) for name in dict.fromkeys(named)}
    if unknown_ones := [name for name, lives in known.items() if not lives]:
        raise CannotStart(f"There is no document {' and no document '.join(unknown_ones)}.")
    for lives in known.values():
        for life in lives:
            yield life


def _as_json(summary: Summary) -> dict[str, Any]:
    return {"whole": summary.whole} | asdict(summary) | {"seconds": round(summary.seconds, 3)}


def _show(summary: Summary) -> None:
    if summary.findings:
        table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
        table.add_column("document", overflow="fold", max_width=24)
        table.add_column("section", justify="right")
        table.add_column("revision", justify="right")
        table.add_column("code", style="red")
        table.add_column("what", overflow="fold")
        for found in summary.findings:
            table.add_row(Text(found.document), found.section, str(found.revision), found.code, Text(found.words))
        out.print(table, highlight=False)
        out.print()
    count = len(summary.findings) + summary.unlisted
    table = Table("documents", "sections", "entries", "snapshots", "findings", box=None, pad_edge=False)
    table.header_style = "bold"
    for column in table.columns:
        column.justify = "right"
    numbers = (summary.documents, summary.sections, summary.entries, summary.snapshots)
    table.add_row(*(f"{number:,}" for number in numbers), Text(f"{count:,}", style="red" if count else "green"))
    out.print(table, highlight=False)
    out.print()
    listed = f", {summary.unlisted:,} of them not listed" if summary.unlisted else ""
    end = "Whole" if summary.whole else f"Not whole: {count:,} findings{listed}"
    end = "Not whole: 1 finding" if count == 1 else end
    style = "bold green" if summary.whole else "bold red"
    out.print(Text(end, style=style), Text(f"after {summary.seconds:.1f} s."), highlight=False)
