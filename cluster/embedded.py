"""Servers that we bring along: a private Redis-compatible server and a private Postgres, in the data folder.

Both are real, run as children of ours, listen on Unix sockets only, and want a random password kept in the data folder.
"""

import asyncio
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cluster.data_folder import CannotStart, log_tail
from cluster.processes import Child, Signals

READY_TIMEOUT_S: Final = 60.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.01, 0.2


@dataclass(frozen=True, slots=True)
class Binary:
    """A server's program. `why` says to the operator why it was chosen."""

    path: Path
    version: str
    why: str


@dataclass(frozen=True, slots=True)
class Service:
    """A running server of ours. `url` holds its password: it is never printed."""

    name: str
    url: str
    binary: Binary
    child: Child
    stop_signals: Signals

    @property
    def pid(self) -> int:
        return self.child.pid

    async def wait(self) -> int:
        """The exit code, once it has ended."""
        return await self.child.wait()

    async def stop(self) -> None:
        await self.child.stop(self.stop_signals)


def version_line(program: Path) -> str:
    """What `--version` says, empty if the program cannot run here."""
    try:
        run = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return run.stdout.strip()


async def until_ready(
    child: Child, probe: Callable[[], Awaitable[None]], not_yet: tuple[type[Exception], ...], timeout_s: float
) -> None:
    """Probe with a real query until it succeeds. `not_yet`: what a server that is still starting raises.

    A server that does not become ready is not left behind."""
    deadline = time.monotonic() + timeout_s
    wait_s = FIRST_WAIT_S
    expected: tuple[type[Exception], ...] = (*not_yet, TimeoutError)
    try:
        while True:
            try:
                return await asyncio.wait_for(probe(), timeout_s)
            except expected as error:
                if child.exit_code is not None:
                    raise CannotStart(_ended(f"{child.name} ended with exit code {child.exit_code}", child)) from None
                if time.monotonic() > deadline:
                    raise CannotStart(
                        _ended(f"{child.name} was not ready in {timeout_s:.0f} s: {error}", child)
                    ) from None
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 1.5, LONGEST_WAIT_S)
    except BaseException:
        child.kill()
        raise


def _ended(sentence: str, child: Child) -> str:
    if child.log is None:
        return f"{sentence}."
    return f"{sentence}. The end of {child.log}:\n{log_tail(child.log)}"
