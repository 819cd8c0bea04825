"""The side of `coscribe up` that talks with its Ray child (cluster/ray_runtime.py): starts it, and reads its events.

Ray may lose a server of its own while our hosts go on serving, only that nobody would restart them. Then a second
child is started beside the first, and the first is stopped once the second's hosts wait for their places. If the second
ends before that, or takes too long, another is started after a pause that grows, for as long as the first lives.
"""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from cluster.data_folder import CannotStart, log_tail
from cluster.processes import Child, Signals, spawn
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
from cluster.supervisor import Pauses, Say

COMMAND: Final = (sys.executable, "-m", "cluster.ray_runtime")
TAKE_OVER_TIMEOUT_S: Final = 120.0  # from the start of another Ray until all of its hosts wait; 15 to 25 s are usual


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
        self.heard = asyncio.Event()
        self.degraded = ""
        self.parts = parts
        self._take = take
        self._lost = lost
        self.reading = asyncio.create_task(self._read())

    @property
    def running(self) -> bool:
        return self.child.exit_code is None

    def go(self) -> None:
        """The services are there: hosts may start."""
        assert self.child.process.stdin is not None
        try:
            self.child.process.stdin.write(GO)
            self.child.process.stdin.flush()
        except OSError:
            pass  # it has ended, which whoever waits for it sees

    async def all_waiting(self) -> None:
        """Returns once all of its hosts, and the controller, wait for their places, or when it
        has ended, or cannot keep them running."""
        while len(self.waiting) < self.parts and not self.degraded and not self.reading.done():
            self.heard.clear()
            heard = asyncio.create_task(self.heard.wait())
            try:
                await asyncio.wait({heard, self.reading}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                heard.cancel()

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
    """The Ray child as a part of `up`, whichever process it is at the time. `clear_up` ends what a child has left."""

    def __init__(
        self,
        log: Path,
        parts: int,
        environment: Mapping[str, str],
        say: Say,
        changed: Callable[[], None],
        clear_up: Callable[[], Awaitable[None]],
    ) -> None:
        self._log = log
        self._parts = parts
        self._environment = environment
        self._say = say
        self._changed = changed
        self._clear_up = clear_up
        self._current: RayProcess | None = None
        self._next: RayProcess | None = None
        self._pauses = Pauses()
        self._replacing: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def serving(self) -> dict[str, int]:
        return dict(self._current.serving) if self._current else {}

    @property
    def version(self) -> str:
        return self._current.version if self._current else ""

    @property
    def running(self) -> bool:
        return bool(self._running())

    def _running(self) -> list[RayProcess]:
        return [process for process in (self._current, self._next) if process and process.running]

    def pids(self) -> list[int]:
        return [process.child.pid for process in (self._current, self._next) if process]

    def begin(self) -> RayProcess:
        """Start the process; it starts Ray, and waits with the hosts until `start`."""
        child = spawn("Ray", COMMAND, log=self._log, env=self._environment, pipes=True)
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
        self._pauses = Pauses()
        self._changed()
        if process.degraded:
            self._replace(process.degraded)
        return process.child

    async def stop(self, signals: Signals, hosts_stopped: Callable[[], None]) -> None:
        """End whoever runs, also one that takes over just now: either may have hosts that serve. `hosts_stopped` is
        called once all of them have handed off."""
        self._stopping = True
        if self._replacing:
            self._replacing.cancel()
            await asyncio.wait({self._replacing})
        running = self._running()
        stopping = asyncio.gather(*(process.child.stop(signals) for process in running))
        await asyncio.gather(*(_hosts_stopped(process) for process in running))
        hosts_stopped()
        await stopping
        await asyncio.gather(*(process.reading for process in running))  # the last of what they said

    def _replace(self, reason: str) -> None:
        if self._next is None and self._replacing is None and not self._stopping:
            self._say(f"{reason} Hosts go on. Another Ray is started beside, and takes over.")
            self._replacing = asyncio.create_task(self._start_beside())
            self._replacing.add_done_callback(self._replaced)

    def _replaced(self, replacing: asyncio.Task[None]) -> None:
        self._replacing = None
        if not replacing.cancelled() and (error := replacing.exception()):
            self._say(f"No other Ray can be started: {error}")

    async def _start_beside(self) -> None:
        """Until one has been told to take over, or the one that it replaces has ended."""
        ailing = self._current
        assert ailing, "somebody lost a server"
        while ailing is self._current and ailing.running:
            process = self.begin()
            process.go()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TAKE_OVER_TIMEOUT_S):
                    await process.all_waiting()
            if ailing is not self._current or not ailing.running:
                return  # whoever keeps us running goes on with the other one
            if process.running and not process.degraded and len(process.waiting) == process.parts:
                ailing.child.process.send_signal(signal.SIGTERM)
                return
            await process.child.stop()
            await process.reading
            pause_s = self._pauses.after(0.0)
            self._say(
                f"The other Ray ended before it took over; one more is started in {pause_s:g} s. "
                f"The end of {self._log}:\n{log_tail(self._log)}"
            )
            await self._clear_up()
            await asyncio.sleep(pause_s)

    def _lost(self, process: RayProcess) -> None:
        if process is self._next:
            self._next = None

    def _take(self, process: RayProcess, event: RayEvent) -> None:
        match event:
            case RayStarted():
                process.version = event.version
            case Waiting():
                process.waiting.add(event.name)
                process.heard.set()
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
                process.degraded = event.reason
                process.heard.set()
                if process is self._current:
                    self._replace(event.reason)
            case Trouble():
                process.troubles.append(event.message)
                self._say(event.message)
            case HostsStopped():
                process.hosts_stopped.set()


async def _hosts_stopped(process: RayProcess) -> None:
    """Or it has ended."""
    stopped = asyncio.create_task(process.hosts_stopped.wait())
    try:
        await asyncio.wait({stopped, process.reading}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
