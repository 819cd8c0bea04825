"""`coscribe up` and its Ray child, with a stand-in for the child: who takes over from whom, and who is stopped how."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cluster import ray_child
from cluster.data_folder import CannotStart
from cluster.ray_child import RayChild
from cluster.supervisor import QUICK_RESTARTS, Pauses
from tests.cluster.waiting import until
from tests.support.services import short_folder

SIGNALS = ((signal.SIGTERM, 20.0), (signal.SIGKILL, 5.0))

# Says what cluster/ray_runtime.py says, for one host and the controller. Who holds the lock of the file `place` serves.
STAND_IN = """
import fcntl, json, os, signal, sys, time
folder, parts = sys.argv[1], ["controller", "host-0"]
plan = open(folder + "/plan").read().split(",")
number = len([name for name in os.listdir(folder) if name.startswith("begun")])
open(f"{folder}/begun-{number}", "w").close()
behaviour = plan[number]
place = open(folder + "/place", "a")
def tell(kind, **more):
    print(json.dumps({"type": kind, **more}), flush=True)
def stop(*_):
    fcntl.flock(place, fcntl.LOCK_UN)
    open(f"{folder}/stopped-{number}", "w").close()
    tell("hosts_stopped")
    time.sleep(0.2)  # Ray itself ends some time after its hosts
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
tell("ray", version="1")
sys.stdin.readline()
if behaviour == "ends":
    sys.exit(1)
while behaviour == "hangs":
    signal.pause()
if behaviour == "ails before it serves":
    tell("degraded", reason="Ray's raylet ended.")
for name in parts:
    tell("waiting", name=name)
while True:
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
    except OSError:
        time.sleep(0.01)
for name in parts:
    tell("serving", name=name, pid=os.getpid())
if behaviour == "serves and ails":
    tell("degraded", reason="Ray's raylet ended.")
while True:
    signal.pause()
"""


class Bench:
    def __init__(self, folder: Path, plan: list[str]) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.cleared = 0
        (folder / "plan").write_text(",".join(plan))
        self.ray = RayChild(folder / "ray.log", 2, {}, self.said.append, lambda: None, self._clear_up)

    async def _clear_up(self) -> None:
        self.cleared += 1

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()

    async def stop(self) -> None:
        await self.ray.stop(SIGNALS, lambda: self.said.append("hosts stopped"))


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with short_folder() as path:
        (path / "stand_in.py").write_text(STAND_IN)
        monkeypatch.setattr(ray_child, "COMMAND", (sys.executable, str(path / "stand_in.py"), str(path)))
        yield path


@asynccontextmanager
async def bench_of(folder: Path, *plan: str) -> AsyncIterator[Bench]:
    """Its first child serves, if it does."""
    bench = Bench(folder, list(plan))
    try:
        yield bench
    finally:
        await bench.stop()
    assert not bench.ray.running


async def test_another_takes_over_from_one_that_ails(folder: Path) -> None:
    async with bench_of(folder, "serves and ails", "serves") as bench:
        first = await bench.ray.start()
        await first.wait()
        assert bench.has("stopped-0")
        second = await bench.ray.start()
        assert second.pid != first.pid
        assert set(bench.ray.serving.values()) == {second.pid}
        assert "Another Ray is started beside" in bench.said[0]


@pytest.mark.parametrize("bad", ["ends", "ails before it serves", "hangs"])
async def test_one_that_cannot_take_over_is_followed_by_another(
    folder: Path, bad: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if bad == "hangs":
        monkeypatch.setattr(ray_child, "TAKE_OVER_TIMEOUT_S", 1.0)
    async with bench_of(folder, "serves and ails", bad, bad, "serves") as bench:
        first = await bench.ray.start()
        await first.wait()
        assert bench.has("begun-3")
        assert bench.cleared == 2
        assert len([line for line in bench.said if "ended before it took over" in line]) == 2
        await bench.ray.start()
        assert not bench.has("begun-4")


async def test_a_stop_before_another_has_taken_over_stops_the_hosts_of_both(folder: Path) -> None:
    async with bench_of(folder, "serves and ails", "hangs") as bench:
        await bench.ray.start()
        await until(lambda: bench.has("begun-1") and len(bench.ray.pids()) == 2 and bench.ray._next.version)  # type: ignore[union-attr]
        await bench.stop()
        assert bench.has("stopped-0")
        assert bench.has("stopped-1")
        assert bench.said[-1] == "hosts stopped"


async def test_a_stop_between_two_stops_the_one_whose_turn_it_is(folder: Path) -> None:
    """The first has ended, and nobody has gone on with the second yet."""
    async with bench_of(folder, "serves and ails", "serves") as bench:
        first = await bench.ray.start()
        await first.wait()
        assert bench.ray.running
        await bench.stop()
        assert bench.has("stopped-1")


async def test_one_that_ends_before_it_serves_says_why(folder: Path) -> None:
    async with bench_of(folder, "ends") as bench:
        with pytest.raises(CannotStart, match="it ended with exit code 1"):
            await bench.ray.start()


async def test_nothing_is_started_beside_once_all_stops(folder: Path) -> None:
    async with bench_of(folder, "serves", "serves") as bench:
        await bench.ray.start()
        await bench.stop()
        bench.ray._replace("Ray's raylet ended.")
        await asyncio.sleep(0)
        assert not bench.ray.running
        assert bench.said == ["hosts stopped"]


def test_who_served_starts_again_at_once_a_few_times_in_a_row() -> None:
    pauses = Pauses()
    assert [pauses.after(0.5) for _ in range(QUICK_RESTARTS)] == [0.0] * QUICK_RESTARTS
    assert [pauses.after(0.5) for _ in range(4)] == [0.25, 0.5, 1.0, 2.0]
    assert pauses.after(60.0) == 0.0
    assert pauses.after(0.0) == 0.25


def test_who_does_not_get_so_far_as_to_serve_waits_longer_each_time() -> None:
    pauses = Pauses()
    found = [pauses.after(0.0) for _ in range(10)]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (0.25, 30.0)
    assert pauses.after(1.0) == 0.0
