"""The data folder: private, locked by one `coscribe up`, and the keeper of generated secrets.

Sockets do not live here, for a socket's path must stay under 108 bytes: each run has a short runtime folder instead.
"""

import contextlib
import fcntl
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

SOCKET_PATH_BYTES: Final = 100  # sun_path holds 108, and Postgres adds its own file name
LOG_TAIL_BYTES: Final = 4096
RUNTIME_VARIABLE: Final = "COSCRIBE_RUNTIME"  # names the folder for sockets to the children of `coscribe up`


class CannotStart(Exception):
    """Something needed is not there, in words for the operator. Printed as it is, without a traceback."""


def private_folder(path: Path) -> Path:
    """Make the folder, with those above it that are missing (mode 0700), or check that nobody else can write to the
    one that is there."""
    try:
        for folder in reversed([folder for folder in (path, *path.absolute().parents) if not folder.exists()]):
            folder.mkdir(mode=0o700, exist_ok=True)
        found = path.stat()
    except OSError as error:
        raise CannotStart(f"Cannot use {path} as a folder: {error.strerror}.") from None
    if found.st_uid != os.geteuid():
        raise CannotStart(f"{path} belongs to another user. Give a folder of your own with --data.")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise CannotStart(f"Others can write to {path}. Say: chmod 700 {path}")
    return path


def runtime_folder() -> Path:
    """A new private folder with a short path, for sockets. The caller removes it."""
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp is safe
        if parent and os.access(parent, os.W_OK | os.X_OK) and len(parent) < SOCKET_PATH_BYTES - 40:
            return Path(tempfile.mkdtemp(prefix="coscribe-", dir=parent))
    raise CannotStart("No folder for sockets: set TMPDIR to a writable folder with a short path.")


def socket_path(folder: Path, name: str) -> Path:
    path = folder / name
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
        raise CannotStart(f"The path of the socket {path} is too long: set TMPDIR to a folder with a shorter path.")
    return path


def stores_on_disk(data: Path, redis_url: str, postgres_url: str) -> tuple[Path, ...]:
    """Where those of the two servers that are ours keep what they have: ours listen in the runtime folder."""
    runtime = os.environ.get(RUNTIME_VARIABLE)
    urls = {"valkey": redis_url, "postgres": postgres_url}
    return tuple(data / name for name, url in urls.items() if runtime and runtime in url)


def write_private(path: Path, text: str) -> None:
    """Replace the file in one step, readable by its owner only."""
    new = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)


def secret(data: Path, name: str) -> str:
    """The secret of this name, made at first use and kept in the data folder."""
    path = private_folder(data / "secrets") / name
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32))
    text = path.read_text().strip()
    if not text:
        raise CannotStart(f"The secret in {path} is empty. Restore it, or start with a new data folder.")
    return text


def locked(path: Path) -> IO[str] | None:
    """The open file, locked, or None while another process holds the lock.

    The lock belongs to the open file: a child that inherits the descriptor keeps it until it ends."""
    file = open(path, "a", opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115 - it outlives us
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


@contextlib.contextmanager
def lock(data: Path) -> Iterator[None]:
    """Hold the data folder for this process, or say who does."""
    path = private_folder(data) / "lock"
    file = locked(path)
    if file is None:
        holder = path.read_text().strip() or "unknown"
        raise CannotStart(f"Coscribe is already running on {data} (process {holder}). Stop it, or give another --data.")
    with file:
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def log_tail(path: Path, lines: int = 8) -> str:
    """The last lines of a log, for a message to the operator."""
    return "\n".join(f"  {line}" for line in _last_lines(path)[-lines:])


def last_line(path: Path) -> str:
    return next((line.strip() for line in reversed(_last_lines(path)) if line.strip()), "")


def _last_lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            return file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
