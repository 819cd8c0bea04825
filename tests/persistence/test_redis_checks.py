"""A server that does not keep what the durability level promises is refused in plain words."""

from collections.abc import Iterator

import pytest
import redis

from persistence.records import ConfigurationError, Unavailable
from persistence.redis_checks import Durability, _check_role, _check_version, check_server
from persistence.redis_client import execute, shared_client
from tests.support.services import Valkey

pytestmark = pytest.mark.services


@pytest.fixture
def config(redis_url: str) -> Iterator[dict[str, str]]:
    """Settings to change, put back afterwards."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        before = client.config_get("append*", "no-appendfsync*", "maxmemory-policy")
        changed: dict[str, str] = {}
        yield changed
        for name in changed:
            client.config_set(name, before[name])


async def warnings_of(url: str, durability: Durability, changed: dict[str, str]) -> list[str]:
    async with shared_client(url) as client:
        for name, value in changed.items():
            await client.config_set(name, value)
        return list(await check_server(client, durability))


@pytest.mark.parametrize("durability", ["memory", "process", "fsync"])
async def test_the_server_that_comes_along_keeps_every_level(redis_url: str, durability: Durability) -> None:
    assert await warnings_of(redis_url, durability, {}) == []


@pytest.mark.parametrize(
    ("durability", "name", "value", "says"),
    [
        ("fsync", "appendfsync", "everysec", "CONFIG SET appendfsync always"),
        ("process", "appendfsync", "no", "CONFIG SET appendfsync everysec"),
        ("process", "appendonly", "no", "CONFIG SET appendonly yes"),
        ("fsync", "no-appendfsync-on-rewrite", "yes", "CONFIG SET no-appendfsync-on-rewrite no"),
        ("memory", "maxmemory-policy", "allkeys-lru", "CONFIG SET maxmemory-policy noeviction"),
        ("replica", "appendfsync", "everysec", "CONFIG SET appendfsync always"),
        ("best", "appendfsync", "always", "is not one of"),
    ],
)
async def test_what_does_not_do_is_refused(
    redis_url: str, config: dict[str, str], durability: Durability, name: str, value: str, says: str
) -> None:
    config[name] = value
    with pytest.raises(ConfigurationError, match=says):
        await warnings_of(redis_url, durability, config)


@pytest.mark.parametrize(
    ("durability", "name", "value"),
    [("process", "appendfsync", "everysec"), ("memory", "appendonly", "no"), ("memory", "appendfsync", "no")],
)
async def test_what_does_is_accepted(
    redis_url: str, config: dict[str, str], durability: Durability, name: str, value: str
) -> None:
    config[name] = value
    assert await warnings_of(redis_url, durability, config) == []


async def test_too_few_replicas_are_a_warning(redis_url: str, replicated_url: str) -> None:
    async with shared_client(redis_url) as alone, shared_client(replicated_url) as followed:
        assert ["needs 1 replicas" in warning for warning in await check_server(alone, "replica")] == [True]
        assert await check_server(followed, "replica") == []
        assert ["has 1" in warning for warning in await check_server(followed, "replica", 2)] == [True]


async def test_a_server_that_hides_its_configuration_is_a_warning(redis_url: str) -> None:
    async with shared_client(redis_url) as client:
        await execute(client, "ACL SETUSER", "guest", "on", ">secret", "~*", "&*", "+@all", "-config")
        async with shared_client("unix://guest:secret@" + redis_url.rpartition("@")[2]) as guest:
            assert ["cannot be checked" in warning for warning in await check_server(guest, "fsync")] == [True]
            assert await check_server(guest, "memory") == []
        await execute(client, "ACL DELUSER", "guest")


@pytest.mark.parametrize(
    "info",
    [
        {"redis_version": "7.0.15"},
        {"redis_version": "6.2.14"},
        {"redis_version": "7.2.4", "valkey_version": "7.2.9"},
        {},
    ],
)
def test_an_old_server_is_refused(info: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="Coscribe needs Redis"):
        _check_version(info)


def test_a_new_server_is_accepted() -> None:
    _check_version({"redis_version": "7.2.0"})
    _check_version({"redis_version": "8.6.1"})
    _check_version({"redis_version": "7.2.4", "valkey_version": "9.1.2"})


def test_a_replica_and_a_cluster_are_refused() -> None:
    for info in ({"role": "slave"}, {"role": "master", "cluster_enabled": "1"}):
        with pytest.raises(ConfigurationError):
            _check_role(info)


async def test_a_server_that_is_not_there_is_unavailable(own_valkey: Valkey) -> None:
    own_valkey.kill()
    async with shared_client(own_valkey.url) as client:
        with pytest.raises(Unavailable):
            await check_server(client, "memory")
