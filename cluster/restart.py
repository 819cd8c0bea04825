"""A rolling restart of what runs: the controller, each host, each router, one after the other, while people type.

A host hands its sections to the others and ends; Ray starts it again. A router has its clients go to another one, or
come back, and ends; `coscribe up` starts it again. The next has its turn once the one before serves: if one does not
come back, those after it are left as they are.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cluster.config import CONTROLLER, LONGEST_DRAIN_S
from cluster.data_folder import locked
from cluster.processes import ProcessId, identify, is_running
from cluster.ray_actors import restart_directly
from cluster.supervisor import RunState, read_state

STOP_TIMEOUT_S: Final = 40.0  # a host flushes and hands off; both have limits of their own, and together stay below
ROUTER_STOP_TIMEOUT_S: Final = LONGEST_DRAIN_S + 20.0  # whatever drain_s is; then it closes what is left
BACK_TIMEOUT_S: Final = 120.0  # some seconds are usual
POLL_S: Final = 0.05
ROUTER: Final = "router-"

Tell = Callable[[str, str], None]
"""A part, and what it does now."""


class NothingRuns(Exception):
    """There is nothing to restart, in words for the operator."""


class CannotRestart(Exception):
    """It was begun, or not, and cannot go on, in words for the operator."""


@dataclass(frozen=True, slots=True)
class Restarted:
    part: str
    before: int
    after: int
    seconds: float


class RollingRestart:
    """Of what runs on a data folder now. Raises NothingRuns."""

    def __init__(self, data: Path, tell: Tell) -> None:
        self._data = data
        self._state_file = data / "state.json"
        self._tell = tell
        state = read_state(self._state_file)
        if state is None or not is_running(state.up):
            raise NothingRuns(f"Nothing runs on {data}.")
        self._up = state.up
        self._runtime = Path(state.runtime)
        self.parts = [*sorted(state.wanted or state.hosts, key=_order), *sorted(_routers(state), key=_order)]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Two at a time would take away two hosts at a time. Raises CannotRestart."""
        file = locked(self._runtime / "restart.lock")
        if file is None:
            raise CannotRestart(f"Another restart of what runs on {self._data} is under way.")
        with file:
            yield

    async def restart(self, part: str) -> Restarted:
        """Raises CannotRestart."""
        began = time.monotonic()
        before = self._whole(self._state())
        process = identify(before[part])
        if process is not None:
            self._tell(part, "stops")
            await self._end(part, process)
        self._tell(part, "starts")
        after = await self._back(part, before[part])
        return Restarted(part, before[part], after, round(time.monotonic() - began, 3))

    async def _end(self, part: str, process: ProcessId) -> None:
        limit_s = ROUTER_STOP_TIMEOUT_S if part.startswith(ROUTER) else STOP_TIMEOUT_S
        try:
            async with asyncio.timeout(limit_s):
                if part.startswith(ROUTER):
                    os.kill(process.pid, signal.SIGTERM)
                else:
                    with suppress(ConnectionResetError):  # it has ended
                        await restart_directly(self._runtime, part, process.pid)
                while is_running(process):  # noqa: ASYNC110 - it is no child of ours
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise CannotRestart(f"{part} did not stop in {limit_s:.0f} s: {self._look(part)}") from None
        except (FileNotFoundError, ConnectionRefusedError):
            if is_running(process):
                raise CannotRestart(
                    f"{part} (process {process.pid}) cannot be told to restart: it does not run here, or not any more."
                ) from None
        except ProcessLookupError:
            return
        except OSError as error:
            raise CannotRestart(
                f"{part} (process {process.pid}) cannot be told to restart: {error.strerror}."
            ) from None

    async def _back(self, part: str, before: int) -> int:
        """Until it serves under another process id, and everyone else too; returns that."""
        deadline = time.monotonic() + BACK_TIMEOUT_S
        while True:
            state = self._state()
            serving = _pids(state)
            if serving.get(part, before) != before and not _missing(state):
                return serving[part]
            if time.monotonic() > deadline:
                away = (_missing(state) or [part])[0]
                raise CannotRestart(
                    f"{away} did not come back in {BACK_TIMEOUT_S:.0f} s, and the rest was left as it is: "
                    f"{self._look(away)}"
                )
            await asyncio.sleep(POLL_S)

    def _whole(self, state: RunState) -> dict[str, int]:
        if missing := _missing(state):
            names = " and ".join(missing)
            raise CannotRestart(f"{names} does not serve now: restart when all do. {self._look(missing[0])}")
        return _pids(state)

    def _state(self) -> RunState:
        state = read_state(self._state_file)
        if state is None or state.up != self._up or not is_running(state.up):
            raise CannotRestart(f"`coscribe up` on {self._data} has ended meanwhile.")
        return state

    def _look(self, part: str) -> str:
        return f"look at {self._data / 'logs' / part}.log, and at what `coscribe up` says."


def _routers(state: RunState) -> list[str]:
    return [name for name in state.parts if name.startswith(ROUTER)]


def _pids(state: RunState) -> dict[str, int]:
    """Who serves."""
    routers = {name: state.parts[name] for name in _routers(state)}
    return state.hosts | {name: process.pid for name, process in routers.items() if is_running(process)}


def _missing(state: RunState) -> list[str]:
    return [name for name in [*state.wanted, *_routers(state)] if name not in _pids(state)]


def _order(part: str) -> tuple[bool, int]:
    """The controller first, for editing needs it least; host-2 before host-10."""
    return part != CONTROLLER, int(part.rpartition("-")[2]) if part != CONTROLLER else 0
