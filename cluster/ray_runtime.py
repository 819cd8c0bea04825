"""The Ray child of `coscribe up`: starts Ray, the controller and one shard host a slot, and watches over them.

Ray places, starts and restarts; it is never on the way of an edit. When it loses its raylet or its GCS, hosts go on and
`up`, who is told, starts another Ray beside. A host that Ray cannot bring back ends this process, and `up` starts it
anew. Everything that Ray started here is ended by its id. In a Ray cluster of the operator's, hosts outlive us.
"""

import asyncio
import contextlib
import importlib.metadata
import os
import signal
import sys
import time
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any, Final

from cluster.config import CONTROLLER, Settings, host_names, load
from cluster.data_folder import RUNTIME_VARIABLE, CannotStart, secret
from cluster.processes import become_subreaper, descendants, end, exited, identify, program
from cluster.ray_actors import ControllerActor, HostActor, stop_directly
from cluster.ray_events import GO, Degraded, Gone, HostsStopped, RayEvent, RayStarted, Serving, Trouble, Waiting, encode

NAMESPACE: Final = "coscribe"
OBJECT_STORE_BYTES: Final = 80 << 20  # the least that Ray takes; nothing large goes through it
RAY_SERVERS: Final = ("raylet", "gcs_server")
ANSWER_TIMEOUT_S: Final = 5.0
RESTART_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 25.0
NOT_SERVING_YET_S: Final = 0.05
LATE_S: Final = 10.0  # a host that does not serve after this says why

Tell = Callable[[RayEvent], None]


def prepare_environment(environment: MutableMapping[str, str], settings: Settings) -> None:
    """What Ray reads while it is imported and started; its processes and our actors inherit it."""
    if settings.ray_address is None:  # of another cluster, the operator says how one gets in
        secret(settings.data, "ray_token")
        # Ours, and not one that lies about in a home folder.
        environment["RAY_AUTH_TOKEN_PATH"] = str(settings.data / "secrets" / "ray_token")
        environment["RAY_AUTH_MODE"] = "token"
        environment.pop("RAY_AUTH_TOKEN", None)
    environment.update(
        RAY_worker_niceness="0",  # by default workers give way to everything else
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",  # keeps a session of one machine on loopback
        RAY_gcs_rpc_server_reconnect_timeout_s="3600",  # by default everything ends 60 s after the GCS
        RAY_memory_monitor_refresh_ms="0",  # else Ray kills our hosts when other programs fill the memory
        RAY_USAGE_STATS_ENABLED="0",
        RAY_DEDUP_LOGS="0",
    )


class Runtime:
    """Ray and our actors in it, while it runs."""

    def __init__(self, settings: Settings, ray: Any, tell: Tell) -> None:
        self._settings = settings
        self._ray = ray
        self._tell = tell
        self._names = [CONTROLLER, *host_names(settings)]
        self._actors: dict[str, Any] = {}
        self._pids: dict[str, int] = {}

    def create(self) -> None:
        for name in self._names:
            actor = ControllerActor if name == CONTROLLER else HostActor
            options = {
                "name": name,
                "lifetime": "detached",
                "get_if_exists": True,
                # By default an actor costs nothing, and all may pile up on one machine.
                "num_cpus": 0 if name == CONTROLLER else 1,
                "max_restarts": -1,
                "max_task_retries": 0,
                "enable_task_events": False,
            }
            self._actors[name] = self._ray.remote(actor).options(**options).remote(name)

    async def watch(self) -> None:
        """Tell who serves and who is gone, until cancelled. Raises TimeoutError if Ray does not bring one back."""
        async with asyncio.TaskGroup() as tasks:
            for name in self._names:
                tasks.create_task(self._watch(name))
            if self._settings.ray_address is None:
                for server in descendants(os.getpid()):
                    if (name := program(server.pid)) in RAY_SERVERS:
                        tasks.create_task(self._watch_server(name, server.pid))

    async def _watch(self, name: str) -> None:
        while True:
            async with asyncio.timeout(RESTART_TIMEOUT_S):
                pid = self._pids[name] = await self._pid(name)
            self._tell(Waiting(name))
            await self._until_serving(name)
            self._tell(Serving(name, pid))
            await self._until_gone(name, pid)
            self._tell(Gone(name, pid))

    async def _watch_server(self, name: str, pid: int) -> None:
        await exited(pid)
        self._tell(Degraded(f"Ray's {name} ended."))

    async def _pid(self, name: str) -> int:
        while True:
            if status := await self._ping(name):
                return status[0]
            await asyncio.sleep(NOT_SERVING_YET_S)

    async def _until_serving(self, name: str) -> None:
        """A host that waits for Redis or Postgres is well: it says what it lacks, and is not restarted for that."""
        late = time.monotonic() + LATE_S
        while not ((status := await self._ping(name)) and status[1]):
            if status and status[2] and time.monotonic() > late:
                late = time.monotonic() + RESTART_TIMEOUT_S
                self._tell(Trouble(f"{name} does not serve yet: {status[2]}"))
            await asyncio.sleep(NOT_SERVING_YET_S)

    async def _ping(self, name: str) -> tuple[int, bool, str] | None:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                answer: tuple[int, bool, str] = await self._actors[name].ping.remote()
                return answer
        except (self._ray.exceptions.RayError, TimeoutError):
            return None

    async def _until_gone(self, name: str, pid: int) -> None:
        if self._settings.ray_address is None:
            await exited(pid)
            return
        while True:
            status = await self._ping(name)
            if status is None or status[0] != pid:
                return
            await asyncio.sleep(ANSWER_TIMEOUT_S)

    async def stop(self) -> None:
        """Hosts hand off and flush, all at once; then the controller. Not by Ray's calls, which need a raylet."""
        hosts = [name for name in self._pids if name != CONTROLLER]
        await asyncio.gather(*(self._stop(name) for name in hosts))
        self._tell(HostsStopped())
        await self._stop(CONTROLLER)

    async def _stop(self, name: str) -> None:
        pid = self._pids.get(name, 0)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await stop_directly(name, pid)
        except OSError as error:  # TimeoutError is one
            if identify(pid):
                self._tell(Trouble(f"{name} did not stop by itself: {type(error).__name__} {error}".strip()))


def start_ray(settings: Settings) -> Any:
    import ray

    if settings.ray_address is not None:
        ray.init(address=settings.ray_address, namespace=NAMESPACE, log_to_driver=False)
        return ray
    _start_no_unused_servers()
    ray.init(
        address="local",  # whatever RAY_ADDRESS says
        namespace=NAMESPACE,
        num_cpus=settings.hosts + 1,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=str(Path(os.environ[RUNTIME_VARIABLE]) / "ray"),
    )
    return ray


def _start_no_unused_servers() -> None:
    """Ray starts an autoscaler, a dashboard and a relay of logs whatever it is told. On one machine nobody uses them,
    and they cost 250 MB and a third of the start. This reaches into Ray's inside: pyproject.toml pins the version."""
    from ray._private import node

    def start_api_server(ray_node: Any, **options: object) -> None:
        ray_node._webui_url = ""

    inside: Any = node.Node
    assert all(hasattr(inside, name) for name in ("start_api_server", "start_monitor", "start_log_monitor"))
    inside.start_api_server = start_api_server
    inside.start_monitor = inside.start_log_monitor = lambda ray_node: None


async def supervise(settings: Settings, ray: Any, tell: Tell) -> None:
    """From Ray's start to the end: SIGTERM, or the end of stdin, which is the end of `up`."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    runtime = Runtime(settings, ray, tell)
    ending = loop.create_task(stopped.wait())
    going = loop.create_task(commands.readline())
    await asyncio.wait({going, ending}, return_when=asyncio.FIRST_COMPLETED)
    if stopped.is_set() or going.result() != GO:
        return
    runtime.create()
    watching = loop.create_task(runtime.watch())
    eof = loop.create_task(commands.read())
    await asyncio.wait({watching, ending, eof}, return_when=asyncio.FIRST_COMPLETED)
    watching.cancel()
    if settings.ray_address is None:
        await runtime.stop()
    if not watching.cancelled() and watching.done():
        watching.result()


def main() -> None:
    settings = load()
    prepare_environment(os.environ, settings)
    become_subreaper()
    events = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what Ray prints goes to the log

    def tell(event: RayEvent) -> None:
        with contextlib.suppress(BrokenPipeError):
            events.write(encode(event) + b"\n")

    code = 0
    try:
        ray = start_ray(settings)
        tell(RayStarted(importlib.metadata.version("ray")))
        asyncio.run(supervise(settings, ray, tell))
    except (CannotStart, OSError, RuntimeError, TimeoutError, ExceptionGroup) as error:
        tell(Trouble(f"Ray: {error}"))
        code = 1
    # Ray's servers, agents and workers, orphans included: agents outlive the raylet that started them.
    asyncio.run(end(descendants(os.getpid()), ((signal.SIGTERM, 0.5), (signal.SIGKILL, 5.0))))
    sys.stderr.flush()
    os._exit(code)  # Ray's own exit handlers would wait for what has ended


if __name__ == "__main__":
    main()
