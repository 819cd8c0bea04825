"""The loop itself: virtual time, order, and processes that stand still or die."""

import asyncio

import pytest

from tests.simulation.loop import Process, SimLoop, Stuck


def loop() -> SimLoop:
    return SimLoop(lambda message, error: pytest.fail(f"{message}: {error}"))


def test_time_jumps_to_what_is_due_next() -> None:
    async def sleepers() -> list[tuple[float, str]]:
        seen: list[tuple[float, str]] = []

        async def sleeper(seconds: float, name: str) -> None:
            await asyncio.sleep(seconds)
            seen.append((asyncio.get_running_loop().time(), name))

        await asyncio.gather(sleeper(3600.0, "long"), sleeper(0.5, "short"), sleeper(0.0, "none"))
        return seen

    assert loop().play(sleepers()) == [(0.0, "none"), (0.5, "short"), (3600.0, "long")]


def test_a_timeout_is_virtual_too() -> None:
    async def waits() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1000):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert loop().play(waits()) == 1000.0


def test_what_waits_for_nothing_is_told() -> None:
    with pytest.raises(Stuck, match="nothing is due"):
        loop().play(asyncio.Event().wait())


def test_what_runs_in_a_circle_is_told() -> None:
    async def circle() -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(0)

    with pytest.raises(Stuck, match="time stands still"):
        loop().play(circle())


async def ticks(seen: list[float]) -> None:
    while True:
        await asyncio.sleep(1)
        seen.append(asyncio.get_running_loop().time())


def test_a_paused_process_stands_still_and_a_dead_one_ends() -> None:
    sim = loop()
    seen: list[float] = []
    ended: list[bool] = []

    async def parent() -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(ticks(seen))
        finally:
            ended.append(True)

    async def world() -> None:
        process = Process(sim, "one")
        process.start(parent())
        await asyncio.sleep(2.5)
        process.pause()
        await asyncio.sleep(5)
        process.go_on()
        await asyncio.sleep(1.2)
        process.kill()
        await asyncio.sleep(5)
        assert not process.tasks

    sim.play(world())
    assert seen == [1.0, 2.0, 7.5, 8.5]
    assert ended == [True]


def test_what_nobody_takes_is_reported() -> None:
    failures: list[str] = []

    async def broken() -> None:
        raise ValueError("mine")

    async def world() -> None:
        asyncio.get_running_loop().create_task(broken())
        await asyncio.sleep(1)

    SimLoop(lambda message, error: failures.append(str(error))).play(world())
    assert failures == ["mine"]


def test_no_threads() -> None:
    with pytest.raises(AssertionError, match="no threads"):
        loop().play(asyncio.to_thread(print))
