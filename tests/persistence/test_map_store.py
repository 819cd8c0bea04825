"""The cluster map and the leases on a real server."""

import asyncio

import pytest

from persistence import keys
from persistence.bus import RedisBus
from persistence.map_store import RedisMapStore
from persistence.redis_client import execute, shared_client
from tests.persistence.test_bus import Heard

pytestmark = pytest.mark.services

HOUR_MS = 3_600_000


async def test_the_map_is_written_view_by_view(redis_url: str) -> None:
    async with shared_client(redis_url) as client:
        store = RedisMapStore(client)
        assert await store.read() is None
        assert not await store.write(2, b"two")
        assert await store.write(1, b"one")
        assert not await store.write(1, b"another one")
        assert not await store.write(3, b"three")
        assert await store.write(2, b"two")
        assert await store.read() == b"two"


async def test_the_same_map_again_is_a_retry(redis_url: str) -> None:
    async with shared_client(redis_url) as client:
        store = RedisMapStore(client)
        assert await store.write(1, b"one")
        assert await store.write(1, b"one")
        assert await store.write(2, b"one")
        assert not await store.write(1, b"one")


async def test_of_many_writers_one_succeeds(redis_url: str) -> None:
    async with shared_client(redis_url) as client:
        store = RedisMapStore(client)
        done = await asyncio.gather(*(store.write(1, b"map %d" % number) for number in range(20)))
        assert done.count(True) == 1
        assert await store.read() == b"map %d" % done.index(True)


async def test_a_new_view_is_published_once(redis_url: str) -> None:
    async with shared_client(redis_url) as client, RedisBus(redis_url) as bus:
        heard = Heard(bus)
        await bus.subscribe(keys.CLUSTER_MAP_NOTICE)
        store = RedisMapStore(client)
        for view in (1, 1, 5, 2):
            await store.write(view, b"map %d" % view)
        await heard.until(lambda heard: len(heard.messages) == 2)
        assert heard.messages == [(keys.CLUSTER_MAP_NOTICE, b"1"), (keys.CLUSTER_MAP_NOTICE, b"2")]


async def test_a_lease_has_one_holder(redis_url: str) -> None:
    async with shared_client(redis_url) as client:
        store = RedisMapStore(client)
        assert await store.renew_lease("host-0", "first", HOUR_MS)
        assert not await store.renew_lease("host-0", "second", HOUR_MS)
        assert await store.renew_lease("host-0", "first", HOUR_MS)
        assert await store.leases(["host-0", "host-1"]) == ["first", None]
        assert await store.leases([]) == []
        await store.drop_lease("host-0", "second")
        assert await store.leases(["host-0"]) == ["first"]
        await store.drop_lease("host-0", "first")
        assert await store.renew_lease("host-0", "second", HOUR_MS)


async def test_renewing_makes_a_lease_last(redis_url: str) -> None:
    async with shared_client(redis_url) as client:
        store = RedisMapStore(client)
        await store.renew_lease("host-0", "first", 60_000)
        await store.renew_lease("host-0", "first", HOUR_MS)
        assert await execute(client, "PTTL", keys.lease("host-0")) > HOUR_MS / 2
        await execute(client, "PEXPIRE", keys.lease("host-0"), 0)
        assert await store.leases(["host-0"]) == [None]
