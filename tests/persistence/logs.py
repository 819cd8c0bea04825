"""Logs on a real server, and several sections at once, for tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from coscribe.names import SectionKey
from persistence.log import RedisLog
from persistence.redis_client import shared_client
from tests.persistence.samples import NEW


@asynccontextmanager
async def log_at(url: str) -> AsyncIterator[RedisLog]:
    log = RedisLog.connect(url)
    try:
        yield log
    finally:
        await log.aclose()


@asynccontextmanager
async def log_and_client(url: str) -> AsyncIterator[tuple[RedisLog, Redis]]:
    async with log_at(url) as log, shared_client(url) as client:
        yield log, client


def sections(count: int) -> list[SectionKey]:
    return [SectionKey(f"document{number}", "life1", "0") for number in range(count)]


async def activate_all(log: RedisLog, of: list[SectionKey]) -> dict[SectionKey, int]:
    found = await asyncio.gather(*(log.activate(key, NEW) for key in of))
    return {key: activation.epoch for key, activation in zip(of, found, strict=True)}
