"""Commands in the pages are there, with the options that they are given."""

import argparse
import importlib
import re
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from typer.main import get_command

from cluster.cli import app as cli
from tests.docs.pages import DOCS, PAGES, README, ROOT


def _commands() -> list[Any]:
    """Each command line of a shell block, and what stands in backticks and looks like one."""
    found = []
    for page in PAGES:
        lines = [line for block in page.blocks if block.language == "sh" for line in _lines(block.text)]
        inline = re.findall(r"`((?:make|coscribe|\.venv/bin/coscribe|python -m) [^`]+)`", page.prose)
        found += [pytest.param(line, id=f"{page}: {line[:50]}") for line in dict.fromkeys([*lines, *inline])]
    return found


def _lines(text: str) -> list[str]:
    return text.replace("\\\n", " ").splitlines()


@pytest.mark.parametrize("line", _commands())
def test_commands_are_there(line: str) -> None:
    if inner := re.fullmatch(r"(?:export )?[A-Z]+=\$\((.+)\)", line):
        line = inner[1]
    arguments = shlex.split(line)
    while arguments and re.match(r"[A-Z_]+=", arguments[0]):
        arguments.pop(0)  # a variable for the program, or alone
    if arguments:
        program = arguments[0].removeprefix(".venv/bin/")
        assert program in CHECKS, f"{program}: who checks this?"
        CHECKS[program](arguments[1:])


def _make(arguments: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE)
    assert arguments[0] in targets
    for argument in arguments[1:]:
        name, _, value = argument.partition("=")
        assert re.search(rf"^{name} +\?=", makefile, re.MULTILINE), name
        if name == "ARGS":
            _coscribe(["up", *shlex.split(value)])


def _coscribe(arguments: list[str]) -> None:
    command: Any = get_command(cli)
    while hasattr(command, "commands"):
        assert arguments[0] in command.commands
        command, arguments = command.commands[arguments[0]], arguments[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {argument for argument in arguments if argument.startswith("-")} <= known


def _python(arguments: list[str]) -> None:
    if arguments[0] == "-c":
        compile(arguments[1], "example", "exec")
        return
    assert arguments[0] == "-m"
    if arguments[1] == "benchmarks.NAME":
        return
    module = importlib.import_module(arguments[1])
    if (parser := PARSERS.get(arguments[1])) is not None:
        said = parser(module)
        assert {argument for argument in arguments[2:] if argument.startswith("-")} <= said


def _options_of(make: Callable[[], object]) -> set[str]:
    """The options of a parser that a function makes before it reads the command line."""
    found: list[argparse.ArgumentParser] = []

    def caught(self: argparse.ArgumentParser, *_: object, **__: object) -> None:
        found.append(self)
        raise SystemExit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", caught)
        with pytest.raises(SystemExit):
            make()
    return set(found[0]._option_string_actions) - {"-h", "--help"}


PARSERS: dict[str, Callable[[Any], set[str]]] = {
    "loadtests.replay": lambda module: _options_of(lambda: module._options(None)),
    "tests.fuzz": lambda module: _options_of(importlib.import_module("tests.fuzz.__main__").main),
    "tests.ot.conformance": lambda module: _options_of(module.main),
    "benchmarks.proxy": lambda module: _options_of(module.main),
    "benchmarks.router": lambda _: _options_of(importlib.import_module("benchmarks.router.__main__").main),
    "benchmarks.smoke": lambda module: _options_of(module.main),
}


def _elsewhere(arguments: list[str]) -> None:
    """A program of the machine's or of a service: its commands were tried by hand."""


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "cat": _elsewhere,
    "make": _make,
    "coscribe": _coscribe,
    "python": _python,
    "curl": _elsewhere,
    "npm": _elsewhere,
    "cp": _elsewhere,
    "nginx": _elsewhere,
    "$BIN/pg_dump": _elsewhere,
    "$BIN/pg_restore": _elsewhere,
}


def test_options_of_a_replay() -> None:
    rows = [row[0].strip("`") for row in DOCS["load-testing"].table("Replaying a history")]
    assert set(rows) == PARSERS["loadtests.replay"](importlib.import_module("loadtests.replay"))


def test_keys_of_the_smoke_benchmark() -> None:
    source = (ROOT / "benchmarks" / "smoke.py").read_text("utf-8")
    rows = [row[0].strip("`") for row in DOCS["load-testing"].table("Benchmarks")]
    assert rows == re.findall(r'Figure\("(\w+)"', source)


def test_keys_and_faults_of_the_failover_benchmark() -> None:
    source = (ROOT / "benchmarks" / "failover" / "__main__.py").read_text("utf-8")
    rows = [row[0].strip("`") for row in DOCS["load-testing"].table("Faults and hand-offs")]
    assert rows == ["faults", *re.findall(r'found\["(\w+)"\] =', source)]
    for fault in importlib.import_module("benchmarks.failover.faults").FAULTS:
        assert f"`{fault}`" in (ROOT / "docs" / "load-testing.md").read_text("utf-8")


def test_keys_parts_and_options_of_the_router_benchmark() -> None:
    source = (ROOT / "benchmarks" / "router" / "__main__.py").read_text("utf-8")
    section = DOCS["load-testing"].section("A classroom at one router")
    written = [
        word for row in re.findall(r"^\| (`.+?`) \|", section, re.MULTILINE) for word in re.findall("`(.+?)`", row)
    ]
    module = importlib.import_module("benchmarks.router.__main__")
    options = PARSERS["benchmarks.router"](module)
    keys = re.findall(r'found\["(\w+)"\] =', source)
    assert sorted(written) == sorted([*module.PARTS, *options, *keys])


def test_what_the_readme_shows_of_the_start_is_what_is_printed() -> None:
    shown = next(block for block in README.blocks if block.text.startswith("Editor"))
    labels = [line.split()[0] for line in shown.text.splitlines()]
    source = (ROOT / "cluster" / "cli.py").read_text("utf-8")
    assert labels == re.findall(r'table\.add_row\("(\w+)",', source)
