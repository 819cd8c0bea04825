"""The controller on a real Redis: it removes who is gone, and one of two stands by."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from cluster.cluster_map import ClusterMap, HostEntry, decode_map, encode_map
from cluster.controller import LEASE_NAME, Controller
from persistence.map_store import RedisMapStore
from persistence.redis_client import shared_client
from tests.support.services import Valkey

pytestmark = pytest.mark.services
TTL_S = 0.8


@contextlib.asynccontextmanager
async def map_store(redis_url: str) -> AsyncIterator[RedisMapStore]:
    async with shared_client(redis_url) as client:
        store = RedisMapStore(client)
        hosts = {name: HostEntry(f"{name}:1", f"{name}-a") for name in ("a", "b")}
        assert await store.write(1, encode_map(ClusterMap(1, hosts)))
        yield store


async def hosts(store: RedisMapStore) -> list[str]:
    encoded = await store.read()
    assert encoded
    return sorted(decode_map(encoded).hosts)


@contextlib.asynccontextmanager
async def task(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    running = asyncio.create_task(work)
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def renew(store: RedisMapStore, *names: str) -> None:
    while True:
        for name in names:
            await store.renew_lease(name, f"{name}-a", int(TTL_S * 1000))
        await asyncio.sleep(TTL_S / 4)


async def until_hosts(store: RedisMapStore, expected: list[str]) -> None:
    async with asyncio.timeout(10):
        while await hosts(store) != expected:  # noqa: ASYNC110 - Redis tells no event
            await asyncio.sleep(0.02)


async def test_a_host_whose_lease_ran_out_is_removed(redis_url: str) -> None:
    async with map_store(redis_url) as store, task(renew(store, "b")), task(Controller(store, "one", TTL_S).run()):
        await until_hosts(store, ["b"])


async def test_it_drops_its_lease_when_it_stops(redis_url: str) -> None:
    async with map_store(redis_url) as store:
        async with task(renew(store, "b")), task(Controller(store, "one", TTL_S).run()):
            await until_hosts(store, ["b"])
            assert await store.leases([LEASE_NAME]) == ["one"]
        assert await store.leases([LEASE_NAME]) == [None]


async def test_the_second_of_two_stands_by_and_takes_over(redis_url: str) -> None:
    async with map_store(redis_url) as store, task(renew(store, "a")):
        assert await store.renew_lease(LEASE_NAME, "another", 60_000)
        async with task(Controller(store, "one", TTL_S).run()):
            await asyncio.sleep(3 * TTL_S)  # in which an active one would have removed it
            assert await hosts(store) == ["a", "b"]
            await store.drop_lease(LEASE_NAME, "another")
            await until_hosts(store, ["a"])


async def test_a_redis_that_was_away_costs_no_living_host_its_place(own_valkey: Valkey) -> None:
    async with map_store(own_valkey.url) as store, task(Controller(store, "one", TTL_S).run()):
        async with task(renew(store, "a", "b")):
            await asyncio.sleep(2 * TTL_S)
        own_valkey.kill()
        await asyncio.sleep(2 * TTL_S)
        await own_valkey.start()
        async with task(renew(store, "b")):  # one comes back sooner than the other
            await asyncio.sleep(0.5 * TTL_S)
            async with task(renew(store, "a")):
                await asyncio.sleep(3 * TTL_S)
                assert await hosts(store) == ["a", "b"]
