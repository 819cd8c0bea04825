"""The side of `coscribe up` that talks with its Ray child (cluster/ray_runtime.py): starts it, and reads its events."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from cluster.data_folder import CannotStart, log_tail
from cluster.processes import Child, spawn
from cluster.ray_events import GO, Gone, HostsStopped, RayEvent, RayStarted, Serving, Trouble, decode
from cluster.supervisor import Say


class RayChild:
    """One after the other: each `start` begins with a new process. `serving`: who serves, and under which pid."""

    def __init__(self, log: Path, parts: int, say: Say, changed: Callable[[], None]) -> None:
        self.serving: dict[str, int] = {}
        self.version = ""
        self.hosts_stopped = asyncio.Event()
        self._log = log
        self._expected = parts
        self._say = say
        self._changed = changed
        self._ready = asyncio.Event()
        self._troubles: list[str] = []
        self._begun: Child | None = None
        self._reading: asyncio.Task[None] | None = None

    def begin(self, environment: Mapping[str, str]) -> Child:
        """Start the process; it starts Ray, and waits with the hosts until `start`."""
        self.serving.clear()
        self._ready.clear()
        self._troubles.clear()
        command = [sys.executable, "-m", "cluster.ray_runtime"]
        self._begun = spawn("Ray", command, log=self._log, env=environment, pipes=True)
        return self._begun

    async def start(self, environment: Mapping[str, str]) -> Child:
        """Let the hosts start, now that the services are there, and wait until all of them serve."""
        child, self._begun = self._begun or self.begin(environment), None
        assert child.process.stdin is not None
        try:
            child.process.stdin.write(GO)
            child.process.stdin.flush()
        except OSError:
            pass  # it has ended, which is seen below
        self._reading = asyncio.create_task(self._read(child))
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait({self._reading, ready}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if not self._ready.is_set():
            code = await child.wait()
            why = "; ".join(self._troubles) or f"it ended with exit code {code}"
            raise CannotStart(f"Ray did not start: {why}. The end of {self._log}:\n{log_tail(self._log)}")
        return child

    async def ended(self) -> None:
        """Once the process has ended: hear the last of what it said."""
        if self._reading:
            await self._reading

    async def _read(self, child: Child) -> None:
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), child.process.stdout)
        try:
            while line := await reader.readline():
                self._take(decode(line))
        finally:
            transport.close()
            if child.process.stdin:
                child.process.stdin.close()

    def _take(self, event: RayEvent) -> None:
        match event:
            case RayStarted():
                self.version = event.version
            case Serving():
                self.serving[event.name] = event.pid
                if self._ready.is_set():
                    self._say(f"{event.name} serves again (process {event.pid}).")
                if len(self.serving) == self._expected:
                    self._ready.set()
                self._changed()
            case Gone():
                self.serving.pop(event.name, None)
                self._say(f"{event.name} (process {event.pid}) ended. Ray starts it again.")
                self._changed()
            case Trouble():
                self._troubles.append(event.message)
                self._say(event.message)
            case HostsStopped():
                self.hosts_stopped.set()
