"""What routers say of themselves, on a real server."""

import pytest

from persistence import keys
from persistence.redis_client import execute, shared_client
from persistence.routers import RedisRouters

pytestmark = pytest.mark.services

HOUR_MS = 3_600_000


async def test_each_hears_what_all_say_until_they_leave(redis_url: str) -> None:
    async with shared_client(redis_url) as client:
        routers = RedisRouters(client)
        assert await routers.say("one", b"1:x", HOUR_MS) == {"one": b"1:x"}
        assert await routers.say("two", bytes(range(256)), HOUR_MS) == {"one": b"1:x", "two": bytes(range(256))}
        assert await routers.say("one", b"2", HOUR_MS) == {"one": b"2", "two": bytes(range(256))}
        assert await routers.say("two", None, HOUR_MS) == {"one": b"2"}
        assert await routers.say("one", None, HOUR_MS) == {}


async def test_what_is_over_is_not_heard_and_is_forgotten(redis_url: str) -> None:
    async with shared_client(redis_url) as client:
        routers = RedisRouters(client)
        await routers.say("one", b"1", HOUR_MS)
        await execute(client, "HSET", keys.ROUTERS, "one", b"1000:1")  # it ended long ago
        assert await routers.say("two", b"2", HOUR_MS) == {"two": b"2"}
        assert await execute(client, "HKEYS", keys.ROUTERS) == [b"two"]


async def test_nothing_stays_when_all_are_gone(redis_url: str) -> None:
    async with shared_client(redis_url) as client:
        await RedisRouters(client).say("one", b"1", HOUR_MS)
        assert 0 < await execute(client, "PTTL", keys.ROUTERS) <= HOUR_MS
