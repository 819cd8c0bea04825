"""The router process: aiohttp on uvloop, the sockets of clients, and the real parts behind `router.Router`.

python -m router.app        with settings from COSCRIBE_… variables, as `coscribe up` passes them
"""

import asyncio
import contextlib
import gc
import random
import secrets
import signal
import sys
import time
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import structlog
import uvloop
from aiohttp import WSMsgType, web
from pydantic import SecretStr
from redis.asyncio import Redis

from cluster.config import Settings, load
from cluster.data_folder import stores_on_disk
from cluster.logs import configure
from cluster.watcher import MapWatcher
from coscribe import link
from coscribe.names import is_document_id
from coscribe.protocol import SUBPROTOCOLS, CloseCode, WireLimits, close_reason
from coscribe.versions import listed
from persistence.bus import RedisBus
from persistence.disk import DiskReserve
from persistence.documents import Documents
from persistence.map_store import RedisMapStore
from persistence.presence import RedisRoster
from persistence.reader import RedisLogReader
from persistence.records import Bus, Document, Unavailable
from persistence.redis_client import shared_client
from persistence.routers import RedisRouters
from persistence.script_calls import ScriptCalls
from persistence.store import PostgresStore
from persistence.tickets import Tickets
from router.admission import Admission
from router.auth import Identity, Tokens, Unauthenticated
from router.conversation import ClientSocket, Conversation
from router.door import Door
from router.http_api import BODY_BYTES, HttpApi
from router.link import LinkClosed, NoCommonVersion, Transport
from router.listener import Listener
from router.metrics import RouterMetrics
from router.moves import Moves, MoveSettings
from router.problem import Problem, problems
from router.router import Clock, Router, RouterSettings

LINK_FRAME_BYTES: Final = 128 * 1024 * 1024
YOUNG_OBJECTS: Final = 20_000  # that are new and still there, before their cycles are looked for
SCHEDSTAT: Final = Path("/proc/thread-self/schedstat")
ADMISSION_WAIT_S: Final = 1.0

log_event = structlog.get_logger("router")


class LinkTransport:
    """A link over an aiohttp WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, version: int) -> None:
        self._socket, self.version = socket, version

    async def send(self, frame: bytes) -> None:
        try:
            await self._socket.send_bytes(frame)
        except (aiohttp.ClientError, OSError) as error:
            raise LinkClosed(str(error)) from None

    async def receive(self) -> bytes:
        message = await self._socket.receive()
        if message.type is WSMsgType.BINARY:
            data: bytes = message.data
            return data
        raise LinkClosed(f"closed by the host ({self._socket.close_code})")

    async def close(self) -> None:
        await self._socket.close()


class Refusal(Exception):
    """The socket is accepted and closed with a code, for a browser cannot read the status of a refused upgrade."""

    def __init__(self, code: CloseCode, text: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.code, self.reason = code, close_reason(text, retry_after_s)


def not_now(retry_after_s: float = ADMISSION_WAIT_S) -> Refusal:
    """With jitter: those refused at one time do not come back at one time."""
    return Refusal(CloseCode.OVERLOAD, retry_after_s=retry_after_s * random.uniform(1, 2))


class RouterApp:
    """One router process."""

    def __init__(
        self,
        settings: Settings,
        http: aiohttp.ClientSession,
        redis: Redis,
        calls: ScriptCalls,
        bus: Bus,
        store: PostgresStore,
    ) -> None:
        self._settings, self._http = settings, http
        self._cluster_secret = _secret(settings.cluster_secret)
        limits = WireLimits(
            settings.limit_frame_bytes, settings.limit_op_bytes, settings.limit_presence_bytes,
            max(1, round(settings.limit_ops_per_s)),
        )  # fmt: skip
        self.router = Router(
            RouterSettings(
                settings.durability, settings.heartbeat_s, limits, settings.limit_user_ops_per_s,
                settings.limit_document_ops_per_s,
            ),
            MapWatcher(RedisMapStore(redis)),
            bus,
            RedisLogReader(redis, replicated=settings.durability == "replica"),
            RedisRoster(calls),
            self._connect_link,
            self._redeem,
            Clock(time.monotonic, time.time, time.thread_time, waited_s),
        )  # fmt: skip
        self.metrics = RouterMetrics(self.router)
        tokens = Tokens(_secret(settings.token_secret), settings.token_issuer, settings.token_audience)
        self.api = HttpApi(
            self.router, self.metrics, tokens, Tickets(redis), Documents(calls, store),
            guests=bool(settings.guests), create_on_open=settings.create_on_open, disk=_disk(settings),
        )  # fmt: skip
        joins = settings.limit_joins_per_s
        self._door = Door(Admission(joins, settings.limit_sockets, time.monotonic()))
        self._moves = Moves(
            secrets.token_hex(8), self.router.connections, RedisRouters(redis), self.metrics,
            MoveSettings(settings.drain_s, settings.balance_factor, joins), time.monotonic,
        )  # fmt: skip

    async def _redeem(self, ticket: str, document_id: str) -> Identity | None:
        return await self.api.redeem(ticket, document_id)

    async def _connect_link(self, address: str) -> Transport:
        headers = {"Authorization": f"Bearer {self._cluster_secret}"}
        try:
            socket = await self._http.ws_connect(
                f"http://{address}{link.LINK_PATH}", protocols=list(link.LINK_SUBPROTOCOLS), headers=headers,
                compress=0, max_msg_size=LINK_FRAME_BYTES, heartbeat=10.0,
            )  # fmt: skip
        except (aiohttp.ClientError, OSError) as error:
            raise LinkClosed(str(error)) from None
        version = link.LINK_SUBPROTOCOLS.get(socket.protocol or "")
        if version is None:
            last = await socket.receive()
            await socket.close()
            raise NoCommonVersion(f"this router speaks {listed(link.LINK_SUBPROTOCOLS)}; {last.extra or 'no answer'}")
        return LinkTransport(socket, version)

    def application(self) -> web.Application:
        app = web.Application(middlewares=[problems], client_max_size=BODY_BYTES)
        app.add_routes([web.get("/v1/documents/{document:[^/]+}/socket", self._socket), *self.api.routes()])
        app.on_response_prepare.append(self._end_when_stopping)
        return app

    async def _end_when_stopping(self, request: web.Request, response: web.StreamResponse) -> None:
        """A proxy keeps connections, and would go on to send newcomers by them. (aiohttp's pre_shutdown ends idle ones
        at once, but makes open WebSockets deaf.)"""
        if not self.api.ready:
            response.force_close()

    # --- Sockets ---

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if not self._origin_allowed(request):
            raise Problem(HTTPStatus.FORBIDDEN, "origin", "pages of this origin may not connect")
        await self._door.turn()
        if request.transport is None:
            return web.Response()  # it has gone meanwhile
        refused = self._door.decide()
        if refused is None:
            with self._door.enter():
                return await self._upgraded(request, None)
        self.metrics.refused_joins.labels(refused.why).inc()
        return await self._upgraded(request, Refusal(CloseCode.OVERLOAD, retry_after_s=refused.retry_after_s))

    async def _upgraded(self, request: web.Request, refusal: Refusal | None) -> web.StreamResponse:
        socket = ClientSocket(self._settings.limit_frame_bytes)
        await socket.prepare(request)
        try:
            if refusal:
                raise refusal
            document, identity = await self._admit(request, socket)
        except Refusal as refused:
            self.metrics.closes.labels(int(refused.code)).inc()
            await socket.close(code=refused.code, message=refused.reason.encode())
        except Exception:  # the upgrade is done, so nothing that HTTP says would be understood any more
            log_event.exception("not admitted", path=request.path)
            await socket.close(code=CloseCode.RESTART, message=close_reason(retry_after_s=ADMISSION_WAIT_S).encode())
        else:
            transport = request.transport
            await Conversation(self.router, self.metrics, socket, transport, document, identity).run()
        return socket

    def _origin_allowed(self, request: web.Request) -> bool:
        """Browsers always name the page's origin; whoever names none is no browser."""
        origin = request.headers.get("Origin")
        if origin is None or origin in self._settings.origins:
            return True
        try:
            return urlsplit(origin).netloc == request.host
        except ValueError:
            return False

    async def _admit(self, request: web.Request, socket: ClientSocket) -> tuple[Document, Identity]:
        """Who comes to which document. Raises Refusal."""
        document_id = request.match_info["document"]
        if "Sec-WebSocket-Protocol" in request.headers and socket.ws_protocol not in SUBPROTOCOLS:
            raise Refusal(CloseCode.BAD_MESSAGE, f"this server speaks {listed(SUBPROTOCOLS)}")
        if not is_document_id(document_id):
            raise Refusal(CloseCode.NOT_FOUND, "no such document")
        if not self.api.ready:
            self.metrics.refused_joins.labels("stopping").inc()
            raise not_now()
        try:
            identity = await self._identity(request, document_id)
            if identity.document not in (None, document_id):
                raise Refusal(CloseCode.FORBIDDEN, "this token is for another document")
            document = await self.api.open(document_id, identity)
        except Unauthenticated as error:
            raise Refusal(CloseCode.UNAUTHENTICATED, str(error)) from None
        except Unavailable:
            raise not_now() from None
        if document is None:
            raise Refusal(CloseCode.NOT_FOUND, "no such document")
        if document.deleted:
            raise Refusal(CloseCode.DELETED, "the document was deleted")
        return document, identity

    async def _identity(self, request: web.Request, document_id: str) -> Identity:
        if (ticket := request.query.get("ticket")) is None:
            return self.api.identify(request)
        identity = await self.api.redeem(ticket, document_id)
        if identity is None:
            raise Unauthenticated("the ticket is not valid")
        return identity

    # --- Life ---

    async def run(self, stopped: asyncio.Event) -> None:
        """Serve until `stopped`, then stop in named phases."""
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=2.0, handle_signals=False)
        await runner.setup()
        running = asyncio.get_running_loop().create_task(self.router.run())
        self._door.listener = listener = await Listener.open(runner, self._settings.bind, self._settings.port)
        await listener.serve()
        sharing = asyncio.get_running_loop().create_task(self._moves.run())
        log_event.info("serving", address=f"http://{self._settings.bind}:{self._settings.port}")
        waiting = asyncio.get_running_loop().create_task(stopped.wait())
        await asyncio.wait({waiting, running}, return_when=asyncio.FIRST_COMPLETED)
        for task in (waiting, sharing):
            task.cancel()
        await asyncio.gather(waiting, sharing, return_exceptions=True)
        log_event.info("stopping", phase="refuse")
        self.api.ready = False
        await self._door.close()  # first, for Redis may not answer
        others = await self._moves.announce_drain()
        if others and not running.done():
            log_event.info("stopping", phase="drain", sockets=len(self.router.connections))
            await self._moves.drain()
        log_event.info("stopping", phase="close sockets", sockets=len(self.router.connections))
        await self.router.stop(joins_per_s=self._settings.limit_joins_per_s)
        await self._moves.leave()
        await runner.cleanup()
        failed = running.exception() if running.done() and not running.cancelled() else None
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        if failed:
            raise failed


async def serve(settings: Settings, stopped: asyncio.Event) -> None:
    """Run a router with resolved settings until `stopped` is set."""
    redis_url = _secret(settings.redis_url)
    async with contextlib.AsyncExitStack() as services:
        store = await PostgresStore.connect(_secret(settings.postgres_url))
        services.push_async_callback(store.aclose)
        redis = shared_client(redis_url)
        services.push_async_callback(redis.aclose)
        bus = await services.enter_async_context(RedisBus(redis_url))
        http = await services.enter_async_context(aiohttp.ClientSession())
        calls = await services.enter_async_context(ScriptCalls.connect(redis_url))
        await RouterApp(settings, http, redis, calls, bus, store).run(stopped)
        log_event.info("stopping", phase="close services")


def _secret(value: SecretStr | None) -> str:
    assert value is not None, "whoever starts a router passes resolved settings on"
    return value.get_secret_value()


def waited_s() -> float:
    """How long this thread has been ready to run and had no core, in seconds. Linux says it; elsewhere 0."""
    try:
        return int(SCHEDSTAT.read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _disk(settings: Settings) -> DiskReserve | None:
    stores = stores_on_disk(settings.data, _secret(settings.redis_url), _secret(settings.postgres_url))
    return DiskReserve(stores, settings.limit_disk_free_bytes) if stores else None


async def _serve_until_signalled(settings: Settings) -> None:
    stopped = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    await serve(settings, stopped)


def main() -> int:
    settings = load()
    configure(settings.log_level, settings.log_format)
    gc.freeze()  # what was imported stays; of the rest little is garbage in cycles, and looking for it is not free
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)
    uvloop.run(_serve_until_signalled(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
