"""What a rolling restart refuses, in which words; tests/integration/test_restart.py does one."""

import asyncio
import json
import os
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster import restart
from cluster.cli import app
from cluster.processes import Child, ProcessId, identify, spawn
from cluster.restart import CannotRestart, NothingRuns, RollingRestart
from cluster.supervisor import RunState, write_state
from tests.support.services import short_folder

SLEEPS = ["sleep", "600"]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(restart, "BACK_TIMEOUT_S", 0.2)
    monkeypatch.setattr(restart, "STOP_TIMEOUT_S", 2.0)
    with short_folder() as path:
        yield path


@pytest.fixture
def run(folder: Path) -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def start() -> Child:
        children.append(spawn("part", SLEEPS))
        return children[-1]

    yield start
    for child in children:
        child.kill()


def me() -> ProcessId:
    found = identify(os.getpid())
    assert found
    return found


def write(folder: Path, hosts: dict[str, int], routers: dict[str, Child], wanted: list[str]) -> None:
    parts = {name: child.id for name, child in routers.items() if child.id}
    write_state(folder / "state.json", RunState(me(), str(folder), parts, hosts, [], wanted))


def refused(work: Coroutine[None, None, object]) -> str:
    with pytest.raises(CannotRestart) as error:
        asyncio.run(work)
    return str(error.value)


def test_nothing_runs(folder: Path) -> None:
    with pytest.raises(NothingRuns):
        RollingRestart(folder, lambda part, does: None)
    done = CliRunner().invoke(app, ["restart", "--data", str(folder), "--json"])
    assert done.exit_code == 3
    found = json.loads(done.stdout)
    assert (found["restarted"], found["problem"]) == ([], f"Nothing runs on {folder}.")


def test_the_controller_is_first_then_hosts_then_routers_by_number(folder: Path, run: Callable[..., Child]) -> None:
    hosts = {name: os.getpid() for name in ("host-10", "host-2", "controller")}
    write(folder, hosts, {"router-1": run(), "router-0": run()}, list(hosts))
    rolling = RollingRestart(folder, lambda part, does: None)
    assert rolling.parts == ["controller", "host-2", "host-10", "router-0", "router-1"]


def test_nothing_is_restarted_while_somebody_is_away(folder: Path) -> None:
    write(folder, {"host-0": os.getpid()}, {}, ["host-0", "host-1"])
    rolling = RollingRestart(folder, lambda part, does: None)
    said = refused(rolling.restart("host-0"))
    assert "host-1 does not serve now" in said
    assert str(folder / "logs" / "host-1.log") in said


def test_two_restarts_at_a_time_are_one_too_many(folder: Path) -> None:
    write(folder, {}, {}, [])
    first, second = (RollingRestart(folder, lambda part, does: None) for _ in range(2))
    with first.alone(), pytest.raises(CannotRestart, match="under way"), second.alone():
        pass
    with second.alone():
        pass


def test_a_host_that_cannot_be_told_is_left_alone(folder: Path, run: Callable[..., Child]) -> None:
    """For instance one in a Ray of the operator's."""
    child = run()
    write(folder, {"host-0": child.pid}, {}, ["host-0"])
    said = refused(RollingRestart(folder, lambda part, does: None).restart("host-0"))
    assert "host-0" in said
    assert "cannot be told to restart" in said
    assert child.exit_code is None


def test_a_router_that_does_not_come_back_is_said(folder: Path, run: Callable[..., Child]) -> None:
    child = run()
    write(folder, {}, {"router-0": child}, [])
    does: list[str] = []
    said = refused(RollingRestart(folder, lambda part, what: does.append(what)).restart("router-0"))
    assert "router-0 did not come back" in said
    assert str(folder / "logs" / "router-0.log") in said
    assert child.exit_code is not None
    assert does == ["stops", "starts"]
