"""The front proxy of deploy/nginx, as it is given to people, with other addresses in it."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from cluster import launch as launcher
from cluster.processes import descendants
from tests.cluster.waiting import until
from tests.support.ports import free_port
from tests.support.required import cannot_run
from tests.support.services import short_folder

EXAMPLE = Path(__file__).parents[2] / "deploy" / "nginx" / "coscribe.conf"
HASH = "    hash $coscribe_key consistent;\n"
LISTEN = "    listen 80;\n"
WORKERS = 2
START_TIMEOUT_S = 20
STOP_TIMEOUT_S = 10

AROUND = """\
pid nginx.pid;
worker_processes {workers};
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path body; proxy_temp_path proxied; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    include {example};
}}
"""


def program() -> str | None:
    return shutil.which("nginx", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")


class Nginx:
    """One running nginx. `url` is plain HTTP."""

    def __init__(self, folder: Path, routers: Sequence[int], changes: Mapping[str, str]) -> None:
        self.folder, self.port = folder, free_port()
        self._changes = {LISTEN: f"    listen 127.0.0.1:{self.port};\n", **changes}
        self._configure(routers)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def said(self) -> str:
        """What it wrote of requests, and of itself."""
        return "".join((self.folder / name).read_text() for name in ("access.log", "nginx.log"))

    def _configure(self, routers: Sequence[int]) -> None:
        (self.folder / "coscribe.conf").write_text(filled(routers, self._changes))

    def _spawn(self, binary: str) -> subprocess.Popen[bytes]:
        # As root it would change its user and lose this folder; and no root is needed above port 1023.
        user = "nobody" if os.geteuid() == 0 else "-"
        launch = [sys.executable, str(launcher.__file__), str(os.getpid()), str(int(signal.SIGTERM)), user]
        command = [binary, "-e", "stderr", "-p", str(self.folder), "-c", "nginx.conf", "-g", "daemon off;"]
        with (self.folder / "nginx.log").open("wb") as output:
            return subprocess.Popen([*launch, *command], stdin=subprocess.DEVNULL, stderr=output)

    async def start(self, binary: str) -> None:
        self.process = self._spawn(binary)
        async with asyncio.timeout(START_TIMEOUT_S):
            while not await self._listens():
                assert self.process.poll() is None, f"nginx ended:\n{self.said}"
                await asyncio.sleep(0.02)

    async def _listens(self) -> bool:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.close()
            await writer.wait_closed()
            return True
        return False

    async def reload(self, routers: Sequence[int]) -> None:
        """Other routers, as `nginx -s reload` does it: returns once new workers take what comes now."""
        assert self.process is not None
        before = self._workers()
        self._configure(routers)
        self.process.send_signal(signal.SIGHUP)
        # A worker that goes on for its sockets says so in its title; one that has none ends.
        await until(lambda: len(new := self._workers()) == WORKERS and not new & before, START_TIMEOUT_S)

    def _workers(self) -> set[int]:
        """Those that take new connections."""
        assert self.process is not None
        found = set()
        for worker in descendants(self.process.pid):
            with contextlib.suppress(OSError):
                if b"shutting down" not in Path(f"/proc/{worker.pid}/cmdline").read_bytes():
                    found.add(worker.pid)
        return found

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(STOP_TIMEOUT_S)


def filled(routers: Sequence[int], changes: Mapping[str, str]) -> str:
    """The example for routers on these ports. Each of `changes` is in it once."""
    text = EXAMPLE.read_text("utf-8")
    server = "    server 127.0.0.1:{} max_fails=1 fail_timeout=10s;\n"
    examples = server.format(8081) + server.format(8082)
    servers = "".join(server.format(port) for port in routers)
    for old, new in {examples: servers, "/var/log/nginx/coscribe.log": "access.log", **changes}.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@contextlib.asynccontextmanager
async def front_proxy(routers: Sequence[int], changes: Mapping[str, str] | None = None) -> AsyncIterator[Nginx]:
    """The example in front of routers on these ports of this machine."""
    binary = program()
    if binary is None:
        cannot_run("nginx", "there is no `nginx` on the PATH")
    with short_folder() as folder:
        nginx = Nginx(folder, routers, changes or {})
        (folder / "nginx.conf").write_text(AROUND.format(example=folder / "coscribe.conf", workers=WORKERS))
        (folder / "access.log").touch()
        if os.geteuid() == 0:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, "nobody")
        try:
            await nginx.start(binary)
            yield nginx
        finally:
            nginx.stop()
