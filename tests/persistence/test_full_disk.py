"""Stores whose disk is full, for real: what they answer is Unavailable, and the same is done once there is room."""

import asyncio
import secrets
from collections.abc import Iterator

import pytest

from cluster.valkey import start_valkey
from persistence.records import Answer, Durable, Unavailable
from persistence.redis_checks import check_server
from persistence.redis_client import execute, shared_client
from persistence.store import PostgresStore
from tests.persistence.logs import log_at
from tests.persistence.samples import KEY, NEW, batch, entries, entry
from tests.support.services import Postgres, short_folder
from tests.support.small_disk import SmallDisk, small_disk

pytestmark = pytest.mark.services


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    with short_folder() as folder, small_disk(folder / "disk", 160) as small:
        yield small


async def test_a_redis_that_cannot_write_and_goes_on_is_unavailable(disk: SmallDisk) -> None:
    """One that fsyncs each second, or is told to go on, refuses with MISCONF."""
    server = await start_valkey(disk.path, disk.path, fsync="everysec")
    try:
        async with log_at(server.url) as log, shared_client(server.url) as client:
            epoch = (await log.activate(KEY, NEW)).epoch
            assert await log.commit(KEY, batch(0, 3, epoch)) is Answer.OK
            disk.fill()
            while (await execute(client, "INFO", "persistence")).find(b"aof_last_write_status:err") < 0:
                try:
                    await execute(client, "SET", "noise", bytes(10_000))
                except Unavailable:
                    break
            with pytest.raises(Unavailable, match="MISCONF"):
                await log.commit(KEY, batch(3, 5, epoch))
            assert [found.revision for found in await log.read(KEY, 0, 100)] == [1, 2, 3]
            (warning,) = await check_server(client, "process")
            assert "is its disk full?" in warning
            disk.empty()
            while True:
                try:
                    answer = await log.commit(KEY, batch(3, 5, epoch))
                    break
                except Unavailable:
                    await asyncio.sleep(0.1)
            assert answer is Answer.OK
            assert list(await log.read(KEY, 0, 100)) == list(entries(1, 5, epoch))
    finally:
        await server.stop()


async def fill(store: PostgresStore, stored: list[int]) -> None:
    """Until it cannot take more. `stored` has the last revision that it took."""
    while True:
        noise = secrets.token_hex(10_000)
        assert await store.flush(KEY, [entry(stored[0] + 1, text=noise)])
        stored[0] += 1


async def test_a_postgres_that_cannot_write_is_unavailable(disk: SmallDisk) -> None:
    server = Postgres(disk.path)
    await server.start()
    try:
        store = await PostgresStore.connect(server.url)
        disk.fill()
        stored = [0]
        with pytest.raises(Unavailable):
            await fill(store, stored)
        disk.empty()
        (revision,) = stored
        while True:
            try:
                durable = await store.durable(KEY)
                break
            except Unavailable:
                await asyncio.sleep(0.1)
        assert durable in (Durable(revision, 1 if revision else 0), Durable(revision + 1, 1))
        more = [entry(durable.revision + 1), entry(durable.revision + 2)]
        assert await store.flush(KEY, more)
        assert (await store.entries(KEY, durable.revision, durable.revision + 2)) == more
        await store.aclose()
    finally:
        await server.stop()
