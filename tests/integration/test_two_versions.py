"""A cluster is upgraded part by part under people who type, some of whom have the later version already: hosts and
routers of two versions serve side by side, and nothing is lost, doubled or torn. Two versions apart is too far."""

import asyncio
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from cluster.ring import Ring
from coscribe.names import SectionKey
from router.auth import Identity, Tokens
from tests.support.cluster import SECRET
from tests.support.releases import HERE, Fleet, fleet, later_release
from tests.support.served import raw
from tests.support.services import short_folder

pytestmark = pytest.mark.services

HOSTS, ROUTERS = ("host-0", "host-1"), ("router-0", "router-1")
DOCUMENTS = ("notes-0", "notes-1")
TOKEN = Tokens(SECRET, "coscribe", "coscribe").mint(Identity("ann", "Ann", "writer", None, None), 0, 2**33)


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


class Typing:
    """Somebody who types with a client of a release."""

    def __init__(self, document: str, process: Process) -> None:
        self.document, self._process = document, process

    async def do(self, wish: str) -> dict[str, Any]:
        """Raises what ended the client, as far as it is in its log."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{wish}\n".encode())
        answer: dict[str, Any] = json.loads(await self._process.stdout.readline())
        return answer


async def typists(cluster: Fleet, *releases: Path) -> list[Typing]:
    """One in each document with each release, over all routers."""
    urls = [cluster.url(router) for router in ROUTERS]
    return [
        Typing(
            document,
            await cluster.spawn(
                f"typist-{name}", release, "tests.support.typist_process", document, name, TOKEN, *urls,
                stdin=PIPE, stdout=PIPE, limit=2**24,
            ),
        )
        for document in DOCUMENTS
        for release, name in zip(releases, (f"{document[-1]}a", f"{document[-1]}b"), strict=True)
    ]  # fmt: skip


async def each(typing: list[Typing], wish: str) -> list[dict[str, Any]]:
    return await asyncio.gather(*(typist.do(wish) for typist in typing))


async def whole(typing: list[Typing]) -> None:
    """Everybody's words are there once, for everybody."""
    ends = await each(typing, "stop")
    for document in DOCUMENTS:
        here = [typist for typist in typing if typist.document == document]
        words = [word for typist, end in zip(typing, ends, strict=True) if typist in here for word in end["words"]]
        texts = {end["text"] for end in await each(here, str(sum(map(len, words)) + 1))}
        assert len(texts) == 1
        text = texts.pop()
        assert [text.count(word) for word in words] == [1] * len(words)


async def test_a_rolling_upgrade_across_a_version_loses_nothing(
    redis_url: str, postgres_url: str, folder: Path
) -> None:
    later = later_release(folder / "later", 2)
    async with fleet(redis_url, postgres_url, folder / "data") as cluster:
        for host in HOSTS:
            await cluster.start_host(host, HERE)
        for router in ROUTERS:
            await cluster.start_router(router, HERE)
        ring = Ring(await cluster.map())
        assert {ring.owner(SectionKey(document, "", "0")) for document in DOCUMENTS} == set(HOSTS), "choose other names"
        typing = await typists(cluster, HERE, later)
        assert [typed["version"] for typed in await each(typing, "more")] == [1] * len(typing)
        for part in (HOSTS[0], ROUTERS[0], HOSTS[1], ROUTERS[1]):
            await cluster.stop(part)
            await each(typing, "more")
            await (cluster.start_host if part in HOSTS else cluster.start_router)(part, later)
            typed = await each(typing, "more")
        assert [each["version"] for each in typed] == [1, 2] * len(DOCUMENTS), "each as new as both sides are"
        await whole(typing)
        logs = {part: cluster.log(part) for part in (*HOSTS, *ROUTERS)}
    for part, log in logs.items():
        assert not [word for word in ("not a link frame", "link failed", "no common version") if word in log], part
    assert {version for version in (1, 2) if f"version={version}" in logs["router-0"]} == {1, 2}
    assert all("nudged" in logs[host] for host in HOSTS), "what only the later version knows was said to it"
    assert "hinted" in logs["router-0"]  # to which everybody came when the other one was replaced


async def test_two_versions_apart_is_refused_with_a_word_for_people(
    redis_url: str, postgres_url: str, folder: Path
) -> None:
    async with fleet(redis_url, postgres_url, folder / "data") as cluster:
        await cluster.start_host("host-0", HERE)
        await cluster.start_router("router-0", later_release(folder / "later", 3))
        url, headers = cluster.url("router-0"), {"Authorization": f"Bearer {TOKEN}"}
        async with raw(url, "notes", headers=headers) as client:
            assert await client.closed() == 4400
            assert client.reason == "this server speaks coscribe.v3 and coscribe.v2"
        async with aiohttp.ClientSession(headers=headers) as http:
            async with http.post(f"{url}/v1/documents", json={"id": "notes"}) as made:
                assert made.status == 201
            async with http.get(f"{url}/v1/documents/notes") as read:
                assert read.status == 503
        told = "this router speaks coscribe-link.v3 and coscribe-link.v2; this host speaks coscribe-link.v1"
        assert told in cluster.log("router-0")
        assert "this host speaks coscribe-link.v1" in cluster.log("host-0")
