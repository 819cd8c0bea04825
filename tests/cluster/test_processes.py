"""Processes of ours: named by pid and start, in sessions of their own, ended with their parent."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import msgspec
import pytest

from cluster.processes import (
    Child,
    ProcessId,
    command_line,
    descendants,
    end,
    has_ended,
    identify,
    is_running,
    process_name,
    spawn,
)  # fmt: skip
from cluster.supervisor import (
    QUICK_RESTARTS,
    Part,
    RunState,
    Supervisor,
    end_leftovers,
    read_state,
    running_parts,
    write_state,
)
from tests.cluster.waiting import until

SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)",
]
# Starts a child and tells its pid, then sleeps.
PARENT = """
import sys, time
from cluster.processes import spawn
child = spawn("child", [sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


async def test_a_child_has_its_own_session_and_ends_when_told(tmp_path: Path) -> None:
    child = spawn("sleeper", SLEEPS, log=tmp_path / "log")
    assert os.getsid(child.pid) == child.pid
    assert child.id == identify(child.pid)
    assert await child.stop() == -signal.SIGTERM
    assert identify(child.pid) is None


NAME_ITSELF = "from cluster.processes import process_name; print(process_name(), flush=True); input()"


async def test_a_process_that_named_itself_is_known_to_be_gone_once_it_is() -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", NAME_ITSELF, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout
    name = (await child.stdout.readline()).decode().strip()
    assert not has_ended(name)
    child.kill()
    await child.wait()
    assert has_ended(name)
    boot, namespace, _, started = name.split("/")
    assert has_ended(f"{boot}/{namespace}/{os.getpid()}/{started}"), "another process has its number now"


@pytest.mark.parametrize("place", [0, 1])
def test_of_a_process_elsewhere_nothing_is_known(place: int) -> None:
    """On another machine, or in another container: the number may be anybody's there."""
    parts = process_name().split("/")
    parts[2] = "4194303"
    assert has_ended("/".join(parts))
    parts[place] += "0"
    assert not has_ended("/".join(parts))


@pytest.mark.parametrize("name", ["", "nonsense", "a/b", "a/b/c"])
def test_nothing_is_known_of_who_told_no_name(name: str) -> None:
    assert not has_ended(name)


async def test_a_child_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    child = spawn("deaf", DEAF, log=tmp_path / "log")
    await until(lambda: (tmp_path / "log").read_text() == "deaf\n")
    assert await child.stop(((signal.SIGTERM, 0.1), (signal.SIGKILL, 5.0))) == -signal.SIGKILL


async def test_a_program_that_is_not_there_says_so(tmp_path: Path) -> None:
    child = spawn("nothing", ["/no/such/program"], log=tmp_path / "log")
    assert await child.wait() == 1
    assert (tmp_path / "log").read_text() == "/no/such/program cannot be started: No such file or directory\n"


async def test_children_end_with_a_parent_that_is_killed() -> None:
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout
    child = identify(int(await parent.stdout.readline()))
    assert child
    # The launcher asks for the signal right after its start; from then on it is the program.
    await until(lambda: "launch.py" not in " ".join(command_line(child.pid)))
    assert [process.pid for process in descendants(parent.pid)] == [child.pid]
    parent.kill()
    await until(lambda: not is_running(child))
    await parent.wait()


async def test_a_reused_pid_is_left_alone() -> None:
    child = spawn("innocent", SLEEPS)
    assert child.id
    earlier = ProcessId(child.pid, child.id.started - 1, child.id.boot)
    other_boot = msgspec.structs.replace(child.id, boot="another")
    assert await end([earlier, other_boot]) == []
    assert is_running(child.id)
    assert await end([child.id]) == [child.id]
    assert await child.wait() == -signal.SIGTERM


async def test_what_a_killed_up_left_is_ended_but_nothing_of_one_that_runs(tmp_path: Path) -> None:
    me, left = identify(os.getpid()), spawn("left", SLEEPS)
    assert me
    assert left.id
    gone = msgspec.structs.replace(me, started=me.started - 1)
    file = tmp_path / "state.json"
    assert await end_leftovers(file) == 0
    write_state(file, RunState(me, "", {"left": left.id}, {"host-0": 1}, []))
    assert file.stat().st_mode & 0o777 == 0o600
    assert await end_leftovers(file) == 0
    assert running_parts(file) == {"up": me.pid, "left": left.pid, "host-0": 1}
    write_state(file, RunState(gone, "", {"left": left.id}, {}, [gone]))
    assert running_parts(file) == {}
    assert await end_leftovers(file) == 1
    assert await left.wait() == -signal.SIGTERM


def test_a_state_file_that_makes_no_sense_is_no_state(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"up": 1}')
    assert read_state(tmp_path / "state.json") is None


class Supervised:
    """A part that a supervisor keeps."""

    def __init__(self, *commands: list[str]) -> None:
        self.said: list[str] = []
        self.children: list[Child] = []
        self._commands = list(commands)
        self.part = Part("sleeper", self._start)
        self.supervisor = Supervisor(self.said.append, lambda: None)

    async def _start(self) -> Child:
        self.children.append(spawn("sleeper", self._commands[min(len(self.children), len(self._commands) - 1)]))
        return self.children[-1]


async def test_who_dies_is_started_again_with_a_message() -> None:
    bench = Supervised(SLEEPS)
    keeping = asyncio.create_task(bench.supervisor.keep(bench.part))
    await bench.part.ready.wait()
    bench.children[0].process.kill()
    await until(lambda: len(bench.children) == 2)
    assert bench.said == ["sleeper was killed by SIGKILL. It is started again."]
    keeping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await keeping
    assert bench.children[1].exit_code is None, "cancelling does not stop the part"
    await bench.supervisor.stop(bench.part)
    assert bench.children[1].exit_code == -signal.SIGTERM


async def test_who_dies_again_and_again_is_not_started_in_a_rush(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.supervisor.FIRST_PAUSE_S", 0.05)
    bench = Supervised(["/no/such/program"])
    keeping = asyncio.create_task(bench.supervisor.keep(bench.part))
    began = time.monotonic()
    await until(lambda: len(bench.children) == QUICK_RESTARTS + 4)
    assert time.monotonic() - began > 0.05 + 0.1 + 0.2
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    for child in bench.children:
        await child.wait()
