"""What routers say of themselves, for each other. Everything expires by the server's time."""

from redis.asyncio import Redis

from persistence import keys
from persistence.script import Script


class RedisRouters:
    """Implements records.RouterStore. The client stays its owner's to close."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._say = Script("router_say")

    async def say(self, router: str, encoded: bytes | None, ttl_ms: int) -> dict[str, bytes]:
        found = await self._say.run(self._client, (keys.ROUTERS,), (router, encoded or b"", ttl_ms))
        return {name.decode(): said for name, said in zip(found[::2], found[1::2], strict=True)}
