"""docs/dependencies.md has one sentence for each dependency, and for no other."""

import json
import re
import tomllib
from typing import Any

import pytest

from tests.docs.pages import DOCS, ROOT

PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT: dict[str, Any] = PYPROJECT["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
HEADINGS = {
    "embedded": "Extra `embedded`: services that come along",
    "loadtest": "Extra `loadtest`",
    "build": "Extra `build`",
    "benchmark": "Extra `benchmark`",
    "dev": "Extra `dev`",
}


def _names(requirements: list[str]) -> list[str]:
    names = [re.split(r"[\[<>=~! ]", requirement, maxsplit=1)[0].lower() for requirement in requirements]
    return sorted(name for name in names if name != PROJECT["name"])


def _said(heading: str) -> list[str]:
    section = DOCS["dependencies"].section(heading)
    entries = re.split(r"^- ", section, flags=re.MULTILINE)[1:]
    for entry in entries:
        name, _, sentence = entry.partition(": ")
        assert sentence.strip().endswith("."), name
        assert len(re.findall(r"\.(?:\s|$)", sentence.strip())) == 1, f"one sentence: {entry}"
    return sorted(name for entry in entries for name in re.findall(r"\*\*([^*]+)\*\*", entry))


def test_what_runs() -> None:
    assert _said("To run") == _names(PROJECT["dependencies"])


@pytest.mark.parametrize("extra", list(EXTRAS))
def test_extras(extra: str) -> None:
    assert _said(HEADINGS[extra]) == _names(EXTRAS[extra])


def test_what_builds_is_what_checks_and_runs() -> None:
    """A wheel is compiled by the versions that the tests compile with."""
    known = {*PROJECT["dependencies"], *EXTRAS["dev"]}
    assert [requirement for requirement in PYPROJECT["build-system"]["requires"] if requirement not in known] == []


def test_npm() -> None:
    package: dict[str, Any] = json.loads((ROOT / "sdk" / "package.json").read_text("utf-8"))
    wanted = {*package["dependencies"], *package["peerDependencies"], *package["devDependencies"]}
    assert _said("npm, of the TypeScript client") == sorted(wanted)
