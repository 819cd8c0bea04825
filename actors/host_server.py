"""A shard host on the real parts: its data port (an aiohttp server with one path, the link), its lease, its place on
the map. No Ray: `cluster` wraps it in an actor, tests start it in their own process.
"""

import asyncio
import contextlib
import hmac
import os
import random
import secrets
import time
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog
from aiohttp import WSMsgType, web

from actors.host import HostLimits, ShardHost
from actors.section_actor import Clock
from actors.upkeep import Upkeep, UpkeepSettings
from cluster.cluster_map import ClusterMap, HostEntry
from cluster.ring import Ring
from cluster.watcher import MapWatcher, change_map, join_map
from coscribe import link
from coscribe.ot import Limits
from persistence import keys
from persistence.bus import RedisBus
from persistence.log import RedisLog
from persistence.map_store import RedisMapStore
from persistence.records import Bus, Log, MapStore, Store, Unavailable
from persistence.redis_checks import Durability
from persistence.redis_client import shared_client
from persistence.store import PostgresStore

FRAME_BYTES: Final = 64 * 1024 * 1024
REPLIES_MOST: Final = 100_000  # a router that reads so little is cut off, and comes back
LEASE_RENEWALS: Final = 3  # in one time to live

log_event = structlog.get_logger("host")


class Evicted(Exception):
    """Another process holds this host's lease."""


def _now() -> float:
    return asyncio.get_running_loop().time()


@dataclass(frozen=True, slots=True)
class HostSettings:
    name: str
    redis_url: str
    postgres_url: str
    cluster_secret: str
    bind: str = "127.0.0.1"
    lease_ttl_s: float = 3.0
    durability: Durability = "fsync"
    op_bytes: int = 256 * 1024
    document_bytes: int = 8 * 1024 * 1024
    upkeep: UpkeepSettings = field(default_factory=UpkeepSettings)


class RouterLink:
    """One router's connection: frames in are handled one after the other, answers leave in frames."""

    def __init__(self, host: ShardHost, socket: web.WebSocketResponse) -> None:
        self._host, self._socket = host, socket
        self._replies: list[link.ToRouter] = []
        self._waiting = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    def reply(self, message: link.ToRouter) -> None:
        if len(self._replies) < REPLIES_MOST:
            self._replies.append(message)
            self._waiting.set()
        elif self._writer:
            self._writer.cancel()

    async def serve(self) -> None:
        self._writer = asyncio.get_running_loop().create_task(self._write())
        reader = asyncio.get_running_loop().create_task(self._read())
        try:
            await asyncio.wait({reader, self._writer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            reader.cancel()
            self._writer.cancel()
            await asyncio.gather(reader, self._writer, return_exceptions=True)

    async def _read(self) -> None:
        try:
            async for message in self._socket:
                if message.type is WSMsgType.BINARY:
                    await self._host.receive(message.data, self.reply)
        except msgspec.DecodeError as error:
            log_event.error("not a link frame", error=str(error))
        except Unavailable as error:
            log_event.warning("map not read", error=str(error))

    async def _write(self) -> None:
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            replies, self._replies = self._replies, []
            await self._socket.send_bytes(link.encode(link.RouterFrame(self._host.view, replies)))


class RunningHost:
    """A host that serves."""

    def __init__(
        self,
        settings: HostSettings,
        map_store: MapStore,
        bus: Bus,
        log: Log,
        store: Store,
        clock: Clock,
    ) -> None:
        self.settings = settings
        self._services = contextlib.AsyncExitStack()
        self.instance = clock.new_id()
        self.address = ""
        self._map_store, self._bus = map_store, bus
        self._watcher = MapWatcher(self._map_store, self._map_changed)
        limits = HostLimits(
            Limits(
                op_bytes=settings.op_bytes,
                text_units=settings.op_bytes,
                document_units=settings.document_bytes,
                document_bytes=settings.document_bytes,
            )
        )
        self.host = ShardHost(settings.name, log, store, self._ring, self._watcher.refresh, clock, limits)
        self._upkeep = Upkeep(self.host, log, store, self._ring, settings.upkeep)
        self._links: dict[web.WebSocketResponse, None] = {}
        self._runner: web.AppRunner | None = None
        self._task: asyncio.Task[None] | None = None

    def _ring(self) -> Ring:
        return self._watcher.ring

    async def start(self) -> None:
        self.address = await self._listen()
        self._bus.listen(lambda channel, data: self._watcher.notice(), lambda channel: self._watcher.notice())
        await self._bus.subscribe(keys.CLUSTER_MAP_NOTICE)
        await self._hold_lease(self.settings.lease_ttl_s)
        await self._join()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _listen(self) -> str:
        """Open the data port; returns its address."""
        app = web.Application()
        app.router.add_get(link.LINK_PATH, self._accept)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.settings.bind, 0)
        await site.start()
        port = self._runner.addresses[0][1]
        return f"{self.settings.bind}:{port}"

    def keep(self, services: contextlib.AsyncExitStack) -> None:
        """What `stop` is to close at the end."""
        self._services = services

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watcher.run())
            tasks.create_task(self._keep_lease())
            tasks.create_task(self._upkeep.run())

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self.settings.cluster_secret.encode()):
            raise web.HTTPUnauthorized
        socket = web.WebSocketResponse(
            protocols=[link.LINK_SUBPROTOCOL], max_msg_size=FRAME_BYTES, compress=False, heartbeat=10.0
        )
        await socket.prepare(request)
        if socket.ws_protocol != link.LINK_SUBPROTOCOL:
            await socket.close(code=4400, message=b"this host speaks " + link.LINK_SUBPROTOCOL.encode())
            return socket
        self._links[socket] = None
        try:
            await RouterLink(self.host, socket).serve()
        finally:
            self._links.pop(socket, None)
        return socket

    # --- Lease and map ---

    async def _hold_lease(self, patience_s: float) -> None:
        """Take the slot's lease; the one of a process that died runs out in one time to live."""
        ttl_ms = int(self.settings.lease_ttl_s * 1000)
        deadline = _now() + 2 * patience_s
        while not await self._map_store.renew_lease(self.settings.name, self.instance, ttl_ms):
            if _now() > deadline:
                raise Evicted(f"another process runs as {self.settings.name}")
            await asyncio.sleep(self.settings.lease_ttl_s / LEASE_RENEWALS / 4)

    async def _join(self) -> None:
        await join_map(self._map_store, self.settings.name, HostEntry(self.address, self.instance))
        await self._watcher.refresh()
        log_event.info("host joined", host=self.settings.name, address=self.address, view=self._watcher.ring.view)

    async def _keep_lease(self) -> None:
        """Renew; an owner that cannot for a whole lease time stops by itself, before another one takes over."""
        ttl_s = self.settings.lease_ttl_s
        renewed = _now()
        while True:
            await asyncio.sleep(ttl_s / LEASE_RENEWALS)
            try:
                if not await self._map_store.renew_lease(self.settings.name, self.instance, int(ttl_s * 1000)):
                    log_event.error("lease lost", host=self.settings.name)
                    self.host.suspend()
                    await self._hold_lease(ttl_s)
                renewed = _now()
                self.host.resume()
                if self._watcher.ring.map.hosts.get(self.settings.name) != HostEntry(self.address, self.instance):
                    await self._watcher.refresh()
                    if self.settings.name not in self._watcher.ring.map.hosts:
                        await self._join()
            except Unavailable as error:
                log_event.warning("lease not renewed", host=self.settings.name, error=str(error))
                if _now() - renewed > ttl_s:
                    self.host.suspend()

    async def _map_changed(self) -> None:
        await self.host.apply_map()

    def _without_us(self, present: ClusterMap) -> ClusterMap | None:
        entry = present.hosts.get(self.settings.name)
        return present.without_host(self.settings.name) if entry and entry.instance == self.instance else None

    # --- End ---

    async def failed(self) -> None:
        """Raises what ended a task of the host's own, for instance that it lost its lease: it must not go on."""
        assert self._task is not None, "it has started"
        await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Named phases: leave the map, hand off, flush, close."""
        log_event.info("stopping", host=self.settings.name, phase="flush")
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(Unavailable):
            await self._upkeep.flush_all()
            log_event.info("stopping", host=self.settings.name, phase="leave")
            await change_map(self._map_store, self._without_us)
        log_event.info("stopping", host=self.settings.name, phase="hand off", sections=len(self.host.sections))
        await self.host.stop()
        with contextlib.suppress(Unavailable):
            await self._map_store.drop_lease(self.settings.name, self.instance)
        for socket in list(self._links):
            await socket.close()
        if self._runner:
            await self._runner.cleanup()
        await self._services.aclose()
        log_event.info("stopped", host=self.settings.name, pid=os.getpid())


async def serve_host(settings: HostSettings) -> RunningHost:
    """Start a host and put it on the map. Raises Unavailable, Evicted and ConfigurationError."""
    async with contextlib.AsyncExitStack() as services:
        store = await PostgresStore.connect(settings.postgres_url)
        services.push_async_callback(store.aclose)
        log = RedisLog.connect(settings.redis_url)
        services.push_async_callback(log.aclose)
        redis = shared_client(settings.redis_url)
        services.push_async_callback(redis.aclose)
        bus = await services.enter_async_context(RedisBus(settings.redis_url))
        clock = Clock(lambda: time.time_ns() // 1_000_000, random.random, lambda: secrets.token_hex(8))
        running = RunningHost(settings, RedisMapStore(redis), bus, log, store, clock)
        await running.start()
        running.keep(services.pop_all())
        return running
