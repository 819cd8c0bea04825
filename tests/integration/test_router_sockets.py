"""Sockets of clients that are slow, silent or gone, and of routers that are full, fail or stop."""

import asyncio
import base64
import json
import os
import socket
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import aiohttp
import pytest

from tests.support.cluster import Cluster, cluster
from tests.support.served import Raw, accepted, raw

pytestmark = pytest.mark.services

LARGE = "x" * 100_000


def bearer(system: Cluster, user: str = "ann") -> dict[str, str]:
    return {"Authorization": f"Bearer {system.token(user)}"}


async def sockets(system: Cluster) -> int:
    """How many sockets the router has."""
    async with aiohttp.ClientSession() as http, http.get(f"{system.routers[0].url}/metrics") as response:
        lines = (await response.text()).splitlines()
    return next(int(float(line.split()[1])) for line in lines if line.startswith("coscribe_sockets "))


async def are_sockets(system: Cluster, count: int) -> None:
    async with asyncio.timeout(20):
        while await sockets(system) != count:  # noqa: ASYNC110 - asked over HTTP, as operators do
            await asyncio.sleep(0.05)


class Deaf:
    """A client that never reads what the server says to it."""

    def __init__(self, system: Cluster, document: str) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self._socket.connect(("127.0.0.1", system.routers[0].settings.port))
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET /v1/documents/{document}/socket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nAuthorization: Bearer {system.token()}\r\n\r\n"
            .encode()
        )  # fmt: skip

    def say(self, message: object) -> None:
        text = json.dumps(message).encode()
        assert len(text) < 126
        self._socket.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)

    def close(self) -> None:
        self._socket.close()


async def grown(system: Cluster, document: str) -> None:
    """A document of some size."""
    async with raw(system.routers[0].url, document, headers=bearer(system, "bob")) as bob:
        await bob.join("client-of-bob")
        for cseq in range(1, 5):
            assert accepted(await bob.write(cseq, cseq - 1, [LARGE]), cseq)


async def test_a_client_that_reads_nothing_is_cut_off_when_its_time_is_over(
    redis_url: str, postgres_url: str, tmp_path: Path
) -> None:
    """Its writer waits for it for ever; the close must not wait behind that."""
    with patch("router.conversation.CLOSE_PATIENCE_S", 0.1):
        async with cluster(redis_url, postgres_url, tmp_path, heartbeat_s=1) as system:
            await grown(system, "notes")
            deaf = Deaf(system, "notes")
            deaf.say({"t": "hello", "v": 1, "client": "client-deaf"})
            await are_sockets(system, 1)
            for _ in range(40):  # until no buffer on the way takes any more
                deaf.say({"t": "fetch", "s": "0"})
                await asyncio.sleep(0.03)
            await are_sockets(system, 0)
            deaf.close()


async def test_a_client_that_says_no_hello_is_closed(redis_url: str, postgres_url: str, tmp_path: Path) -> None:
    with patch("router.connection.HELLO_TIMEOUT_S", 0.2):
        async with cluster(redis_url, postgres_url, tmp_path) as system:
            async with raw(system.routers[0].url, "notes", headers=bearer(system)) as ann:
                assert (await ann.closed(), ann.reason, ann.heard) == (4400, "no hello in time", [])
            await are_sockets(system, 0)


def cut(client: Raw) -> None:
    """As a bad network does."""
    connection = client.socket._conn
    assert connection is not None
    assert connection.transport is not None
    connection.transport.abort()


def gone(bob: Raw) -> set[str]:
    """The clients of which Bob was told that they left."""
    return {
        client for message in bob.heard for client, peer in message.get("p", {}).items() if peer is None
    }  # fmt: skip


async def test_a_client_that_is_gone_leaves_nothing(redis_url: str, postgres_url: str, tmp_path: Path) -> None:
    async with (
        cluster(redis_url, postgres_url, tmp_path) as system,
        raw(system.routers[0].url, "notes", headers=bearer(system, "bob")) as bob,
    ):
        await bob.join("client-of-bob")
        for number in range(20):
            name = f"client-ann-{number}"
            async with raw(system.routers[0].url, "notes", headers=bearer(system)) as ann:
                await ann.say({"t": "hello", "v": 1, "client": name})
                if number % 2:
                    await ann.until(lambda message: message.get("t") == "head")
                    await ann.say({"t": "presence", "s": "0", "rev": 0, "state": {"n": number}})
                    assert await bob.until(partial(_presence_of, name))
                cut(ann)
        await are_sockets(system, 1)
        while len(gone(bob)) < 10:
            assert await bob.hear()


def _presence_of(client: str, message: Any) -> bool:
    return client in message.get("p", ())


async def test_a_router_that_stops_tells_everyone_when_to_come_back(
    redis_url: str, postgres_url: str, tmp_path: Path
) -> None:
    async with cluster(redis_url, postgres_url, tmp_path) as system:
        async with raw(system.routers[0].url, "notes", headers=bearer(system)) as ann:
            await ann.join("client-row")
            stopping = asyncio.create_task(system.routers[0].stop())
            assert await ann.closed() == 1012
            assert json.loads(ann.reason)["retry_after_s"] > 0
        await stopping


async def test_a_router_that_is_full_says_when_to_come_back(redis_url: str, postgres_url: str, tmp_path: Path) -> None:
    async with cluster(redis_url, postgres_url, tmp_path, limit_joins_per_s=1) as system:
        codes = []
        for number in range(4):
            async with raw(system.routers[0].url, "notes", headers=bearer(system)) as ann:
                if number < 2:
                    assert await ann.join("client-row")
                else:
                    codes.append(await ann.closed())
                    assert 1 <= json.loads(ann.reason)["retry_after_s"] <= 2.5
        assert codes == [1013, 1013]


async def test_a_fault_of_ours_costs_one_socket_and_tells_nothing(
    redis_url: str, postgres_url: str, tmp_path: Path
) -> None:
    async with cluster(redis_url, postgres_url, tmp_path) as system:
        url = system.routers[0].url
        for place in (
            "router.connection.read_frame", "router.router.Router.room", "router.http_api.HttpApi.open",
        ):  # fmt: skip
            with patch(place, side_effect=KeyError("a fault of ours")):
                async with raw(url, "notes", headers=bearer(system)) as ann:
                    await ann.say({"t": "hello", "v": 1, "client": "client-row"})
                    assert await ann.closed() == 1012
                    assert json.loads(ann.reason) == {"retry_after_s": 1.0}
                    assert ann.heard == []
        async with raw(url, "notes", headers=bearer(system)) as ann:
            await ann.join("client-row")
            assert accepted(await ann.write(1, 0, ["x"]), 1)


async def test_a_frame_of_any_size_is_refused_without_being_kept(
    redis_url: str, postgres_url: str, tmp_path: Path
) -> None:
    async with cluster(redis_url, postgres_url, tmp_path) as system:
        for size in (1_200_000, 2_200_000, 30_000_000):
            async with raw(system.routers[0].url, "notes", headers=bearer(system)) as ann:
                await ann.join("client-row")
                with_reset = False
                try:
                    await ann.say("x" * size)
                except (aiohttp.ClientError, OSError):
                    with_reset = True  # the server closed while we were still sending
                code = await ann.closed()
                assert code == 4413 or (with_reset and size > 2_200_000), (size, code)
        await are_sockets(system, 0)


async def test_without_an_owner_reading_over_http_ends_soon(redis_url: str, postgres_url: str, tmp_path: Path) -> None:
    async def silence(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    async with cluster(redis_url, postgres_url, tmp_path) as system:
        await grown(system, "notes")
        with patch("router.http_api.OWNER_PATIENCE_S", 0.1), patch("router.link.Links.snapshot", silence):
            address = f"{system.routers[0].url}/v1/documents/notes"
            async with aiohttp.ClientSession() as http, http.get(address, headers=bearer(system)) as response:
                assert (response.status, response.headers["Retry-After"]) == (503, "1")
                assert (await response.json(content_type=None))["code"] == "unavailable"
