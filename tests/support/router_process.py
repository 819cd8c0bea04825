"""Routers as an operator with services of his own runs them: processes, each on a port of its own."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from cluster import launch as launcher
from cluster.config import Settings

START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 30


class RouterProcess:
    """`python -m router.app` with settings that are resolved."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self.settings, self.log = settings, log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _spawn(self) -> subprocess.Popen[bytes]:
        launch = [sys.executable, str(launcher.__file__), str(os.getpid()), str(int(signal.SIGKILL)), "-"]
        with self.log.open("ab") as output:
            return subprocess.Popen(
                [*launch, sys.executable, "-m", "router.app"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=os.environ | self.settings.environment(),
            )  # fmt: skip

    async def start(self) -> None:
        """Returns once clients are served."""
        self._process = self._spawn()
        async with aiohttp.ClientSession() as http, asyncio.timeout(START_TIMEOUT_S):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.get(f"{self.url}/readyz") as response:
                        # Another one may answer on this port: the log is of this one alone.
                        if response.status == 200 and "serving" in self.log.read_text():
                            return
                assert self._process.poll() is None, f"the router ended:\n{self.log.read_text()}"
                await asyncio.sleep(0.05)

    async def gauge(self, name: str) -> int:
        """A metric of this router."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.url}/metrics") as response:
            families = text_string_to_metric_families(await response.text())
        return next(int(family.samples[0].value) for family in families if family.name == name)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send the signal, and wait until it has ended."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(STOP_TIMEOUT_S)


@contextlib.asynccontextmanager
async def router_processes(all_settings: list[Settings], folder: Path) -> AsyncIterator[list[RouterProcess]]:
    routers = [RouterProcess(settings, folder / f"router-{number}.log") for number, settings in enumerate(all_settings)]
    try:
        await asyncio.gather(*(router.start() for router in routers))
        yield routers
    finally:
        for router in routers:
            router.end()
