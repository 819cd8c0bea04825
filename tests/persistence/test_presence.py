"""The roster on a real server."""

import time

import pytest

from persistence import keys
from persistence.bus import RedisBus
from persistence.presence import CLIENT_ID_MS, RedisRoster
from persistence.redis_client import execute, shared_client
from persistence.script_calls import ScriptCalls
from tests.persistence.test_bus import Heard

pytestmark = pytest.mark.services

HOUR_MS = 3_600_000


async def test_who_is_here_and_who_left(redis_url: str) -> None:
    async with ScriptCalls.connect(redis_url) as calls:
        roster = RedisRoster(calls)
        assert await roster.all("notes", "life1") == {}
        await roster.set("notes", "life1", "ann", b'{"at":1}', HOUR_MS, b"")
        await roster.set("notes", "life1", "ben", bytes(range(256)), HOUR_MS, b"")
        await roster.set("notes", "life1", "ann", b'{"at":2}', HOUR_MS, b"")
        assert await roster.all("notes", "life1") == {"ann": b'{"at":2}', "ben": bytes(range(256))}
        assert await roster.all("notes", "life2") == {}
        await roster.set("notes", "life1", "ann", None, HOUR_MS, b"")
        assert await roster.all("notes", "life1") == {"ben": bytes(range(256))}


async def test_what_expired_is_not_shown_and_then_forgotten(redis_url: str) -> None:
    async with shared_client(redis_url) as client, ScriptCalls.connect(redis_url) as calls:
        roster = RedisRoster(calls)
        await roster.set("notes", "life1", "ann", b"here", HOUR_MS, b"")
        await execute(client, "ZADD", keys.roster("notes", "life1")[1], 1, "ann")  # its time was over long ago
        assert await roster.all("notes", "life1") == {}
        assert await roster.set("notes", "life1", "ben", b"here", HOUR_MS, b"") == ["ann"]
        assert await roster.set("notes", "life1", "ben", b"here", HOUR_MS, b"") == []
        assert await execute(client, "HKEYS", keys.roster("notes", "life1")[0]) == [b"ben"]


async def test_what_is_kept_lives_on_and_what_is_not_there_is_named(redis_url: str) -> None:
    async with shared_client(redis_url) as client, ScriptCalls.connect(redis_url) as calls:
        roster = RedisRoster(calls)
        await roster.set("notes", "life1", "ann", b"here", 1_000, b"")
        assert await roster.keep("notes", "life1", ["ann", "ben"], HOUR_MS) == ["ben"]
        states, ends = keys.roster("notes", "life1")
        for key in (states, ends):
            assert await execute(client, "PTTL", key) > HOUR_MS / 2
        assert int(await execute(client, "ZSCORE", ends, "ann")) > time.time() * 1000 + HOUR_MS / 2
        assert await execute(client, "ZSCORE", ends, "ben") is None


async def test_the_keys_live_as_long_as_the_longest_state(redis_url: str) -> None:
    async with shared_client(redis_url) as client, ScriptCalls.connect(redis_url) as calls:
        roster = RedisRoster(calls)
        await roster.set("notes", "life1", "ann", b"here", 2 * HOUR_MS, b"")
        await roster.set("notes", "life1", "ben", b"here", 1, b"")
        for key in keys.roster("notes", "life1"):
            assert await execute(client, "PTTL", key) > HOUR_MS


async def test_each_change_is_published(redis_url: str) -> None:
    async with ScriptCalls.connect(redis_url) as calls, RedisBus(redis_url) as bus:
        heard = Heard(bus)
        channel = keys.presence("notes", "life1")
        await bus.subscribe(channel)
        roster = RedisRoster(calls)
        await roster.set("notes", "life1", "ann", b"here", HOUR_MS, b"ann is here")
        await roster.set("notes", "life1", "ann", None, HOUR_MS, b"ann left")
        await heard.until(lambda heard: len(heard.messages) == 2)
        assert heard.messages == [(channel, b"ann is here"), (channel, b"ann left")]


async def test_a_client_id_belongs_to_the_first_user(redis_url: str) -> None:
    async with shared_client(redis_url) as client, ScriptCalls.connect(redis_url) as calls:
        roster = RedisRoster(calls)
        assert await roster.claim_client("notes", "life1", "client01", "ann") == "ann"
        assert await roster.claim_client("notes", "life1", "client01", "ben") == "ann"
        assert await roster.claim_client("notes", "life2", "client01", "ben") == "ben"
        key = keys.client("notes", "life1", "client01")
        await execute(client, "PEXPIRE", key, 60_000)
        await roster.claim_client("notes", "life1", "client01", "ben")
        assert await execute(client, "PTTL", key) <= 60_000  # only its owner keeps it
        await roster.claim_client("notes", "life1", "client01", "ann")
        assert await execute(client, "PTTL", key) > CLIENT_ID_MS / 2
