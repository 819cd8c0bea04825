"""Lua scripts: loaded as resources of this package, run by their digest, loaded again where the server forgot them.

A server forgets scripts when it restarts or fails over. A NOSCRIPT refusal wrote nothing, so asking again is safe.
"""

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from persistence.redis_client import Argument, execute

LOAD_ATTEMPTS: Final = 3  # a SCRIPT FLUSH between loading and running is an accident; several in a row are not


class Script:
    def __init__(self, name: str) -> None:
        self.text: Final = (files("persistence") / "scripts" / f"{name}.lua").read_text("utf-8")
        self.digest: Final = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def call(self, keys: Sequence[str], arguments: Sequence[Argument]) -> tuple[Argument, ...]:
        """What follows EVALSHA."""
        return (self.digest, len(keys), *keys, *arguments)

    async def load(self, client: Redis) -> None:
        await execute(client, "SCRIPT LOAD", self.text)

    async def run(self, client: Redis, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """The reply as the server sends it. Raises Unavailable."""
        call = self.call(keys, arguments)
        for _ in range(LOAD_ATTEMPTS):
            try:
                return await execute(client, "EVALSHA", *call)
            except NoScriptError:
                await self.load(client)
        return await execute(client, "EVALSHA", *call)
