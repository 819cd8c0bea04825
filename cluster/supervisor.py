"""Keeps the parts of `coscribe up` running: who ends is started again, with a message and not too often.

A part that fails at its first start is an error for the operator; one that fails later is tried again for ever.
What is running is written down after each change, so that the next `coscribe up` can end what a killed one left.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from cluster.data_folder import CannotStart, last_line, write_private
from cluster.processes import GENTLY, Child, ProcessId, Signals, descendants, end, is_running

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 30.0
QUICK_RESTARTS: Final = 5
STEADY_S: Final = 10.0  # who served for so long has earned a quick restart

Say = Callable[[str], None]


class RunState(msgspec.Struct, frozen=True):
    """data/state.json: whose processes these are. `others` descend from the parts: Ray's servers, agents and hosts.
    `wanted`: the hosts, and the controller, that there should be."""

    up: ProcessId
    runtime: str
    parts: dict[str, ProcessId]
    hosts: dict[str, int]
    others: list[ProcessId]
    wanted: list[str] = []


@dataclass(slots=True)
class Part:
    """`start` returns a child that is ready to serve, or raises CannotStart."""

    name: str
    start: Callable[[], Awaitable[Child]]
    stop_signals: Signals = GENTLY
    child: Child | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class Pauses:
    """How long to wait before a part is started again.

    People wait while a part is away, so one that has served is started again at once. One that cannot start, or ends as
    soon as it has, would do so again, and each start costs a core for seconds: its pauses grow. A part may end a few
    times in a row without being of that kind, so it has some quick restarts, and earns one by each ten seconds of
    service."""

    quick: float = QUICK_RESTARTS
    next_s: float = field(default_factory=lambda: FIRST_PAUSE_S)

    def after(self, served_s: float) -> float:
        """`served_s`: how long it served this time; 0 if it did not get so far."""
        self.quick = min(self.quick + served_s / STEADY_S, QUICK_RESTARTS)
        if served_s >= STEADY_S:
            self.next_s = FIRST_PAUSE_S
        if served_s and self.quick >= 1:
            self.quick -= 1
            return 0.0
        pause_s, self.next_s = self.next_s, min(self.next_s * 2, LONGEST_PAUSE_S)
        return pause_s


class Supervisor:
    def __init__(self, say: Say, changed: Callable[[], None]) -> None:
        self._say = say
        self._changed = changed
        self.parts: list[Part] = []

    async def keep(self, part: Part) -> None:
        """Start the part and keep it running until cancelled. Cancelling does not stop it."""
        self.parts.append(part)
        pauses = Pauses()
        while True:
            served_s = 0.0
            try:
                part.child = await part.start()
            except (CannotStart, OSError) as error:  # OSError: a disk that is full, for instance
                if not part.ready.is_set():
                    raise error if isinstance(error, CannotStart) else CannotStart(f"{part.name}: {error}") from None
                self._say(f"{part.name} did not start: {error}")
            else:
                part.ready.set()
                self._changed()
                ready = time.monotonic()
                code = await part.child.wait()
                served_s = time.monotonic() - ready
                self._say(f"{part.name} {_ending(code, part.child)}. It is started again.")
            await asyncio.sleep(pauses.after(served_s))

    async def stop(self, part: Part) -> None:
        if part.child and part.child.exit_code is None:
            await part.child.stop(part.stop_signals)


def _ending(code: int, child: Child) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    line = last_line(child.log) if child.log and code else ""
    return f"ended with exit code {code}" + (f", its last line: {line}" if line else "")


def write_state(path: Path, state: RunState) -> None:
    write_private(path, msgspec.json.format(msgspec.json.encode(state), indent=2).decode())


def read_state(path: Path) -> RunState | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunState)
    except (OSError, msgspec.DecodeError):
        return None


async def end_leftovers(path: Path) -> int:
    """End what a `coscribe up` that was killed left behind; returns how many processes that were. Only who has both
    the pid and the start that were written down is signalled, and what descends from them."""
    state = read_state(path)
    if state is None or is_running(state.up):
        return 0
    left = [process for process in [*state.parts.values(), *state.others] if is_running(process)]
    below = [child for process in left for child in descendants(process.pid)]
    return len(await end(dict.fromkeys([*left, *below])))


def running_parts(path: Path) -> dict[str, int]:
    """Who runs, by name, as far as it was written down and is still true."""
    state = read_state(path)
    if state is None or not is_running(state.up):
        return {}
    parts = {name: process.pid for name, process in state.parts.items() if is_running(process)}
    return {"up": state.up.pid} | parts | state.hosts
