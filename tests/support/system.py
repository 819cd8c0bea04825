"""The whole product, as `coscribe up` starts it: embedded services, Ray, hosts, a router."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cluster import launch as launcher
from tests.support.ports import free_port

START_TIMEOUT_S = 90
STOP_TIMEOUT_S = 60


class System:
    """One data folder; `start` and `stop` run `coscribe up` on it, as often as wanted. `settings` go by environment."""

    def __init__(
        self, folder: Path, *, hosts: int = 2, routers: int = 1, settings: Mapping[str, object] | None = None
    ) -> None:
        self.data = folder / "data"
        self.port = free_port()
        self._hosts, self._routers = hosts, routers
        self._environment = {f"COSCRIBE_{name.upper()}": str(value) for name, value in (settings or {}).items()}
        self._output = folder / "up.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        """What `coscribe up` printed."""
        return self._output.read_text(errors="replace")

    def command(self) -> list[str]:
        numbers = ["--port", str(self.port), "--hosts", str(self._hosts), "--routers", str(self._routers)]
        return [str(Path(sys.executable).with_name("coscribe")), "up", "--data", str(self.data), *numbers]

    def start(self) -> None:
        with self._output.open("ab") as output:
            # By the launcher of the product's own children: a test run that is killed takes the system with it.
            launch = [sys.executable, str(launcher.__file__), str(os.getpid()), str(int(signal.SIGTERM)), "-"]
            self._process = subprocess.Popen(
                [*launch, *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | self._environment,
                start_new_session=True,
            )
        self.wait_for(self.ready, START_TIMEOUT_S)

    def stop(self) -> None:
        """Ctrl-C, and wait until everything has ended."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            code = self._process.wait(STOP_TIMEOUT_S)
            self._process = None
            assert code == 0, f"`coscribe up` ended with {code}:\n{self.output}"

    def abandon(self) -> None:
        """End it whatever state it is in; the parts end with it."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT_S)
            self._process.kill()
            self._process = None

    def ready(self) -> bool:
        """A client that comes now is served by every host."""
        found = self.get("/readyz")
        return found is not None and found.get("hosts") == self._hosts

    def get(self, path: str, token: str = "") -> dict[str, Any] | None:
        """The JSON that the router answers, None while there is no good answer."""
        try:
            asked = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {token}"})
            with urllib.request.urlopen(asked, timeout=5) as response:
                found: dict[str, Any] = json.load(response)
                return found
        except (OSError, ValueError):
            return None

    def guest(self, name: str = "Ann") -> str:
        """A guest's access token."""
        asked = urllib.request.Request(
            f"{self.url}/v1/auth/guest?token=1",
            json.dumps({"name": name}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked, timeout=10) as response:
            token: str = json.load(response)["token"]
            return token

    def wait_for(self, reached: Callable[[], bool], timeout_s: float = 60) -> None:
        """Poll until it is so. Fails with what `coscribe up` printed."""
        deadline = time.monotonic() + timeout_s
        while not reached():
            assert time.monotonic() < deadline, f"not reached in {timeout_s} s:\n{self.output}"
            assert self._process is None or self._process.poll() is None, f"`coscribe up` ended:\n{self.output}"
            time.sleep(0.05)

    # --- Parts ---

    def state(self) -> dict[str, Any]:
        """What `coscribe up` says of its parts; `routers` lists those of one kind."""
        found: dict[str, Any] = json.loads((self.data / "state.json").read_text())
        found["routers"] = [part for name, part in found["parts"].items() if name.startswith("router-")]
        return found

    def all_known(self) -> bool:
        """Whether `coscribe up` has heard that every host serves: routers see that a little earlier."""
        return {f"host-{slot}" for slot in range(self._hosts)} <= set(self.state()["hosts"])

    def pid(self, part: str) -> int:
        """The process id of `router-0`, `host-1`, `Valkey`, `Postgres`, `Ray` …"""
        state = self.state()
        found = state["hosts"].get(part) or state["parts"][part]["pid"]
        return int(found)

    def kill(self, part: str) -> int:
        """kill -9; returns the process id that it had."""
        pid = self.pid(part)
        os.kill(pid, signal.SIGKILL)
        return pid

    def log(self, part: str) -> str:
        return (self.data / "logs" / f"{part}.log").read_text(errors="replace")


@contextlib.contextmanager
def running_system(**given: Any) -> Iterator[System]:
    with tempfile.TemporaryDirectory(prefix="cs-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        system = System(Path(folder), **given)
        try:
            system.start()
            yield system
            system.stop()
        finally:
            system.abandon()
