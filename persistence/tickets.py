"""Single-use tickets: what stands for an identity in a place where a token must not, such as a URL."""

import secrets
from typing import Final

from redis.asyncio import Redis

from persistence.redis_client import execute

LIFETIME_S: Final = 30
_PREFIX: Final = "cs:ticket:"
LONGEST: Final = 64


class Tickets:
    """Random names of small values, each read once and kept for LIFETIME_S seconds. Raises Unavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def issue(self, value: bytes) -> str:
        ticket = secrets.token_urlsafe(24)
        await execute(self._redis, "SET", _PREFIX + ticket, value, "EX", LIFETIME_S)
        return ticket

    async def redeem(self, ticket: str) -> bytes | None:
        """The value, once; None for a ticket that is unknown, used or too old."""
        if not 0 < len(ticket) <= LONGEST:
            return None
        value: bytes | None = await execute(self._redis, "GETDEL", _PREFIX + ticket)
        return value
