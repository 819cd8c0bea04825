"""`coscribe up` for its operator: what dies comes back, what stops leaves nothing, what cannot start says why."""

import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.processes import ProcessId, command_line, descendants, identify, is_running, program
from tests.support.services import short_folder
from tests.support.system import START_TIMEOUT_S, System

pytestmark = pytest.mark.system
ENDED_TIMEOUT_S = 30


def everything(system: System) -> list[ProcessId]:
    """`up` and all that descends from it."""
    up = identify(system.state()["up"]["pid"])
    assert up
    return [up, *descendants(up.pid)]


def wait_ended(processes: list[ProcessId]) -> None:
    deadline = time.monotonic() + ENDED_TIMEOUT_S
    while left := [process for process in processes if is_running(process)]:
        assert time.monotonic() < deadline, [command_line(process.pid) for process in left]
        time.sleep(0.02)


def ray_server(system: System, name: str) -> int:
    found = [process.pid for process in descendants(system.pid("Ray")) if program(process.pid) == name]
    assert len(found) == 1
    return found[0]


@pytest.fixture
def own() -> Iterator[System]:
    """One that is not started yet."""
    with short_folder() as folder:
        system = System(folder, hosts=1)
        try:
            yield system
        finally:
            system.abandon()


@pytest.mark.parametrize("part", ["router-0", "Valkey", "Postgres", "host-0", "controller"])
def test_a_part_that_is_killed_comes_back(system: System, part: str) -> None:
    before = system.kill(part)

    def another() -> bool:
        state = system.state()
        pid = state["hosts"].get(part) or state["parts"].get(part, {}).get("pid", before)
        return pid != before and identify(pid) is not None

    system.wait_for(another)
    system.wait_for(system.ready)
    assert f"{part} was killed by SIGKILL" in system.output or f"{part} (process {before}) ended" in system.output


@pytest.mark.parametrize("server", ["raylet", "gcs_server"])
def test_a_ray_that_lost_a_server_is_replaced(system: System, server: str) -> None:
    ray = system.pid("Ray")
    hosts = dict(system.state()["hosts"])
    os.kill(ray_server(system, server), signal.SIGKILL)
    system.wait_for(lambda: system.pid("Ray") != ray)
    system.wait_for(system.ready)
    assert not set(hosts.values()) & set(system.state()["hosts"].values())
    assert f"Ray's {server} ended. Hosts go on." in system.output
    assert "did not stop by itself" not in system.output


def test_ray_runs_without_the_servers_that_nobody_uses(system: System) -> None:
    """It costs memory and time; an upgrade of Ray that brings them back is noticed here."""
    lines = [" ".join(command_line(process.pid)) for process in everything(system)]
    assert [line for line in lines if "monitor.py" in line or "dashboard/dashboard.py" in line] == []


def test_what_runs_is_written_down_for_the_owner_only(system: System) -> None:
    state = system.data / "state.json"
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert set(system.state()["hosts"]) == {"controller", "host-0", "host-1"}
    told = subprocess.run(
        [system.command()[0], "status", "--data", str(system.data)], capture_output=True, text=True, check=True
    )
    for part in ("up", "Valkey", "Postgres", "Ray", "router-0", "host-0", "controller"):
        assert part in told.stdout


def test_no_secret_is_on_a_command_line(system: System) -> None:
    secrets = [file.read_text() for file in (system.data / "secrets").iterdir()]
    assert len(secrets) >= 5
    for process in everything(system):
        line = " ".join(command_line(process.pid))
        assert not [secret for secret in secrets if secret in line]


def refused(system: System) -> str:
    """What an `up` says that must not start."""
    run = subprocess.run(system.command(), capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    return run.stderr


def test_a_second_up_on_the_same_data_is_refused(system: System) -> None:
    up = system.state()["up"]["pid"]
    assert f"Coscribe is already running on {system.data} (process {up})" in refused(system)
    assert system.ready()


def test_a_busy_port_is_said_before_anything_starts(own: System) -> None:
    with socket.create_server(("127.0.0.1", own.port)):
        assert f"Cannot listen on 127.0.0.1 port {own.port}: Address already in use" in refused(own)
    assert not (own.data / "logs").exists()


def test_a_service_that_is_not_there_is_said(own: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSCRIBE_POSTGRES_URL", f"postgresql://me:hunter2@127.0.0.1:{own.port}/x")
    said = refused(own)
    assert f"Postgres at 127.0.0.1:{own.port}" in said
    assert "hunter2" not in said


def test_after_a_kill_9_the_next_start_works_and_its_stop_leaves_nothing(own: System) -> None:
    own.start()
    killed, first_runtime = everything(own), own.state()["runtime"]
    os.kill(killed[0].pid, signal.SIGKILL)
    own.abandon()
    own.start()  # at once: what the first left is ended, or ends, before the second uses the data
    processes, runtime = everything(own), own.state()["runtime"]
    wait_ended(killed)
    own.stop()
    assert [process for process in processes if is_running(process)] == []
    assert not Path(runtime).exists()
    assert not Path(first_runtime).exists()
    assert not (own.data / "state.json").exists()
    phases = [line.split("  ")[1] for line in own.output.splitlines() if "Stopp" in line]
    assert phases == [
        "Stopping: routers close their sockets.",
        "Stopping: hosts hand off and flush.",
        "Stopping: Ray.",
        "Stopping: Postgres.",
        "Stopping: Valkey.",
        "Stopped.",
    ]


def test_a_stop_during_the_start_leaves_nothing(own: System) -> None:
    with subprocess.Popen(own.command(), stdout=subprocess.DEVNULL, start_new_session=True) as process:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not any("gcs_server" in " ".join(command_line(child.pid)) for child in descendants(process.pid)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        processes = descendants(process.pid)
        process.terminate()
        assert process.wait(60) == 0
    assert [process for process in processes if is_running(process)] == []


def test_a_second_signal_hastens(own: System) -> None:
    own.start()
    processes = everything(own)
    os.kill(own.pid("Ray"), signal.SIGSTOP)  # an ordered stop would wait for it
    up = own.state()["up"]["pid"]
    os.kill(up, signal.SIGINT)
    own.wait_for(lambda: "hosts hand off" in own.output)
    began = time.monotonic()
    os.kill(up, signal.SIGINT)
    wait_ended(processes)
    assert time.monotonic() - began < 10
    own.abandon()
    assert "Hastened" in own.output
