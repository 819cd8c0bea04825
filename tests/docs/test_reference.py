"""Every setting, metric, code, route, key and table is in its page, and none that is not."""

import ast
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from prometheus_client.metrics_core import Metric
from typer.main import get_command

from cluster.cli import app as cli
from cluster.config import Settings
from coscribe import protocol
from coscribe.names import SectionKey
from coscribe.ot import Limits
from coscribe.protocol import CloseCode, NackCode
from persistence import keys, tickets
from persistence.audit import Code
from persistence.migrate import known_migrations
from persistence.records import Answer
from persistence.redis_checks import Durability
from router.http_api import HttpApi
from router.metrics import RouterMetrics
from tests.docs.pages import DOCS, ROOT, words

# --- docs/operations.md ---


def _default(name: str) -> str:
    if name == "hosts":
        return "one a core, at most 8"
    shown = dict(Settings.model_construct().shown())[name]
    return "–" if shown is None else f"`{shown}`"


def test_settings() -> None:
    rows = {words(row[0])[0]: row[1] for row in DOCS["operations"].table("Settings")}
    assert list(rows) == list(Settings.model_fields)
    assert rows == {name: _default(name) for name in rows}


def test_durability_levels() -> None:
    rows = [words(row[0])[0] for row in DOCS["operations"].table("Durability")]
    assert rows == list(get_args(Durability))


def _name(metric: Metric) -> str:
    return metric.name + "_total" if metric.type == "counter" else metric.name


def test_metrics() -> None:
    router: Any = SimpleNamespace(rooms={}, connections={}, waiting={}, view=1)
    found = {
        _name(metric): metric.type
        for metric in RouterMetrics(router).registry.collect()
        if not metric.name.endswith("_created")
    }
    rows = {words(row[0])[0]: row[1] for row in DOCS["operations"].table("Health and metrics") if len(row) == 3}
    assert rows == found


def test_commands() -> None:
    rows = {words(row[0])[0]: row[1] for row in DOCS["operations"].table("Commands")}
    commands = dict(_commands("coscribe", get_command(cli)))
    assert set(rows) == set(commands)
    for name, found in commands.items():
        options = {option for parameter in found.params for option in parameter.opts if option.startswith("--")}
        assert set(re.findall(r"--[\w-]+", rows[name])) == options - {"--help"}, name


def _commands(name: str, found: Any) -> Iterator[tuple[str, Any]]:
    """Those of groups too."""
    if not hasattr(found, "commands"):
        yield name, found
        return
    for word, below in found.commands.items():
        yield from _commands(f"{name} {word}", below)


def test_codes_of_findings() -> None:
    rows = [row[0].strip("`") for row in DOCS["operations"].table("Verifying what is stored")]
    assert [row for row in rows if not row.isdigit()] == list(get_args(Code))


# --- docs/protocol.md ---


def test_nack_codes() -> None:
    rows = {words(row[0])[0]: words(row[2])[0] for row in DOCS["protocol"].table("Nack codes")}
    assert rows == {code.value: code.retry.value for code in NackCode}


def test_close_codes() -> None:
    rows = [int(row[0]) for row in DOCS["protocol"].table("Close codes")]
    assert rows == sorted(CloseCode)


def test_close_codes_that_end_a_client_say_so() -> None:
    from coscribe.policy import STOPS

    said = {int(row[0]) for row in DOCS["protocol"].table("Close codes") if row[2] == "stops"}
    raises = {CloseCode.UNAUTHENTICATED, CloseCode.FORK}  # the page names these two beside the table
    assert said == STOPS - raises


def test_problem_codes() -> None:
    rows = {words(row[0])[0] for row in DOCS["protocol"].table("Problems")}
    assert rows == _problem_codes()


def _problem_codes() -> set[str]:
    found = {"not_found"}  # of the HTTP server as well
    for path in (ROOT / "router").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem":
                code = node.args[1]
                if isinstance(code, ast.Constant):
                    assert isinstance(code.value, str)
                    found.add(code.value)
    return found


def test_routes() -> None:
    api = HttpApi.__new__(HttpApi)  # its routes need nothing of it
    found = {f"{route.method} {re.sub(r':[^}]+', '', route.path)}" for route in api.routes()}
    found.add("GET /v1/documents/{document}/socket")
    assert {
        words(row[0])[0] for row in DOCS["protocol"].table("HTTP API") if words(row[0])[0][:3] in ("GET", "POS")
    } == (found)


def test_every_message_has_its_heading() -> None:
    page = DOCS["protocol"]
    client = {cls.__struct_config__.tag for cls in get_args(protocol.ClientMessage)}
    server = {cls.__struct_config__.tag for cls in get_args(protocol.ServerMessage)} | {"Entries"}
    assert _subheadings(page.section("Client to server")) == client
    assert _subheadings(page.section("Server to client")) == server


def _subheadings(section: str) -> set[str]:
    return {heading.strip("`") for heading in re.findall(r"^### (.+)$", section, re.MULTILINE)}


# --- docs/architecture.md and docs/engine.md ---


def test_keys_and_channels() -> None:
    key = SectionKey("<id>", "<inc>", "<section>")
    found = [
        keys.CLUSTER_MAP,
        keys.CLUSTER_MAP_NOTICE,
        keys.lease("<host>"),
        keys.DIRTY,
        keys.ROUTERS,
        tickets._PREFIX + "<ticket>",
        keys.document("<id>"),
        keys.meta(key),
        keys.stream(key),
        keys.live(key),
        keys.channel(key),
        keys.presence("<id>", "<inc>"),
        *keys.roster("<id>", "<inc>"),
        keys.client("<id>", "<inc>", "<client>"),
    ]
    assert [words(row[0])[0] for row in DOCS["architecture"].table("Redis")] == found


def test_tables() -> None:
    made = re.findall(r"^CREATE TABLE (\w+)", "\n".join(m.sql for m in known_migrations()), re.MULTILINE)
    rows = [words(row[0])[0] for row in DOCS["architecture"].table("Postgres")]
    assert rows == [*made, "schema_migrations"]


def test_answers_of_the_commit_script() -> None:
    rows = [words(row[0])[0] for row in DOCS["architecture"].table("The way of one edit")]
    assert rows == [answer.value for answer in Answer]


def test_limits_of_the_engine() -> None:
    rows = {words(row[0])[-1]: int(row[1].replace(",", "")) for row in DOCS["engine"].table("Limits and refusals")}
    limits = Limits()
    assert rows == {name: getattr(limits, name) for name in Limits.__dataclass_fields__}


@pytest.mark.parametrize(
    ("name", "module", "texts"),
    [
        ("architecture", "actors.section_actor", {"UNCOMMITTED_MOST": "5,000", "HELD_MOST": "1,000"}),
        ("architecture", "actors.questions", {"SNAPSHOT_LAG": "64"}),
        ("architecture", "coscribe.section", {"BATCH_ENTRIES": "500"}),
        ("architecture", "persistence.script_calls", {"ROUND_TRIP_CALLS": "128"}),
        ("architecture", "cluster.ring", {"POINTS_PER_WEIGHT": "160"}),
        ("architecture", "router.room", {"RING_ENTRIES": "4,096"}),
    ],
)
def test_numbers(name: str, module: str, texts: dict[str, str]) -> None:
    """A number that changes in the code changes here."""
    import importlib

    found = importlib.import_module(module)
    for constant, text in texts.items():
        assert f"{getattr(found, constant):,}" == text
        assert text in DOCS[name].text
