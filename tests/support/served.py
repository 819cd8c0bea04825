"""A cluster that serves in a thread of its own, for tables of small tests that share it; and a client that says
anything, byte for byte, and hears everything."""

import asyncio
import contextlib
import json
import re
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import aiohttp
import jwt
from aiohttp import WSMsgType

from actors.host import HostLimits
from actors.host_server import HostSettings, serve_host
from coscribe.ot import Limits
from coscribe.protocol import SUBPROTOCOLS
from coscribe.section import WindowLimits
from tests.support.cluster import SECRET, Cluster, cluster
from tests.support.services import Postgres, Valkey

PATIENCE_S = 20
WINDOW = 16  # entries of history
DOCUMENT_BYTES = 6_000
LIMITS = {
    "limit_frame_bytes": 8_192, "limit_op_bytes": 2_000, "limit_presence_bytes": 256, "limit_ops_per_s": 50,
    "limit_joins_per_s": 10_000,
}  # fmt: skip
INSIDES = re.compile(r'Traceback|File "|\.py\b|site-packages|msgspec|asyncio|aiohttp|/work|0x[0-9a-f]{6}|Error\b')
TEXT = "some text \U0001f600\n"  # 13 units, the pair at 10 and 11


class Served:
    """Where it is, and how to get in."""

    def __init__(self, system: Cluster) -> None:
        self.system = system
        self.url = system.routers[0].url

    def token(self, user: str = "ann", **claims: Any) -> str:
        """`claims` replace the claims of a good token; None leaves one out."""
        good = jwt.decode(self.system.token(user), options={"verify_signature": False})
        wanted = {name: value for name, value in {**good, **claims}.items() if value is not None}
        return jwt.encode(wanted, SECRET, algorithm="HS256")

    def bearer(self, user: str = "ann", **claims: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(user, **claims)}"}

    async def create(self, document: str) -> str:
        """A new document of this name, or one like it that is free."""
        async with aiohttp.ClientSession(headers=self.bearer()) as http:
            wanted = f"{document}-{secrets.token_hex(4)}"
            async with http.post(f"{self.url}/v1/documents", json={"id": wanted}) as response:
                assert response.status == 201, await response.text()
                return wanted

    async def written(self, name: str) -> str:
        """A new document with TEXT in it, at revision 1, written by Bob."""
        document = await self.create(re.sub(r"[^a-z0-9]+", "-", name.lower()))
        async with raw(self.url, document, headers=self.bearer("bob")) as bob:
            await bob.join("client-of-bob")
            assert accepted(await bob.write(1, 0, [TEXT[:-1]]), 1)
        return document

    async def is_well(self, document: str, before: Any, *refused: "Raw") -> None:
        """The document is as it was, others edit it on, and nobody was told of our insides."""
        told = " ".join(f"{socket.heard} {socket.reason}" for socket in refused)
        assert not INSIDES.search(told), told
        assert await self.read(document) == before
        async with raw(self.url, document, headers=self.bearer("cat")) as cat:
            head = await cat.join(f"client-of-cat-{secrets.token_hex(4)}")
            assert accepted(await cat.write(1, head["rev"], ["on "]), 1)

    async def read(self, document: str) -> Any:
        address = f"{self.url}/v1/documents/{document}"
        async with aiohttp.ClientSession() as http, http.get(address, headers=self.bearer()) as response:
            assert response.status == 200, await response.text()
            return await response.json()


@contextlib.contextmanager
def served(valkey: Valkey, postgres: Postgres, data: Path) -> Iterator[Served]:
    """With small limits, a short window, and documents that must be created first."""
    valkey.clear()
    asyncio.run(postgres.clear())
    window = WindowLimits(entries=WINDOW, min_age_ms=0, hard_entries=WINDOW)
    ready: Future[tuple[Served, Callable[[], object]]] = Future()

    async def serve() -> None:
        stopped, loop = asyncio.Event(), asyncio.get_running_loop()
        async with cluster(
            valkey.url, postgres.url, data, hosts=0, routers=0, create_on_open=False, **LIMITS
        ) as system:
            limits = Limits(document_units=DOCUMENT_BYTES, document_bytes=DOCUMENT_BYTES)
            host = HostSettings("host-0", valkey.url, postgres.url, SECRET, limits=limits)
            with patch("actors.host_server.HostLimits", partial(HostLimits, window=window)):
                system.hosts["host-0"] = await serve_host(host)
            await system.start_router()
            ready.set_result((Served(system), lambda: loop.call_soon_threadsafe(stopped.set)))
            await stopped.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=run, name="served")
    thread.start()
    try:
        found, stop = ready.result(timeout=60)
        yield found
        stop()
    finally:
        thread.join(timeout=60)


class Raw:
    """One socket. `heard` is every message, `code` and `reason` how it was closed."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.client = ""
        self.heard: list[Any] = []
        self.code: int | None = None
        self.reason = ""

    async def say(self, frame: Any) -> None:
        """Text and bytes as they are, anything else as JSON."""
        if isinstance(frame, bytes):
            await self.socket.send_bytes(frame)
        else:
            await self.socket.send_str(frame if isinstance(frame, str) else json.dumps(frame))

    async def hear(self) -> bool:
        """One more frame; False once the socket is closed."""
        message = await self.socket.receive()
        if message.type is WSMsgType.TEXT:
            self.heard += json.loads(message.data)
        elif message.type is WSMsgType.CLOSE:
            self.code, self.reason = message.data, message.extra or ""
        elif message.type in (WSMsgType.CLOSED, WSMsgType.ERROR):
            self.code = self.code or self.socket.close_code or 1006
        return self.code is None

    async def until(self, wanted: Callable[[Any], bool]) -> Any:
        """The first message that fits, from now on or from before. None: the socket was closed without one."""
        seen = 0
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for message in self.heard[seen:]:
                    if wanted(message):
                        return message
                seen = len(self.heard)
                if not await self.hear():
                    return next((message for message in self.heard[seen:] if wanted(message)), None)

    async def closed(self) -> int:
        """The code with which the server closes."""
        async with asyncio.timeout(PATIENCE_S):
            while await self.hear():
                pass
        assert self.code is not None
        return self.code

    async def join(self, client: str, resume: Any = None) -> Any:
        """Say hello and wait until level; returns the head."""
        self.client = client
        await self.say({"t": "hello", "v": 1, "client": client, **({"resume": resume} if resume else {})})
        return await self.until(lambda message: message.get("t") == "head")

    async def write(self, cseq: int, base: int, delta: Any) -> Any:
        """Submit an operation and wait for its entry or its nack."""
        await self.say({"t": "op", "s": "0", "base": base, "cseq": cseq, "delta": delta})
        return await self.until(
            lambda message: (
                accepted(message, cseq, self.client) or (message.get("t") == "nack" and message["cseq"] == cseq)
            )
        )


def accepted(message: Any, cseq: int, client: str = "") -> bool:
    """Whether the message has the entry of an operation."""
    return any(entry[1] == cseq and client in ("", entry[0]) for entry in message.get("e", ()))


@contextlib.asynccontextmanager
async def raw(url: str, document: str, **given: Any) -> AsyncIterator[Raw]:
    """A socket that has said nothing yet. Raises WSServerHandshakeError for an upgrade that is refused."""
    given = {"protocols": list(SUBPROTOCOLS), "max_msg_size": 0, **given}
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{url}/v1/documents/{document}/socket", **given) as socket,
    ):
        yield Raw(socket)
