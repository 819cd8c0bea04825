"""Recorded histories through the whole product: exact to the end, over restarts and over a host that is killed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.system import System
from tests.support.traces import trace_path

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


def command(system: System, trace: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "loadtests.replay", str(trace), "--url", system.url, "--json", *options]


def replay(system: System, trace: Path, *options: str) -> dict[str, Any]:
    done = subprocess.run(command(system, trace, *options), capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
    return found


@pytest.mark.parametrize("name", ["sveltecomponent", "friendsforever_flat", "rich-json-crdt-blog-post"])
def test_one_author(system: System, name: str) -> None:
    found = replay(system, trace_path(name), "--speed", "max", "--document", f"one-{name}")
    assert found["as_recorded"]


def test_two_authors_at_once(system: System) -> None:
    found = replay(system, trace_path("friendsforever"), "--speed", "max")
    assert found["copies_equal"]
    assert found["every_operation_once"]


def test_one_history_typed_by_three_clients_in_turns(system: System) -> None:
    assert replay(system, trace_path("sveltecomponent"), "--speed", "max", "--clients", "3")["as_recorded"]


def test_a_document_outlives_a_stop_of_everything(system: System) -> None:
    trace = trace_path("rich-json-crdt-blog-post")
    replay(system, trace, "--speed", "max", "--document", "yesterday")
    system.stop()
    system.start()
    replay(system, trace, "--document", "yesterday", "--check")


def test_a_killed_host_loses_and_doubles_nothing(system: System) -> None:
    trace = trace_path("friendsforever_flat")
    with subprocess.Popen(
        command(system, trace, "--document", "killed", "--speed", "100"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        owner = _owner(system, "killed", least=500)
        system.kill(owner)
        output, errors = running.communicate(timeout=250)
    assert running.returncode == 0, output + errors
    assert json.loads(output.splitlines()[-1])["as_recorded"]
    system.wait_for(system.ready)


def _owner(system: System, document: str, least: int) -> str:
    """The host that owns the document, once it has accepted some operations."""
    token = system.guest()

    def far_enough() -> bool:
        found = system.get(f"/v1/documents/{document}", token)
        return found is not None and found["sections"][0]["revision"] >= least

    system.wait_for(far_enough)
    return next(host for host in ("host-0", "host-1") if f"document={document} " in system.log(host))
