"""Many seeds of the whole system under faults, and proof that the checkers would see what is wrong.

COSCRIBE_SEEDS=1000:2000 plays other seeds than the usual ones. They are played by a few processes at once.
"""

import multiprocessing
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace

import pytest

from tests.simulation.plan import draw_plan
from tests.simulation.plants import PLANTS, Plant
from tests.simulation.shrink import shrink
from tests.simulation.world import Outcome, play

SEEDS = os.environ.get("COSCRIBE_SEEDS", "0:1000")
GROUP = 25
PROCESSES = min(4, os.cpu_count() or 1)
PLANTED_SEEDS = 60  # most are found within the first three


def groups() -> list[range]:
    start, stop = map(int, SEEDS.split(":"))
    return [range(first, min(first + GROUP, stop)) for first in range(start, stop, GROUP)]


def report(outcome: Outcome) -> str:
    last = "\n".join(outcome.story[-60:])
    return f"{last}\n\n{outcome.violation}\n\n{outcome.plan}\n\npython -m tests.simulation --seed {outcome.seed}"


def first_failure(seeds: range) -> Outcome | None:
    """In a process of the pool."""
    return next((outcome for seed in seeds if (outcome := play(seed)).violation), None)


@pytest.fixture(scope="module")
def failures() -> Iterator[dict[range, "Future[Outcome | None]"]]:
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield {seeds: pool.submit(first_failure, seeds) for seeds in groups()}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("seeds", groups(), ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")
def test_whatever_happens_nothing_is_lost_and_all_read_the_same(
    seeds: range, failures: dict[range, "Future[Outcome | None]"]
) -> None:
    if failed := failures[seeds].result():
        pytest.fail(f"{report(shrink(failed))}\nshrunk from: {failed.violation}")


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_fault_is_found(name: str) -> None:
    for seed in range(PLANTED_SEEDS):
        if violation(PLANTS[name], seed):
            return
    pytest.fail(f"{PLANTED_SEEDS} seeds with the planted fault {name} and no checker saw it")


def violation(plant: Plant, seed: int) -> str | None:
    plan = draw_plan(random.Random(f"{seed}/plan"))
    if plant.faults:
        plan = replace(plan, faults=plant.faults, fault_every_s=0.7, hosts=max(2, plan.hosts))
    with plant.planted():
        return play(seed, replace(plan, **plant.changes)).violation  # type: ignore[arg-type]


def test_while_the_controller_is_away_another_host_removes_the_dead_one() -> None:
    outcomes = []
    for seed in range(5):
        plan = draw_plan(random.Random(f"{seed}/plan"))
        plan = replace(plan, faults=("no controller",), fault_every_s=2.5, hosts=3, lease_ttl_s=1.0, chaos_s=12.0)
        outcomes.append(play(seed, plan))
        assert outcomes[-1].violation is None, report(outcomes[-1])
    assert [line for outcome in outcomes for line in outcome.lines if "the controller is away" in line]


def test_a_run_depends_on_its_seed_alone() -> None:
    command = "from tests.simulation.world import play; print([play(seed).digest for seed in range(3)])"
    digests = {
        subprocess.run(
            [sys.executable, "-c", command], env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True,
            check=True, text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }  # fmt: skip
    assert digests == {f"{[play(seed).digest for seed in range(3)]}\n"}


def test_other_seeds_are_other_runs() -> None:
    assert len({play(seed).digest for seed in range(3)}) == 3
