"""The side of `coscribe up` that talks with its Ray child (cluster/ray_runtime.py): starts it, and reads its events.

Ray may lose a server of its own while our hosts go on serving, only that nobody would restart them. Then a second
child is started beside the first, and the first is stopped once the second's hosts wait for their places.
"""

import asyncio
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from cluster.data_folder import CannotStart, log_tail
from cluster.processes import Child, spawn
from cluster.ray_events import (
    GO,
    Degraded,
    Gone,
    HostsStopped,
    RayEvent,
    RayStarted,
    Serving,
    Trouble,
    Waiting,
    decode,
)
from cluster.supervisor import Say


class RayProcess:
    """One child. `serving`: who serves, and under which pid."""

    def __init__(
        self,
        child: Child,
        parts: int,
        take: Callable[["RayProcess", RayEvent], None],
        lost: Callable[["RayProcess"], None],
    ) -> None:
        self.child = child
        self.version = ""
        self.serving: dict[str, int] = {}
        self.waiting: set[str] = set()
        self.troubles: list[str] = []
        self.ready = asyncio.Event()
        self.hosts_stopped = asyncio.Event()
        self.parts = parts
        self._take = take
        self._lost = lost
        self.reading = asyncio.create_task(self._read())

    def go(self) -> None:
        """The services are there: hosts may start."""
        assert self.child.process.stdin is not None
        try:
            self.child.process.stdin.write(GO)
            self.child.process.stdin.flush()
        except OSError:
            pass  # it has ended, which whoever waits for it sees

    async def _read(self) -> None:
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        process = self.child.process
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), process.stdout)
        try:
            while line := await reader.readline():
                self._take(self, decode(line))
        finally:
            transport.close()
            if process.stdin:
                process.stdin.close()
            self._lost(self)


class RayChild:
    """The Ray child as a part of `up`, whichever process it is at the time."""

    def __init__(
        self, log: Path, parts: int, environment: Mapping[str, str], say: Say, changed: Callable[[], None]
    ) -> None:
        self._log = log
        self._parts = parts
        self._environment = environment
        self._say = say
        self._changed = changed
        self._current: RayProcess | None = None
        self._next: RayProcess | None = None

    @property
    def serving(self) -> dict[str, int]:
        return dict(self._current.serving) if self._current else {}

    @property
    def version(self) -> str:
        return self._current.version if self._current else ""

    def pids(self) -> list[int]:
        return [process.child.pid for process in (self._current, self._next) if process]

    def begin(self) -> RayProcess:
        """Start the process; it starts Ray, and waits with the hosts until `start`."""
        command = [sys.executable, "-m", "cluster.ray_runtime"]
        child = spawn("Ray", command, log=self._log, env=self._environment, pipes=True)
        self._next = RayProcess(child, self._parts, self._take, self._lost)
        return self._next

    async def start(self) -> Child:
        """Let the hosts start, now that the services are there, and wait until all of them serve."""
        process = self._current = self._next or self.begin()
        self._next = None
        process.go()
        ready = asyncio.create_task(process.ready.wait())
        try:
            await asyncio.wait({process.reading, ready}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if not process.ready.is_set():
            code = await process.child.wait()
            why = "; ".join(process.troubles) or f"it ended with exit code {code}"
            raise CannotStart(f"Ray did not start: {why}. The end of {self._log}:\n{log_tail(self._log)}")
        self._changed()
        return process.child

    async def hosts_stopped(self) -> None:
        if self._current:
            await self._current.hosts_stopped.wait()

    def stop_next(self) -> None:
        """One that was to take over is not needed any more: everything ends."""
        if self._next and self._next.child.exit_code is None:
            self._next.child.process.send_signal(signal.SIGTERM)

    async def ended(self) -> None:
        """Once the processes have ended: hear the last of what they said."""
        await asyncio.gather(*(process.reading for process in (self._current, self._next) if process))

    def _replace(self, reason: str) -> None:
        if self._next is None:
            self._say(f"{reason} Hosts go on. Another Ray is started beside, and takes over.")
            self.begin().go()

    def _lost(self, process: RayProcess) -> None:
        if process is not self._next:
            return
        self._next = None
        if self._current and self._current.child.exit_code is None:  # else there was nothing to take over
            self._say(f"The other Ray ended before it took over. The end of {self._log}:\n{log_tail(self._log)}")

    def _take(self, process: RayProcess, event: RayEvent) -> None:
        match event:
            case RayStarted():
                process.version = event.version
            case Waiting():
                process.waiting.add(event.name)
                if process is self._next and self._current and len(process.waiting) == process.parts:
                    self._current.child.process.send_signal(signal.SIGTERM)
            case Serving():
                process.serving[event.name] = event.pid
                if process.ready.is_set():
                    self._say(f"{event.name} serves again (process {event.pid}).")
                if len(process.serving) == process.parts:
                    process.ready.set()
                self._changed()
            case Gone():
                process.serving.pop(event.name, None)
                self._say(f"{event.name} (process {event.pid}) ended. Ray starts it again.")
                self._changed()
            case Degraded():
                self._replace(event.reason)
            case Trouble():
                process.troubles.append(event.message)
                self._say(event.message)
            case HostsStopped():
                process.hosts_stopped.set()
