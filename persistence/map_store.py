"""The cluster map and the hosts' leases, in Redis. Time is the server's; nobody's clock is compared with another's."""

from collections.abc import Sequence

from redis.asyncio import Redis

from persistence import keys
from persistence.redis_client import answering, execute
from persistence.script import Script


class RedisMapStore:
    """Implements records.MapStore. The client stays its owner's to close."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._write = Script("map_write")
        self._renew = Script("lease_renew")
        self._drop = Script("lease_drop")

    async def read(self) -> bytes | None:
        encoded: bytes | None = await execute(self._client, "HGET", keys.CLUSTER_MAP, "map")
        return encoded

    async def write(self, view: int, encoded: bytes) -> bool:
        arguments = (view, encoded, keys.CLUSTER_MAP_NOTICE)
        return bool(await self._write.run(self._client, (keys.CLUSTER_MAP,), arguments))

    async def renew_lease(self, host: str, instance: str, ttl_ms: int) -> bool:
        return bool(await self._renew.run(self._client, (keys.lease(host),), (instance, ttl_ms)))

    async def drop_lease(self, host: str, instance: str) -> None:
        await self._drop.run(self._client, (keys.lease(host),), (instance,))

    async def leases(self, hosts: Sequence[str]) -> Sequence[str | None]:
        if not hosts:
            return []
        async with answering(self._client), self._client.pipeline(transaction=False) as pipeline:
            for host in hosts:
                pipeline.get(keys.lease(host))
            replies = await pipeline.execute()
        return [None if holder is None else holder.decode() for holder in replies]
