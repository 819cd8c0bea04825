"""Each fault of `benchmarks.failover` once, on the real processes, under people who type: nothing that was acknowledged
is lost or doubled, all copies are equal, and afterwards what is stored of every document is whole.

The benchmark measures how long people wait; here only right and wrong count. The two faults of connections take 22 s
each, most of it silence; restarting everything takes 30 s, most of it starts.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.failover.bench import bench_of
from benchmarks.failover.faults import FAULTS, HEARTBEAT_S, gcs_pid
from cluster.processes import identify, is_running
from tests.support.system import System, running_system

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def attacked() -> Iterator[System]:
    with running_system(hosts=2, routers=2, settings={"heartbeat_s": HEARTBEAT_S}) as system:
        yield system


@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_is_lost_doubled_or_torn(attacked: System, fault: str) -> None:
    async with bench_of(attacked) as bench:
        run = await bench.run(fault, 0)
    assert (run.acked_lost, run.doubled, run.diverged) == (0, 0, 0)
    assert run.operations > 50, "people typed"
    if fault == "handoff":
        assert run.sockets_closed == 0


def test_all_that_is_stored_is_whole_after_all_of_that(attacked: System) -> None:
    command = [str(Path(sys.executable).with_name("coscribe")), "docs", "verify", "--all", "--json"]
    done = subprocess.run([*command, "--data", str(attacked.data)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["documents"] >= len(FAULTS)


def test_it_stops_while_another_ray_is_about_to_take_over(attacked: System) -> None:
    os.kill(gcs_pid(attacked), signal.SIGKILL)
    attacked.wait_for(lambda: "Another Ray is started" in attacked.output.rpartition("is ready again")[2])
    attacked.stop()


def test_a_stop_between_two_rays_lets_every_host_hand_off() -> None:
    with running_system(hosts=2) as system:
        ray = identify(system.pid("Ray"))
        assert ray
        os.kill(gcs_pid(system), signal.SIGKILL)
        system.wait_for(lambda: not is_running(ray))
        system.stop()
        assert "did not stop by itself" not in system.output
        for host in ("host-0", "host-1"):
            assert "] stopped " in system.log(host).splitlines()[-1]
