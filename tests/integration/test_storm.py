"""More handshakes at once than are let in: all come in, one after the other, and few are refused more than once."""

import asyncio
import json
import random
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import aiohttp
import pytest

from tests.integration.test_router_sockets import bearer
from tests.support.cluster import Cluster, cluster
from tests.support.served import raw

pytestmark = pytest.mark.services


async def refused_joins(system: Cluster) -> dict[str, int]:
    async with aiohttp.ClientSession() as http, http.get(f"{system.routers[0].url}/metrics") as response:
        lines = (await response.text()).splitlines()
    name = 'coscribe_joins_refused_total{why="'
    return {
        line.removeprefix(name).split('"')[0]: int(float(line.split()[-1])) for line in lines if line.startswith(name)
    }


async def test_a_storm_comes_in(
    redis_url: str, postgres_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    refusals: Counter[int] = Counter()
    async with cluster(redis_url, postgres_url, tmp_path, limit_joins_per_s=40) as system:
        headers = bearer(system)

        async def come(number: int) -> None:
            while True:
                async with raw(system.routers[0].url, f"notes-{number % 5}", headers=headers) as client:
                    if await client.join(f"client-{number:04}"):
                        return
                assert client.code == 1013
                refusals[number] += 1
                await asyncio.sleep(json.loads(client.reason)["retry_after_s"] * random.uniform(1.0, 1.1))

        with patch("router.door.WAITING_MOST", 20):
            await asyncio.gather(*(come(number) for number in range(300)))
        counted = await refused_joins(system)
    said = capfd.readouterr()
    assert "waits in the backlog" in said.out + said.err  # where logs go is a setting of the process
    assert counted["rate"] == sum(refusals.values()) > 0
    assert max(refusals.values()) <= 3
    assert sum(count > 1 for count in refusals.values()) <= 60


async def test_a_router_that_has_all_the_sockets_it_may_have(redis_url: str, postgres_url: str, tmp_path: Path) -> None:
    async with cluster(redis_url, postgres_url, tmp_path, limit_sockets=2) as system:
        url, headers = system.routers[0].url, bearer(system)
        async with raw(url, "notes", headers=headers) as ann, raw(url, "notes", headers=headers) as bob:
            await ann.join("client-of-ann")
            await bob.join("client-of-bob")
            for _ in range(3):
                async with raw(url, "notes", headers=headers) as cat:
                    assert await cat.closed() == 1013
                    assert 5 <= json.loads(cat.reason)["retry_after_s"] <= 10
            assert await refused_joins(system) == {"full": 3}
            await ann.socket.close()
            async with asyncio.timeout(20):
                while True:  # the router hears of the close in its own time
                    async with raw(url, "notes", headers=headers) as cat:
                        if await cat.join("client-of-cat"):
                            break
