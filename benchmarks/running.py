"""Starts and stops the whole product for a benchmark, as a person would."""

import asyncio
import contextlib
import signal
import sys
import time
from pathlib import Path
from typing import Final

import aiohttp

START_TIMEOUT_S: Final = 120.0
STOP_TIMEOUT_S: Final = 60.0


class Running:
    """`coscribe up` on a data folder of the benchmark's own."""

    def __init__(self, data: Path, port: int, http: aiohttp.ClientSession, *options: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._command = [
            str(Path(sys.executable).with_name("coscribe")),
            "up",
            "--data",
            str(data),
            "--port",
            str(port),
        ]
        self._command += options
        self._http = http
        self._log = data.with_suffix(".log")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> float:
        """Returns the seconds until a document could be opened and read."""
        started = time.perf_counter()
        with self._log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(*self._command, stdout=output, stderr=output)
        async with asyncio.timeout(START_TIMEOUT_S):
            while not await self._serves():
                if self._process.returncode is not None:
                    raise RuntimeError(f"`coscribe up` ended:\n{self._log.read_text(errors='replace')}")
                await asyncio.sleep(0.05)
        return time.perf_counter() - started

    async def _serves(self) -> bool:
        with contextlib.suppress(aiohttp.ClientError, KeyError, ValueError):
            token = await self.token("starter")
            headers = {"Authorization": f"Bearer {token}"}
            async with self._http.get(f"{self.url}/readyz") as response:
                if response.status != 200:
                    return False
            async with self._http.post(f"{self.url}/v1/documents", json={"id": "first"}, headers=headers) as response:
                if response.status not in (201, 409):
                    return False
            async with self._http.get(f"{self.url}/v1/documents/first", headers=headers) as response:
                return response.status == 200
        return False

    async def token(self, name: str) -> str:
        """A guest's access token."""
        async with self._http.post(f"{self.url}/v1/auth/guest?token=1", json={"name": name}) as response:
            body = await response.json()
            token: str = body["token"]
            return token

    async def stop(self) -> None:
        """Ctrl-C, and wait until everything has ended."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGINT)
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await self._process.wait()
