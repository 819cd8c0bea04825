"""The actors that Ray starts and restarts: thin wrappers, one around a shard host, one around the controller.

They take no secrets as arguments, for Ray shows those: each reads its settings from the environment that it inherits.
They serve from birth: after a crash Ray runs `__init__` again, and nobody else has to notice.
"""

import asyncio
import contextlib
import os
import secrets
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import structlog
from pydantic import SecretStr

from cluster.config import Settings, load
from cluster.data_folder import RUNTIME_VARIABLE, stores_on_disk
from cluster.logs import configure, write_output_to
from cluster.processes import process_name

if TYPE_CHECKING:
    from actors.host_server import RunningHost
    from coscribe.ot import Limits

FIRST_RETRY_S: Final = 0.1
LONGEST_RETRY_S: Final = 5.0
STOP: Final = b"stop\n"
RESTART: Final = b"restart\n"

log = structlog.get_logger()


def control_socket(name: str, pid: int) -> Path | None:
    """None on another machine than that of `coscribe up`."""
    runtime = os.environ.get(RUNTIME_VARIABLE)
    return control_socket_in(Path(runtime), name, pid) if runtime and Path(runtime).is_dir() else None


def control_socket_in(runtime: Path, name: str, pid: int) -> Path:
    return runtime / f"{name}.{pid}"


async def stop_directly(name: str, pid: int) -> None:
    """Returns when the actor has stopped, or is gone. Raises OSError if it cannot be told."""
    await _tell(control_socket(name, pid), STOP)


async def restart_directly(runtime: Path, name: str, pid: int) -> None:
    """Let it stop, and end, so that Ray starts it anew. Returns and raises as `stop_directly`."""
    await _tell(control_socket_in(runtime, name, pid), RESTART)


async def _tell(socket: Path | None, word: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        writer.write(word)
        await reader.read()
    finally:
        writer.close()


class Running(Protocol):
    async def failed(self) -> None:
        """Raises when it cannot go on."""

    async def stop(self) -> None: ...


class Actor:
    """Starts its part until that succeeds, and stops it when told to."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._settings = load()
        folder = self._settings.data / "logs"
        if folder.is_dir():  # it is not on another machine, where Ray keeps the output
            write_output_to(folder / f"{name}.log")
        configure(self._settings.log_level, self._settings.log_format)
        self._error = ""
        self._serves = False
        self._serving = asyncio.get_running_loop().create_task(self._serve())
        self._listening = asyncio.get_running_loop().create_task(self._listen())

    async def _serve(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            try:
                await self._serve_once()
            except Exception as error:  # top of a loop: a service that is not there yet, or a mistake to show
                self._error = f"{type(error).__name__}: {error}"
                log.exception("failed", part=self._name, retry_s=retry_s)
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, LONGEST_RETRY_S)

    async def _serve_once(self) -> None:
        running = await self._start(self._settings)
        self._serves = True
        try:
            await running.failed()
        finally:
            self._serves = False
            await running.stop()

    async def _listen(self) -> None:
        """Where `stop` is said: Ray carries no calls once it has lost its raylet."""
        path = control_socket(self._name, os.getpid())
        if path is not None:
            async with await asyncio.start_unix_server(self._told, path) as server:
                await server.serve_forever()

    async def _told(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        word = await reader.readline()
        try:
            if word in (STOP, RESTART):
                await self.stop()
        finally:
            if word == RESTART:
                self._end()
            writer.close()

    def _end(self) -> None:
        """By an exit of which Ray is not told: one that it is told of (`ray.actor.exit_actor`) would be for good."""
        sys.stderr.flush()
        os._exit(0)

    def _start(self, settings: Settings) -> Awaitable[Running]:
        raise NotImplementedError

    async def ping(self) -> tuple[int, bool, str]:
        """Its pid, whether it serves, and why it last failed to start."""
        return os.getpid(), self._serves, self._error

    async def stop(self) -> None:
        """Hand off, flush and close."""
        self._listening.cancel()
        self._serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._serving


def given(secret: SecretStr | None) -> str:
    assert secret is not None, "whoever starts Ray passes resolved settings on"
    return secret.get_secret_value()


class HostAndStandIn:
    """A host, and beside it what stands in for the controller."""

    def __init__(self, host: "RunningHost") -> None:
        from actors.lease import Stage, boot_time
        from cluster.stand_in import StandIn

        self._host = host
        name, ttl_s = host.settings.name, host.settings.lease_ttl_s
        stand_in = StandIn(host.map_store, name, ttl_s, boot_time, lambda: host.stage() is Stage.HELD)
        self._task = asyncio.get_running_loop().create_task(stand_in.run())

    async def failed(self) -> None:
        await self._host.failed()

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._host.stop()


def limits_of(settings: Settings) -> "Limits":
    from coscribe.ot import Limits

    return Limits(
        op_bytes=settings.limit_op_bytes,
        components=settings.limit_op_components,
        text_units=settings.limit_op_bytes,
        attribute_bytes=settings.limit_attribute_bytes,
        depth=settings.limit_attribute_depth,
        document_units=settings.limit_document_bytes,
        document_bytes=settings.limit_document_bytes,
    )


class HostActor(Actor):
    async def _start(self, settings: Settings) -> Running:
        from actors.host_server import HostSettings, serve_host

        host = await serve_host(
            HostSettings(
                name=self._name,
                redis_url=given(settings.redis_url),
                postgres_url=given(settings.postgres_url),
                cluster_secret=given(settings.cluster_secret),
                bind=settings.host_bind,
                lease_ttl_s=settings.lease_ttl_s,
                replicas=settings.replicas if settings.durability == "replica" else 0,
                limits=limits_of(settings),
                backlog_bytes=settings.limit_backlog_bytes,
                stores=stores_on_disk(settings.data, given(settings.redis_url), given(settings.postgres_url)),
                disk_free_bytes=settings.limit_disk_free_bytes,
                process=process_name(),
            )
        )
        return HostAndStandIn(host)


class RunningController:
    def __init__(self, settings: Settings) -> None:
        from cluster.controller import Controller
        from persistence.map_store import RedisMapStore
        from persistence.redis_client import shared_client

        self._redis = shared_client(given(settings.redis_url))
        controller = Controller(RedisMapStore(self._redis), secrets.token_hex(8), settings.lease_ttl_s)
        self._task = asyncio.get_running_loop().create_task(controller.run())

    async def failed(self) -> None:
        await asyncio.shield(self._task)

    async def stop(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._redis.aclose()


class ControllerActor(Actor):
    async def _start(self, settings: Settings) -> Running:
        return RunningController(settings)
