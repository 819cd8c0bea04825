"""`coscribe up`: starts every part in parallel, keeps them running, and stops them in named phases.

Order of stopping: routers, then hosts (which hand off and flush), Ray, Postgres, Valkey. A second Ctrl-C hastens.
Children read their settings from the environment; everything they need is known before the first of them starts.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from cluster.config import CONTROLLER, PREFIX, Settings, host_names
from cluster.data_folder import RUNTIME_VARIABLE, lock, private_folder, runtime_folder
from cluster.display import Display
from cluster.logs import begin_anew, bound
from cluster.ports import refuse_busy_port, until_listening
from cluster.processes import Child, ProcessId, become_subreaper, descendants, end, end_adopted, identify, spawn
from cluster.ray_child import RayChild
from cluster.services import Services
from cluster.supervisor import Part, RunState, Supervisor, end_leftovers, read_state, write_state
from persistence.disk import DiskReserve

WATCH_S: Final = 2.0
CLOSING_S: Final = 15.0  # a router closes sockets that do not answer after 10 s
ORPHAN_SIGNALS: Final = ((signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0))
RAY_SIGNALS: Final = ((signal.SIGTERM, 45.0), (signal.SIGKILL, 5.0))  # longer than its own deadlines together


class Stop:
    """What signals ask for: the first an ordered stop, the second to hasten."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hasten = asyncio.Event()

    def listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._signalled)

    def _signalled(self) -> None:
        (self.hasten if self.asked.is_set() else self.asked).set()


class Up:
    """One run on a locked data folder."""

    def __init__(self, settings: Settings, runtime: Path, display: Display) -> None:
        self._display = display
        self._runtime = runtime
        self._state = settings.data / "state.json"
        self._logs = private_folder(settings.data / "logs")
        self._services = Services(settings, runtime, self._logs, display.ready)
        self._settings = settings.model_copy(
            update={
                "redis_url": SecretStr(self._services.redis_url),
                "postgres_url": SecretStr(self._services.postgres_url),
            }
        )
        others = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
        self._environment = others | self._settings.environment() | {RUNTIME_VARIABLE: str(runtime)}
        self._supervisor = Supervisor(display.say, self._write_state)
        self._ray = RayChild(
            self._logs / "ray.log", settings.hosts + 1, self._environment, display.say, self._write_state,
            self._end_strangers,
        )  # fmt: skip
        self._ray_part = Part("Ray", self._start_ray, RAY_SIGNALS)
        router_signals = ((signal.SIGTERM, settings.drain_s + CLOSING_S), (signal.SIGKILL, 5.0))
        self._routers = [Part(name, self._router(name), router_signals) for name in self.router_names(settings)]
        self._others: list[ProcessId] = []
        self._wanted = [CONTROLLER, *host_names(settings)]
        self._state_written = True
        self._disk = DiskReserve(self._services.folders, settings.limit_disk_free_bytes)

    @staticmethod
    def router_names(settings: Settings) -> list[str]:
        return [f"router-{number}" for number in range(settings.routers)]

    async def run(self, stop: Stop, serving: Callable[[], None]) -> None:
        """Start, call `serving`, and keep everything running until a stop is asked for. Raises CannotStart."""
        for log in self._logs.glob("*.log"):
            begin_anew(log)
        self._ray_part.child = self._ray.begin().child  # first, for it takes longest
        parts = [*self._services.parts, self._ray_part, *self._routers]
        keepers = [asyncio.create_task(self._supervisor.keep(part)) for part in parts]
        checking = asyncio.create_task(self._services.check())
        watching = asyncio.create_task(self._watch())
        started = asyncio.create_task(self._all_ready(parts))
        asked = asyncio.create_task(stop.asked.wait())
        tasks = {checking, watching, started, asked, *keepers}
        try:
            await _first({checking, started, asked, watching, *keepers})
            await _first({started, asked, watching, *keepers})
            self._display.settle()
            if started.done():
                serving()
                await _first({asked, watching, *keepers})
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._stop(stop)

    async def _all_ready(self, parts: list[Part]) -> None:
        for part in parts:
            await part.ready.wait()

    # --- Starting ---

    async def _start_ray(self) -> Child:
        await self._services.checked.wait()
        await self._end_strangers()
        self._ray_part.child = child = await self._ray.start()
        hosts = "1 host" if self._settings.hosts == 1 else f"{self._settings.hosts} hosts"
        self._display.ready("Ray", f"{self._ray.version}, {hosts} and the controller")
        return child

    def _router(self, name: str) -> Callable[[], Awaitable[Child]]:
        async def start() -> Child:
            await self._services.checked.wait()
            command = [sys.executable, "-m", "router.app"]
            child = spawn(name, command, log=self._logs / f"{name}.log", env=self._environment)
            await until_listening(child, self._settings.bind, self._settings.port)
            self._display.ready(name, f"listens on {self._settings.bind} port {self._settings.port}")
            return child

        return start

    # --- Knowing what runs ---

    def _strangers(self) -> list[ProcessId]:
        """Descendants that belong to no part: what outlived a part of ours and came back to us."""
        parts = self._pids()
        ours = {child.pid for pid in parts for child in descendants(pid)} | set(parts)
        return [process for process in descendants(os.getpid()) if process.pid not in ours]

    async def _end_strangers(self) -> None:
        """For instance the servers and hosts of a Ray that was killed."""
        await end_adopted(self._strangers(), ORPHAN_SIGNALS)

    def _pids(self) -> list[int]:
        return [*self._ray.pids(), *(part.child.pid for part in self._supervisor.parts if part.child)]

    async def _watch(self) -> None:
        """Keep the state file and the size of logs right, and an eye on the disk."""
        while True:
            others = descendants(os.getpid())
            if others != self._others or not self._state_written:
                self._others = others
                self._write_state()
            for log in self._logs.glob("*.log"):
                bound(log)
            if await asyncio.to_thread(self._disk.look):
                self._say_disk()
            await asyncio.sleep(WATCH_S)

    def _say_disk(self) -> None:
        taken = "Edits are refused until then" if self._disk.short else "Edits are taken again"
        self._display.say(f"Disk: {self._disk.words} (limit_disk_free_bytes). {taken}.")

    def _write_state(self) -> None:
        me = identify(os.getpid())
        assert me is not None
        parts = {part.name: part.child.id for part in self._supervisor.parts if part.child and part.child.id}
        try:
            write_state(
                self._state, RunState(me, str(self._runtime), parts, self._ray.serving, self._others, self._wanted)
            )
        except OSError as error:
            if self._state_written:
                self._display.say(f"{self._state} cannot be written: {error.strerror}. Everything goes on.")
            self._state_written = False
        else:
            self._state_written = True

    # --- Stopping ---

    async def _stop(self, stop: Stop) -> None:
        phases = asyncio.create_task(self._phases())
        hastened = asyncio.create_task(stop.hasten.wait())
        await asyncio.wait({phases, hastened}, return_when=asyncio.FIRST_COMPLETED)
        if not phases.done():
            self._display.say("Hastened: what still runs is killed. Accepted edits are in the log.")
            await end(descendants(os.getpid()), ((signal.SIGKILL, 5.0),))
        hastened.cancel()
        await phases

    async def _phases(self) -> None:
        say = self._display.say
        if any(part.child for part in self._routers):
            say("Stopping: routers close their sockets.")
            await asyncio.gather(*(self._supervisor.stop(router) for router in self._routers))
        if self._ray.running:
            ours = self._settings.ray_address is None
            say("Stopping: hosts hand off and flush." if ours else "Leaving: hosts go on in your Ray cluster.")
            await self._ray.stop(RAY_SIGNALS, lambda: say("Stopping: Ray."))
        await self._end_strangers()
        for part in reversed(self._services.parts):
            if part.child and part.child.exit_code is None:
                say(f"Stopping: {part.name}.")
                await self._supervisor.stop(part)
        await end(descendants(os.getpid()), ORPHAN_SIGNALS)
        say("Stopped.")


async def _first(tasks: set[asyncio.Task[Any]]) -> None:
    """Return when one has ended; raise what it raised."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


async def up(settings: Settings, display: Callable[[list[str]], Display], serving: Callable[[], None]) -> int:
    """Run until told to stop; the exit code. `serving` is called once, when people can edit."""
    stop = Stop()
    stop.listen()
    become_subreaper()
    state = settings.data / "state.json"
    with lock(settings.data):
        before = read_state(state)
        ended = await end_leftovers(state)
        if before:
            shutil.rmtree(before.runtime, ignore_errors=True)
        refuse_busy_port(settings.bind, settings.port)
        runtime = runtime_folder()
        names = [*Services.names(settings), "Ray", *Up.router_names(settings)]
        try:
            with display(names) as shown:
                if ended:
                    shown.say(f"Ended {ended} processes that an earlier run had left.")
                await Up(settings, runtime, shown).run(stop, serving)
        finally:
            shutil.rmtree(runtime, ignore_errors=True)
            with contextlib.suppress(FileNotFoundError):
                state.unlink()
    return 130 if stop.hasten.is_set() else 0
