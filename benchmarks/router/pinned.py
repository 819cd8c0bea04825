"""The system under measure: the whole product on one core, and the generator on another, where there is another.

The core is given to `coscribe up` before it starts, and every process and thread inherits it; `strays` looks in /proc
whether all are still there. Who does the work is told apart by the parts of the product.
"""

import contextlib
import os
import resource
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from cluster.postgres import postgres_url
from cluster.processes import descendants
from cluster.valkey import valkey_url
from persistence.reader import RedisLogReader
from persistence.redis_client import shared_client
from persistence.store import PostgresStore
from tests.support.system import System, running_system

OF_RAY: Final = "ray"  # its servers and agents, the controller, and `coscribe up` itself
TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Pinned:
    """A running product of one router and one host, its stores, and the cores."""

    system: System
    http: aiohttp.ClientSession
    store: PostgresStore
    log: RedisLogReader
    core: int
    generator_core: int
    token: str

    def part_of(self) -> dict[int, str]:
        """Every process of the product by pid, with the part that it belongs to."""
        state = self.system.state()
        up = int(state["up"]["pid"])
        found = {up: OF_RAY} | {process.pid: OF_RAY for process in descendants(up)}
        servers = {name.lower(): int(part["pid"]) for name, part in state["parts"].items() if name != "Ray"}
        for name, pid in servers.items():
            part = "router" if name.startswith("router-") else name
            found |= {pid: part} | {process.pid: part for process in descendants(pid)}
        return found | {int(pid): "host" for name, pid in state["hosts"].items() if name.startswith("host-")}

    def cpu_s(self) -> dict[int, float]:
        """CPU seconds so far, by pid."""
        return {pid: spent for pid in self.part_of() if (spent := _cpu_s(pid)) is not None}

    def spent(self, since: dict[int, float]) -> dict[str, float]:
        """CPU seconds of each part since `cpu_s` was asked. A process that ended meanwhile is not counted."""
        parts = self.part_of()
        found = dict.fromkeys(sorted(set(parts.values())), 0.0)
        for pid, spent in self.cpu_s().items():
            if pid in parts:
                found[parts[pid]] += spent - since.get(pid, 0.0)
        return found

    def rss_kb(self, part: str = "router-0") -> int:
        text = Path(f"/proc/{self.system.pid(part)}/status").read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS:"))

    def strays(self) -> list[str]:
        """Threads of the product that may run on another core."""
        return [
            f"{part} {task.name}: {allowed}"
            for pid, part in self.part_of().items()
            for task in _tasks(pid)
            if (allowed := _allowed(task)) not in (str(self.core), None)
        ]


def _cpu_s(pid: int) -> float | None:
    """User and system time, None if the process is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) * TICK_S


def _tasks(pid: int) -> list[Path]:
    with contextlib.suppress(OSError):
        return list(Path(f"/proc/{pid}/task").iterdir())
    return []


def _allowed(task: Path) -> str | None:
    with contextlib.suppress(OSError):
        for line in (task / "status").read_text().splitlines():
            if line.startswith("Cpus_allowed_list:"):
                return line.split()[1]
    return None


@contextlib.contextmanager
def started(settings: dict[str, object] | None = None) -> Iterator[tuple[System, int, int]]:
    """The product on the first core that we may use, this thread on the last; afterwards as before."""
    before = os.sched_getaffinity(0)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    core, generator_core = min(before), max(before)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a socket is a file, here and in the router
    try:
        os.sched_setaffinity(0, {core})
        with running_system(hosts=1, routers=1, settings=settings) as system:
            os.sched_setaffinity(0, {generator_core})
            yield system, core, generator_core
            os.sched_setaffinity(0, before)
    finally:
        os.sched_setaffinity(0, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.asynccontextmanager
async def tools_of(running: tuple[System, int, int]) -> AsyncIterator[Pinned]:
    """What measures and audits need, in the loop that is to use it."""
    system, core, generator_core = running
    runtime = Path(system.state()["runtime"])
    redis: Any = shared_client(valkey_url(system.data, runtime))
    store = await PostgresStore.connect(postgres_url(system.data, runtime))
    try:
        async with aiohttp.ClientSession() as http:
            yield Pinned(system, http, store, RedisLogReader(redis), core, generator_core, system.guest("class"))
    finally:
        await store.aclose()
        await redis.aclose()
