"""Shared clients: a limit of time of our own, and no cancellation is lost."""

import asyncio
import os
import signal

import pytest

from persistence.records import Unavailable
from persistence.redis_client import answering, execute, shared_client
from tests.support.services import Valkey

pytestmark = pytest.mark.services


async def test_a_cancelled_task_ends_whenever_it_is_cancelled(redis_url: str) -> None:
    """redis-py's own limit of time is asyncio.wait_for, which on Python 3.11 forgets that it was cancelled if what it
    waits for ends at that moment: a host that stopped waited for ever for its own tasks."""
    async with shared_client(redis_url) as client:

        async def ask_for_ever() -> None:
            while True:
                await execute(client, "PING")

        for steps in range(300):
            asking = asyncio.create_task(ask_for_ever())
            for _ in range(steps % 60):
                await asyncio.sleep(0)
            asking.cancel()
            ended, _ = await asyncio.wait({asking}, timeout=10)
            assert ended, f"cancelled after {steps % 60} steps, it goes on"


async def test_a_server_that_stands_still_is_unavailable_in_time(own_valkey: Valkey) -> None:
    assert own_valkey.service is not None
    async with shared_client(own_valkey.url, timeout_s=0.1) as client:
        assert await execute(client, "PING") == b"PONG"
        os.kill(own_valkey.service.pid, signal.SIGSTOP)
        try:
            with pytest.raises(Unavailable):
                await execute(client, "GET", "key")
            async with client.pipeline(transaction=False) as pipeline:
                pipeline.get("key")
                with pytest.raises(Unavailable):
                    async with answering(client):
                        await pipeline.execute()
        finally:
            os.kill(own_valkey.service.pid, signal.SIGCONT)
        assert await execute(client, "SET", "key", "value") == b"OK"
        assert await execute(client, "GET", "key") == b"value"
