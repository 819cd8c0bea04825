"""The private servers: start, stop, a second start that finds everything, and plain words when something is wrong."""

import asyncio
import os
import shutil
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from cluster import postgres, valkey
from cluster.data_folder import CannotStart, lock, private_folder, runtime_folder, socket_path
from cluster.embedded import Service
from cluster.postgres import find_postgres, start_postgres
from cluster.processes import command_line, spawn
from cluster.valkey import Fsync, find_valkey, start_valkey
from tests.cluster.waiting import until
from tests.support.required import cannot_run
from tests.support.services import short_folder

pytestmark = pytest.mark.services
DEBIAN_15 = Path("/usr/lib/postgresql/15/bin/postgres")
HAS_DEBIAN_15 = DEBIAN_15.exists()


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as found:
        yield found


async def ask_valkey(service: Service, *command: str | int) -> object:
    async with redis.asyncio.Redis.from_url(service.url, decode_responses=True) as client:
        return await client.execute_command(*command)


async def ask_postgres(service: Service, query: str) -> object:
    connection = await asyncpg.connect(service.url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_valkey_keeps_what_it_acknowledged_through_kill_9(folder: Path) -> None:
    first = await start_valkey(folder, folder)
    await ask_valkey(first, "SET", "key", "kept")
    first.child.kill()
    second = await start_valkey(folder, folder)
    assert await ask_valkey(second, "GET", "key") == "kept"
    await second.stop()
    assert second.child.exit_code == 0


@pytest.mark.parametrize(
    ("fsync", "expected"), [("always", ["yes", "always"]), ("everysec", ["yes", "everysec"]), ("never", ["no"])]
)
async def test_valkey_is_set_to_the_durability(folder: Path, fsync: Fsync, expected: list[str]) -> None:
    service = await start_valkey(folder, folder, fsync=fsync)
    try:
        found = [await ask_valkey(service, "CONFIG", "GET", name) for name in ("appendonly", "appendfsync")]
        assert [value for answer in found for value in answer.values()][: len(expected)] == expected  # type: ignore[attr-defined]
        assert await ask_valkey(service, "CONFIG", "GET", "save") == {"save": ""}
        assert await ask_valkey(service, "CONFIG", "GET", "maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert await ask_valkey(service, "CONFIG", "GET", "port") == {"port": "0"}
    finally:
        await service.stop()


async def test_valkey_wants_its_password_and_is_private(folder: Path) -> None:
    service = await start_valkey(folder, folder)
    try:
        url = f"unix://{folder}/valkey.sock"
        async with redis.asyncio.Redis.from_url(url, retry=Retry(NoBackoff(), 0)) as stranger:
            with pytest.raises(redis.exceptions.RedisError, match=r"(?i)auth"):
                await stranger.ping()
        assert stat.S_IMODE((folder / "valkey.sock").stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "valkey" / "valkey.conf").stat().st_mode) == 0o600
        password = (folder / "secrets" / "redis_password").read_text()
        assert password not in " ".join(command_line(service.pid))
    finally:
        await service.stop()


async def test_a_second_valkey_on_the_same_folder_is_refused_while_the_first_lives(folder: Path) -> None:
    """Also when nobody remembers it: the lock is its own."""
    service = await start_valkey(folder, folder)
    try:
        with pytest.raises(CannotStart, match="already running"):
            await start_valkey(folder, folder)
    finally:
        await service.stop()


async def test_postgres_keeps_what_it_committed_through_kill_9(folder: Path) -> None:
    first = await start_postgres(folder, folder)
    await ask_postgres(first, "CREATE TABLE kept (line text)")
    await ask_postgres(first, "INSERT INTO kept VALUES ('line')")
    first.child.kill()
    second = await start_postgres(folder, folder)
    assert await ask_postgres(second, "SELECT line FROM kept") == "line"
    await second.stop()
    assert second.child.exit_code == 0


async def test_postgres_is_private_and_durable(folder: Path) -> None:
    service = await start_postgres(folder, folder)
    try:
        assert await ask_postgres(service, "SHOW fsync") == "on"
        assert await ask_postgres(service, "SHOW synchronous_commit") == "on"
        assert await ask_postgres(service, "SHOW listen_addresses") == ""
        assert await ask_postgres(service, "SHOW server_encoding") == "UTF8"
        assert stat.S_IMODE((folder / "postgres").stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "pg").stat().st_mode) == 0o700
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(service.url.replace(":", ":wrong", 2).replace(":wrong//", "://"))
    finally:
        await service.stop()


async def test_a_postgres_without_a_parent_is_ended_before_the_next(folder: Path) -> None:
    """As after a kill of its parent on a system without death signals."""
    first = await start_postgres(folder, folder)
    second = await start_postgres(folder, folder)
    assert await first.wait() == 0
    assert await ask_postgres(second, "SELECT 1") == 1
    await second.stop()


async def test_a_pid_file_that_names_a_stranger_does_not_stop_postgres(folder: Path) -> None:
    service = await start_postgres(folder, folder)
    service.child.kill()
    stranger = spawn("stranger", ["sleep", "600"])
    for file in (folder / "postgres" / "postmaster.pid", folder / "pg" / ".s.PGSQL.5432.lock"):
        lines = file.read_text().splitlines()
        file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
    service = await start_postgres(folder, folder)
    await service.stop()
    assert stranger.exit_code is None
    await stranger.stop()


async def test_an_initdb_that_was_cut_short_is_begun_again(folder: Path) -> None:
    private_folder(folder / "postgres.new")
    (folder / "postgres.new" / "PG_VERSION").write_text("18\n")
    service = await start_postgres(folder, folder)
    assert not (folder / "postgres.new").exists()
    assert not (folder / "initdb.password").exists()
    await service.stop()


async def test_a_server_that_ends_at_once_shows_its_log(folder: Path) -> None:
    private_folder(folder / "valkey" / "appendonlydir")
    (folder / "valkey" / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(CannotStart, match=r"(?s)Valkey ended with exit code 1.*valkey.log:.*manifest"):
        await start_valkey(folder, folder)


def nobody_can_run_it() -> bool:
    return os.geteuid() == 0 and postgres._runs([str(find_postgres(Path("/nowhere")).path), "-V"], user="nobody")


async def test_root_without_user_namespaces_runs_postgres_as_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    if not nobody_can_run_it():
        cannot_run("nobody", "we are not root, or nobody cannot reach Postgres")
    monkeypatch.setattr(postgres, "NAMESPACE", ("false",))
    with short_folder() as folder:
        folder.chmod(0o755)
        service = await start_postgres(folder / "data", folder)
        try:
            assert (folder / "data" / "postgres").owner() == "nobody"
            assert await ask_postgres(service, "SELECT 1") == 1
        finally:
            await service.stop()


async def test_the_data_folder_picks_the_postgres(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not HAS_DEBIAN_15:
        cannot_run("postgres15", "Debian's Postgres 15 is not installed")
    with monkeypatch.context() as only_debian:
        only_debian.setattr(postgres, "_candidates", lambda: iter([(DEBIAN_15, "here")]))
        service = await start_postgres(folder, folder)
        assert service.binary.version.startswith("Postgres 15")
        await service.stop()
    service = await start_postgres(folder, folder)
    assert service.binary.version.startswith("Postgres 15")
    await service.stop()


def test_a_data_folder_of_a_postgres_that_is_not_here_says_so(folder: Path) -> None:
    (folder / "PG_VERSION").write_text("9\n")
    with pytest.raises(CannotStart, match="was made by Postgres 9, and no Postgres 9 is installed"):
        find_postgres(folder)


@pytest.mark.parametrize(
    ("said", "accepted"),
    [
        ("Valkey server v=8.0.1 sha=0", True),
        ("Valkey server v=7.2.9 sha=0", False),
        ("Redis server v=7.2.0 sha=0", True),
        ("Redis server v=7.0.15 sha=0", False),
        ("", False),
    ],
)
def test_the_floor(monkeypatch: pytest.MonkeyPatch, said: str, accepted: bool) -> None:
    monkeypatch.setattr(valkey, "_candidates", lambda: iter([(Path("/usr/bin/some-server"), "found on PATH")]))
    monkeypatch.setattr(valkey, "version_line", lambda program: said)
    if accepted:
        assert find_valkey().why == "found on PATH"
    else:
        with pytest.raises(CannotStart, match="COSCRIBE_REDIS_URL"):
            find_valkey()


def test_the_data_folder_must_be_ours_alone(folder: Path) -> None:
    (folder / "open").mkdir()
    (folder / "open").chmod(0o777)
    with pytest.raises(CannotStart, match="Others can write"):
        private_folder(folder / "open")
    (folder / "file").write_text("")
    with pytest.raises(CannotStart, match="Cannot use"):
        private_folder(folder / "file" / "below")


def test_the_data_folder_is_locked_by_one(folder: Path) -> None:
    with lock(folder / "data"), pytest.raises(CannotStart, match=f"process {os.getpid()}"), lock(folder / "data"):
        pass
    with lock(folder / "data"):
        pass


def test_sockets_have_short_paths(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/" + "x" * 90)
    runtime = runtime_folder()
    assert len(os.fsencode(socket_path(runtime, "valkey.sock"))) < 60
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o700
    shutil.rmtree(runtime)
    with pytest.raises(CannotStart, match="too long"):
        socket_path(folder / ("x" * 100), "valkey.sock")


async def test_a_start_that_is_given_up_leaves_no_process(folder: Path) -> None:
    starting = asyncio.create_task(start_valkey(folder, folder))
    await until((folder / "valkey" / "valkey.log").exists)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    service = await start_valkey(folder, folder)
    await service.child.stop(((signal.SIGTERM, 5.0),))
