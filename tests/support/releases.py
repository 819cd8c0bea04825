"""A later release of the product, made from this one; and parts of any release as processes of their own, without Ray.

The later release has the next version of the link and of the clients' protocol, says more in what the present one
reads, and says things that only its own version knows.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import aiohttp

from cluster.cluster_map import ClusterMap, decode_map
from cluster.config import load
from persistence.map_store import RedisMapStore
from persistence.redis_client import shared_client
from tests.support.cluster import SECRET, free_port

HERE: Final = Path(__file__).parents[2]
PACKAGES: Final = ("coscribe", "persistence", "actors", "router", "cluster", "tests/support", "tests/integration")
END_TIMEOUT_S: Final = 20
POLL_S: Final = 0.05

# In which file, what, and what stands there in the later release, whose version is VERSION.
CHANGES: Final = (
    ("coscribe/protocol.py", "\nVERSION: Final = 1\n", "\nVERSION: Final = VERSION_HERE\n"),
    ("coscribe/link.py", "LINK_VERSION: Final = 1\n", "LINK_VERSION: Final = VERSION_HERE\n"),
    ("coscribe/link.py", "    delta: bytes\n", '    delta: bytes\n    release: str = "later"\n'),
    (
        "coscribe/link.py",
        "\n\nToHost = ",
        '\n\nclass Nudge(msgspec.Struct, array_like=True, tag="nudge", frozen=True):\n'
        "    key: SectionKey\n    request: int = 0\n\n\nToHost = Nudge | ",
    ),
    (
        "coscribe/link.py",
        "\n\nToRouter = ",
        '\n\nclass Hint(msgspec.Struct, array_like=True, tag="hint", frozen=True):\n    request: int = 0\n\n\n'
        "ToRouter = Hint | ",
    ),
    ("coscribe/link.py", "int]] = {}\n", "int]] = {Nudge: 2, Hint: 2}\n"),
    (
        "coscribe/batch.py",
        "    authors: tuple[Author, ...]\n",
        '    authors: tuple[Author, ...]\n    release: str = "later"\n',
    ),
    ("cluster/cluster_map.py", '    process: str = ""\n', '    process: str = ""\n    release: str = "later"\n'),
    ("router/link.py", " host_link.send(message)\n", " all(map(host_link.send, (message, link.Nudge(message.key))))\n"),
    (
        "router/link.py",
        "        future = self._asked.get(message.request)\n",
        "        if isinstance(message, link.Hint):\n            log_event.info('hinted')\n"
        "        future = self._asked.get(message.request)\n",
    ),
    (
        "actors/host.py",
        "            actor.submit(message, reply)\n",
        "            actor.submit(message, reply)\n            reply(link.Hint())\n"
        "        case link.Nudge():\n            log_event.info('nudged')\n",
    ),
)  # fmt: skip


def later_release(folder: Path, version: int) -> Path:
    """Its source."""
    for package in PACKAGES:
        shutil.copytree(HERE / package, folder / package, ignore=shutil.ignore_patterns("static", "__pycache__"))
    (folder / "tests/__init__.py").touch()
    for name, before, after in CHANGES:
        text = (folder / name).read_text()
        assert text.count(before) == 1, f"{name} has changed: {before!r}"
        (folder / name).write_text(text.replace(before, after.replace("VERSION_HERE", str(version))))
    return folder


class Fleet:
    """Hosts and routers, each of a release that may be another one each time it is started."""

    def __init__(self, redis_url: str, postgres_url: str, data: Path) -> None:
        self.data = data
        (data / "logs").mkdir(parents=True)
        self._settings = {
            "data": data, "redis_url": redis_url, "postgres_url": postgres_url, "cluster_secret": SECRET,
            "token_secret": SECRET, "lease_ttl_s": 1.0,
        }  # fmt: skip
        self._ports: dict[str, int] = {}
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._redis = shared_client(redis_url)
        self._map = RedisMapStore(self._redis)

    def url(self, router: str) -> str:
        return f"http://127.0.0.1:{self._ports[router]}"

    def log(self, part: str) -> str:
        return (self.data / "logs" / f"{part}.log").read_text()

    async def start_host(self, name: str, release: Path) -> None:
        before = (await self.map()).hosts.get(name)
        await self.spawn(name, release, "tests.support.host_process", name)
        while (await self.map()).hosts.get(name) in (None, before):
            await asyncio.sleep(POLL_S)
            self._check(name)

    async def start_router(self, name: str, release: Path) -> None:
        port = self._ports.setdefault(name, free_port())
        await self.spawn(name, release, "router.app", port=port)
        async with aiohttp.ClientSession() as http:
            while not await _answers(http, f"{self.url(name)}/readyz"):
                await asyncio.sleep(POLL_S)
                self._check(name)

    async def map(self) -> ClusterMap:
        encoded = await self._map.read()
        return decode_map(encoded) if encoded else ClusterMap()

    async def spawn(
        self, name: str, release: Path, module: str, *arguments: str, port: int = 0, **given: int
    ) -> asyncio.subprocess.Process:
        """Its output goes to its log, behind what an earlier process of the name said."""
        settings = load(**self._settings, **({"port": port} if port else {})).resolved()
        environment = os.environ | settings.environment() | {"PYTHONPATH": str(release)}
        with (self.data / "logs" / f"{name}.log").open("ab") as log:
            self._processes[name] = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, *arguments, cwd=release, env=environment,
                **{"stdout": log, "stderr": log, **given},
            )  # fmt: skip
        return self._processes[name]

    def _check(self, name: str) -> None:
        assert self._processes[name].returncode is None, f"{name} ended:\n{self.log(name)}"

    async def stop(self, name: str) -> None:
        """SIGTERM: in good order."""
        process = self._processes.pop(name)
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0, self.log(name)

    async def end(self) -> None:
        for process in self._processes.values():
            if process.returncode is None:
                process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_TIMEOUT_S):
                await asyncio.gather(*(process.wait() for process in self._processes.values()))
        for process in self._processes.values():
            if process.returncode is None:
                process.kill()
                await process.wait()
        await self._redis.aclose()


@contextlib.asynccontextmanager
async def fleet(redis_url: str, postgres_url: str, data: Path) -> AsyncIterator[Fleet]:
    """Its end is the end of every process in it."""
    made = Fleet(redis_url, postgres_url, data)
    try:
        yield made
    finally:
        await made.end()


async def _answers(http: aiohttp.ClientSession, url: str) -> bool:
    with contextlib.suppress(aiohttp.ClientError, OSError):
        async with http.get(url) as response:
            return response.status == 200
    return False
