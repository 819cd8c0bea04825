"""The command line: `coscribe`."""

import asyncio
import errno
import importlib.metadata
import json
import os
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.table import Table
from rich.text import Text

from cluster.config import DURABILITY_WORDS, KEPT_SECRETS, PREFIX, Settings, load, unknown
from cluster.data_folder import CannotStart
from cluster.display import Display, Terminal
from cluster.docs_cli import docs
from cluster.restart_cli import EXAMPLES as RESTART_EXAMPLES
from cluster.restart_cli import restart

app = typer.Typer(
    help="Documents that many people edit at once, on your own machine.",
    epilog="Settings are environment variables too: see `coscribe config`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(docs, name="docs")
app.command(epilog=RESTART_EXAMPLES)(restart)
out = Terminal()
err = Terminal(stderr=True)

Port = Annotated[int | None, typer.Option(help="Port of the editor page and the API (8080).")]
Bind = Annotated[str | None, typer.Option(help="Address to listen on (127.0.0.1).")]
Folder = Annotated[Path | None, typer.Option(help="Folder for everything that is kept (.coscribe).")]
Hosts = Annotated[int | None, typer.Option(help="Shard hosts, which own documents (one a core).")]
Routers = Annotated[int | None, typer.Option(help="Routers, which hold sockets (1).")]
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
EXAMPLES = """Examples:

coscribe up

coscribe up --port 9000 --data /var/lib/coscribe

COSCRIBE_REDIS_URL=redis://:secret@db:6379/0 coscribe up
"""


@app.command(epilog=EXAMPLES)
def up(port: Port = None, bind: Bind = None, data: Folder = None, hosts: Hosts = None, routers: Routers = None) -> None:
    """Start everything, and stop it again with Ctrl-C.

    Redis, Postgres and Ray come along, private to the data folder. The settings
    redis_url, postgres_url and ray_address put yours in their place:
    `coscribe config` lists all settings.
    """
    try:
        settings = _settings(port=port, bind=bind, data=data, hosts=hosts, routers=routers).resolved()
        code = asyncio.run(_up(settings))
    except CannotStart as error:
        _refuse(error)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        _refuse(CannotStart(f"The disk of the data folder has no room: {error}."))
    raise typer.Exit(code)


async def _up(settings: Settings) -> int:
    from cluster.up import up as run

    out.print(f"Coscribe {version_text()}", style="bold", highlight=False)
    return await run(settings, lambda parts: Display(out, parts), lambda: _greet(settings))


def _greet(settings: Settings) -> None:
    from cluster.ports import web_address

    guests = "everyone on this machine may edit, without a token" if settings.guests else "nobody; tokens are needed"
    table = Table.grid(padding=(0, 2))
    table.add_row("Editor", Text(web_address(settings.bind, settings.port), style="bold cyan"))
    table.add_row("Data", Text(str(settings.data), overflow="fold"))
    table.add_row("Durability", f"{settings.durability}: {DURABILITY_WORDS[settings.durability]}")
    table.add_row("Guests", guests)
    table.add_row("Stop", "Ctrl-C")
    out.print()
    out.print(table, highlight=False)
    out.print()


@app.command()
def version(as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False) -> None:
    """Say which version this is, and whether its merge engine is compiled."""
    from coscribe.ot.build import COMPILED, ENGINE

    if as_json:
        out.print_json(json.dumps({"version": version_text(), "engine": ENGINE}))
        return
    out.print(version_text(), highlight=False)
    out.print("engine:", "compiled" if COMPILED else "pure Python", highlight=False)


def version_text() -> str:
    return importlib.metadata.version("coscribe")


@app.command()
def config(
    data: Folder = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Show every setting, as it would be used now. Secrets are hidden."""
    try:
        settings = _settings(data=data).effective()
    except CannotStart as error:
        _refuse(error)
    shown = dict(settings.shown())
    if as_json:
        out.print_json(json.dumps(shown))
        return
    table = Table("variable", "value", "meaning", box=None, pad_edge=False, header_style="bold")
    kept = dict.fromkeys(KEPT_SECRETS, "(kept in secrets/)")
    for name, text in shown.items():
        text = text or kept.get(name, "–")
        meaning = Settings.model_fields[name].description or ""
        table.add_row(PREFIX + name.upper(), Text(text, overflow="fold"), Text(meaning, style="dim"))
    out.print(table)


@app.command()
def status(
    data: Folder = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Say what runs on a data folder. Exit code 3 if nothing does."""
    from cluster.supervisor import running_parts

    try:
        settings = _settings(data=data)
    except CannotStart as error:
        _refuse(error)
    parts = running_parts(settings.data / "state.json")
    if as_json:
        out.print_json(json.dumps({"running": bool(parts), "parts": parts}))
    elif parts:
        table = Table("part", "process", box=None, pad_edge=False, header_style="bold")
        for name, pid in parts.items():
            table.add_row(name, str(pid))
        out.print(table)
    else:
        out.print(f"Nothing runs on {settings.data}.", highlight=False)
    if not parts:
        raise typer.Exit(3)


def _settings(**given: Any) -> Settings:
    for sentence in unknown(os.environ):
        err.print(f"Warning: {sentence}", highlight=False)
    return load(**given)


def _refuse(error: CannotStart) -> NoReturn:
    err.print(Text(str(error)), soft_wrap=True)
    raise typer.Exit(1)


def main() -> None:
    app()
