"""The wrapper around a host or the controller, without Ray: it serves from birth, and tries until it does."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Iterator
from pathlib import Path

import pytest

from cluster import ray_actors
from cluster.config import Settings
from cluster.ray_actors import Actor, Running, _tell, control_socket, restart_directly, stop_directly
from tests.cluster.waiting import until
from tests.support.services import short_folder


class Part:
    def __init__(self) -> None:
        self.fails = asyncio.Event()
        self.stopped = False

    async def failed(self) -> None:
        await self.fails.wait()
        raise RuntimeError("the lease is lost")

    async def stop(self) -> None:
        self.stopped = True


class Bench(Actor):
    """`refusals`: how often its part does not start."""

    refusals = 0

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.ended: list[bool] = []  # whether its part had been stopped
        super().__init__("host-0")

    def _start(self, settings: Settings) -> Awaitable[Running]:
        return self._part()

    def _end(self) -> None:
        self.ended.append(self.parts[0].stopped)

    async def _part(self) -> Part:
        if len(self.parts) == 0 and self.refusals > 0:
            self.refusals -= 1
            raise ConnectionError("no Redis yet")
        self.parts.append(Part())
        return self.parts[-1]


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(ray_actors, "FIRST_RETRY_S", 0.01)
    with short_folder() as folder:
        monkeypatch.setenv("COSCRIBE_DATA", str(folder / "data"))
        monkeypatch.setenv("COSCRIBE_RUNTIME", str(folder))
        yield folder


async def test_it_serves_from_birth_and_stops_its_part() -> None:
    actor = Bench()
    await until(lambda: actor.parts)
    assert await actor.ping() == (os.getpid(), True, "")
    await actor.stop()
    assert actor.parts[0].stopped
    assert (await actor.ping())[1] is False


async def test_it_tries_until_its_part_starts_and_says_why_not() -> None:
    actor = Bench()
    actor.refusals = 3
    await until(lambda: actor.refusals == 2)
    assert await actor.ping() == (os.getpid(), False, "ConnectionError: no Redis yet")
    await until(lambda: actor.parts)
    await actor.stop()


async def test_a_part_that_cannot_go_on_is_stopped_and_started_anew() -> None:
    actor = Bench()
    await until(lambda: actor.parts)
    actor.parts[0].fails.set()
    await until(lambda: len(actor.parts) == 2)
    assert (actor.parts[0].stopped, actor.parts[1].stopped) == (True, False)
    await actor.stop()


async def test_a_part_that_never_started_stops_at_once() -> None:
    actor = Bench()
    actor.refusals = 1_000_000
    await until(lambda: actor.refusals < 1_000_000)
    await actor.stop()


async def listening() -> tuple[Bench, Path]:
    """An actor that serves and can be told, and where."""
    actor = Bench()
    socket = control_socket("host-0", os.getpid())
    assert socket
    await until(lambda: actor.parts and socket.exists())
    return actor, socket


async def test_it_is_stopped_without_ray_too(runtime: Path) -> None:
    actor, _ = await listening()
    await stop_directly("host-0", os.getpid())
    assert actor.parts[0].stopped
    with contextlib.suppress(asyncio.CancelledError):
        await actor._listening


async def test_told_to_restart_it_stops_its_part_and_then_ends(runtime: Path) -> None:
    actor, _ = await listening()
    await restart_directly(runtime, "host-0", os.getpid())
    assert actor.ended == [True]
    with contextlib.suppress(asyncio.CancelledError):
        await actor._listening


async def test_told_anything_else_it_goes_on(runtime: Path) -> None:
    actor, socket = await listening()
    await _tell(socket, b"dance\n")
    assert (actor.ended, actor.parts[0].stopped) == ([], False)
    await actor.stop()


async def test_the_state_of_another_machine_has_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COSCRIBE_RUNTIME")
    assert control_socket("host-0", 1) is None
