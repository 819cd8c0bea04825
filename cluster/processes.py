"""Processes that we own: started in a session of their own, known by pid and start, ended when their parent ends.

A pid alone names nobody: it is reused. Whatever is signalled here is either a child that was not yet waited for, so
that its pid cannot be reused, or a process whose start (in clock ticks since this boot) is the recorded one.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

import msgspec

PR_SET_CHILD_SUBREAPER: Final = 36
POLL_S: Final = 0.02  # only where the kernel has no pidfd

Signals = Sequence[tuple[signal.Signals, float]]
"""What to send, and how long to wait after each before the next."""
GENTLY: Final[Signals] = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))
LAUNCHER: Final = str(Path(__file__).with_name("launch.py"))


class ProcessId(msgspec.Struct, frozen=True):
    """`started` and `boot` tell the process from a later one with the same pid."""

    pid: int
    started: int
    boot: str


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _stat(pid: int) -> list[str] | None:
    """What follows the name in /proc/PID/stat, from the state on; None if the process is gone, or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields


def identify(pid: int) -> ProcessId | None:
    """The identity of a running process, None if there is none (a zombie is none)."""
    fields = _stat(pid)
    return ProcessId(pid, int(fields[19]), _boot_id()) if fields else None


def command_line(pid: int) -> list[str]:
    """Empty if the process is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
    except OSError:
        return []


def program(pid: int) -> str:
    """The name of the program that runs, empty if the process is gone."""
    return Path((command_line(pid) or [""])[0]).name


def is_running(process: ProcessId) -> bool:
    return identify(process.pid) == process


def process_name() -> str:
    """Names this process to others on its machine, and to nobody else: by boot, namespace of pids, pid and start."""
    me = identify(os.getpid())
    assert me is not None, "who asks runs"
    return f"{me.boot}/{_pid_namespace()}/{me.pid}/{me.started}"


def has_ended(name: str) -> bool:
    """Whether a process that named itself is known to be gone. Of one that runs elsewhere, or told no name, nothing is
    known: False."""
    boot, _, rest = name.partition("/")
    namespace, _, numbers = rest.partition("/")
    pid, _, started = numbers.partition("/")
    if not started or boot != _boot_id() or namespace != _pid_namespace():
        return False
    return not is_running(ProcessId(int(pid), int(started), boot))


def _pid_namespace() -> str:
    """Two containers of one machine have the same pids for other processes."""
    return os.readlink("/proc/self/ns/pid")


def descendants(pid: int) -> list[ProcessId]:
    """Every running process below this one, parents before their children."""
    boot = _boot_id()
    children: dict[int, list[ProcessId]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))):
            children.setdefault(int(fields[1]), []).append(ProcessId(int(entry), int(fields[19]), boot))
    found = list(children.get(pid, ()))
    for process in found:
        found += children.get(process.pid, ())
    return found


def become_subreaper() -> None:
    """Orphans among our descendants come to us instead of init: Ray's agents outlive the raylet that started them."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Child:
    """A process that we started and have to wait for."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", log: Path | None) -> None:
        self.name = name
        self.log = log
        self.process = process
        self.id = identify(process.pid)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def exit_code(self) -> int | None:
        return self.process.poll()

    async def wait(self) -> int:
        while (code := self.process.poll()) is None:
            await exited(self.pid)
        return code

    async def stop(self, signals: Signals = GENTLY) -> int:
        """Send each signal in turn until the process ends."""
        for number, wait_s in signals:
            if self.process.poll() is None:
                self.process.send_signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    return await self.wait()
        return await self.wait()

    def kill(self) -> None:
        """End it now, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


def spawn(
    name: str,
    argv: Sequence[str],
    *,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    death_signal: signal.Signals = signal.SIGTERM,
    pass_fds: Sequence[int] = (),
    pipes: bool = False,
) -> Child:
    """Start a child: in its own session, so that a terminal's Ctrl-C reaches its parent alone, and sent `death_signal`
    when the parent dies. Output goes to the end of `log`; `pipes` gives it stdin and stdout of pipes instead.

    Call it from the main thread: the kernel sends the death signal when the *thread* that forked ends."""
    launch = [sys.executable, "-I", "-S", LAUNCHER, str(os.getpid()), str(int(death_signal)), user or "-"]
    with open_log(log) as output:
        process = subprocess.Popen(
            [*launch, *argv],
            stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipes else output,
            stderr=output,
            env=env,
            pass_fds=pass_fds,
            start_new_session=True,
        )
    return Child(name, process, log)


def open_log(log: Path | None) -> IO[bytes]:
    """Append mode, so that a log can be cut short while its writer goes on."""
    return open(log or os.devnull, "ab", opener=lambda path, flags: os.open(path, flags, 0o600))


async def exited(pid: int) -> None:
    """Return when the process has ended (as a zombie or altogether)."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):
        await asyncio.sleep(POLL_S)
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def end(processes: Iterable[ProcessId], signals: Signals = GENTLY) -> list[ProcessId]:
    """End processes that need not be our children, if they are still the same; returns those that were running."""
    found = [process for process in processes if is_running(process)]
    left = found
    for number, wait_s in signals:
        for process in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, number)
        deadline = time.monotonic() + wait_s
        while left and time.monotonic() < deadline:
            left = [process for process in left if is_running(process)]
            if left:
                await asyncio.sleep(POLL_S)
    return found


async def end_adopted(processes: Iterable[ProcessId], signals: Signals = GENTLY) -> None:
    """End orphans that came to us, and take their exit codes, so that they do not stay as zombies."""
    for process in await end(processes, signals):
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)  # noqa: ASYNC222 - it does not wait
