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
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog
from aiohttp import WSMsgType, web

from actors.host import HostLimits, ShardHost
from actors.lease import RENEWALS, RETRIES, HostLease, Stage, boot_time, leased
from actors.router_link import RouterLink
from actors.section_actor import Clock
from actors.upkeep import Upkeep, UpkeepSettings
from cluster.cluster_map import ClusterMap, HostEntry
from cluster.ring import Ring
from cluster.watcher import MapWatcher, change_map, join_map
from coscribe import link
from coscribe.ot import Limits
from coscribe.ot.build import ENGINE
from coscribe.protocol import CloseCode
from coscribe.versions import listed
from persistence import keys
from persistence.bus import RedisBus
from persistence.disk import LOOK_EVERY_S, DiskReserve
from persistence.log import RedisLog
from persistence.map_store import RedisMapStore
from persistence.records import Bus, Log, MapStore, Store, Unavailable
from persistence.redis_client import shared_client
from persistence.store import PostgresStore

FRAME_BYTES: Final = 64 * 1024 * 1024
CLOSE_TIMEOUT_S: Final = 2.0  # for a router to say good-bye
TICK_S: Final = 0.001  # a timer may fire a hair too early

log_event = structlog.get_logger("host")


@dataclass(frozen=True, slots=True)
class HostSettings:
    name: str
    redis_url: str
    postgres_url: str
    cluster_secret: str
    bind: str = "127.0.0.1"
    lease_ttl_s: float = 3.0
    replicas: int = 0  # that must have an entry before anyone is told
    limits: Limits = field(default_factory=Limits)
    backlog_bytes: int = 256 * 2**20
    stores: tuple[Path, ...] = ()  # where Redis and Postgres keep what they have, if that is on this machine
    disk_free_bytes: int = 0  # with less free there, no operation is taken
    process: str = ""  # its name on its machine, for those who look whether it runs
    upkeep: UpkeepSettings = field(default_factory=UpkeepSettings)


class _Socket:
    """An aiohttp WebSocket as a link sees it."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket

    async def frames(self) -> AsyncIterator[bytes]:
        async for message in self._socket:
            if message.type is WSMsgType.BINARY:
                yield message.data

    async def send(self, frame: bytes) -> None:
        await self._socket.send_bytes(frame)


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
        lease_clock: Callable[[], float] = boot_time,
    ) -> None:
        self.settings = settings
        self._services = contextlib.AsyncExitStack()
        self.instance = clock.new_id()
        self._draw = clock.draw
        self.address = ""
        self.map_store, self._bus = map_store, bus
        self._watcher = MapWatcher(map_store, self._map_changed)
        limits = HostLimits(
            settings.limits,
            idle_ms=settings.upkeep.idle_ms,
            backlog_bytes=settings.backlog_bytes,
        )
        self._lease = HostLease(map_store, settings.name, self.instance, settings.lease_ttl_s, lease_clock)
        self.host = ShardHost(
            settings.name, leased(log, self.stage), store, self._ring, self._watcher.refresh, clock, limits, self.stage
        )
        self._upkeep = Upkeep(self.host, log, store, self._ring, settings.upkeep)
        self._disk = DiskReserve(settings.stores, settings.disk_free_bytes)
        self._links: dict[web.WebSocketResponse, None] = {}
        self._runner: web.AppRunner | None = None
        self._task: asyncio.Task[None] | None = None

    def _ring(self) -> Ring:
        return self._watcher.ring

    def stage(self) -> Stage:
        """Where its lease stands."""
        return self._lease.stage()

    async def start(self) -> None:
        """Raises Unavailable and Evicted, and then nothing is left open."""
        self._note_disk(self._disk.look())
        self.address = await self._listen()
        try:
            self._bus.listen(lambda channel, data: self._watcher.notice(), lambda channel: self._watcher.notice())
            await self._bus.subscribe(keys.CLUSTER_MAP_NOTICE)
            await self._lease.take()
            await self._join()
        except BaseException:
            await self._close_port()
            raise
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
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watcher.run())
                tasks.create_task(self._keep_lease())
                tasks.create_task(self._heed_lease())
                tasks.create_task(self._upkeep.run())
                if self.settings.stores:
                    tasks.create_task(self._heed_disk())
        except Exception:  # whoever waits in `failed` sees it; until then nobody may own anything here
            self.host.suspend()
            raise

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self.settings.cluster_secret.encode()):
            raise web.HTTPUnauthorized
        socket = web.WebSocketResponse(
            protocols=list(link.LINK_SUBPROTOCOLS), max_msg_size=FRAME_BYTES, compress=False, heartbeat=10.0
        )
        await socket.prepare(request)
        version = link.LINK_SUBPROTOCOLS.get(socket.ws_protocol or "")
        if version is None:
            reason = f"this host speaks {listed(link.LINK_SUBPROTOCOLS)}"
            log_event.error("no common version", host=self.settings.name, reason=reason)
            await socket.close(code=CloseCode.BAD_MESSAGE, message=reason.encode())
            return socket
        self._links[socket] = None
        router = RouterLink(self.host, _Socket(socket), version)
        try:
            await router.serve()
        finally:
            self._links.pop(socket, None)
            if router.overrun and request.transport is not None:
                request.transport.abort()
        return socket

    # --- Lease and map ---

    async def _join(self) -> None:
        entry = HostEntry(self.address, self.instance, process=self.settings.process)
        await join_map(self.map_store, self.settings.name, entry)
        await self._watcher.refresh()
        view = self._watcher.ring.view
        log_event.info("host joined", host=self.settings.name, address=self.address, view=view, engine=ENGINE)

    async def _keep_lease(self) -> None:
        """Renew every third of its time, sooner after a renewal that failed. Raises Evicted when another process has
        taken the slot."""
        while True:
            await asyncio.sleep(self._lease.due_s)
            try:
                if not await self._lease.renew():
                    log_event.error("lease lost", host=self.settings.name)
                    self.host.suspend()
                    await self._lease.take()
                if self.stage() is Stage.HELD:
                    self.host.resume()
                async with asyncio.timeout(self._lease.ttl_s / RENEWALS):
                    await self._stay_on_map()
            except (Unavailable, TimeoutError) as error:
                log_event.warning("lease not renewed", host=self.settings.name, error=str(error) or "no answer in time")
                await asyncio.sleep(self._lease.ttl_s / RETRIES * (0.5 + self._draw()))

    async def _renew_only(self) -> None:
        """For the time of leaving: what is in flight is to commit. Never takes a lease that was lost."""
        while self.stage() is not Stage.HARD:
            with contextlib.suppress(Unavailable):
                await self._lease.renew()
            await asyncio.sleep(self._lease.ttl_s / RENEWALS)

    async def _heed_lease(self) -> None:
        """Notice the hard stop when it comes, though no router says anything. The timer stands still while the machine
        sleeps and the lease does not, so it is short."""
        pause_s = self._lease.ttl_s / RETRIES
        before = Stage.HELD
        while True:
            stage = self.host.heed_lease()
            if stage is not before and stage is not Stage.HELD:
                log_event.warning("lease not renewed in time", host=self.settings.name, stage=stage.value)
            before = stage
            left_s = self._lease.left_s
            await asyncio.sleep(pause_s if left_s is None else min(left_s + TICK_S, pause_s))

    async def _heed_disk(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self._note_disk(await asyncio.to_thread(self._disk.look))  # a network's disk may let one wait

    def _note_disk(self, changed: bool) -> None:
        self.host.backlog.disk_short = self._disk.short
        if changed and self._disk.short:
            log_event.error("the disk is nearly full; edits are refused", disk=self._disk.words)
        elif changed:
            log_event.info("the disk has room again; edits are taken", disk=self._disk.words)

    async def _stay_on_map(self) -> None:
        """Who holds the slot's lease is the slot: an eviction, or an entry of a process before us, is put right."""
        if not self._is_on_map():
            await self._watcher.refresh()
            if not self._is_on_map():
                await self._join()

    def _is_on_map(self) -> bool:
        entry = self._watcher.ring.map.hosts.get(self.settings.name)
        return entry is not None and (entry.address, entry.instance) == (self.address, self.instance)

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
        """Named phases: flush, leave the map, hand off, close. The next owners flush what the hand-off commits."""
        log_event.info("stopping", host=self.settings.name, phase="flush")
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        renewing = asyncio.get_running_loop().create_task(self._renew_only())
        try:
            await self._hand_off()
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
        with contextlib.suppress(Unavailable):
            await self._lease.drop()
        await self._close_port()
        await self._services.aclose()
        log_event.info("stopped", host=self.settings.name, pid=os.getpid())

    async def _hand_off(self) -> None:
        await self._upkeep.flush_all()
        log_event.info("stopping", host=self.settings.name, phase="leave")
        with contextlib.suppress(Unavailable):
            await change_map(self.map_store, self._without_us)
        log_event.info("stopping", host=self.settings.name, phase="hand off", sections=len(self.host.sections))
        await self.host.stop()

    async def _close_port(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await asyncio.gather(*(socket.close() for socket in list(self._links)), return_exceptions=True)
        if self._runner:
            await self._runner.cleanup()


async def serve_host(settings: HostSettings) -> RunningHost:
    """Start a host and put it on the map. Raises Unavailable, Evicted and ConfigurationError."""
    async with contextlib.AsyncExitStack() as services:
        store = await PostgresStore.connect(settings.postgres_url)
        services.push_async_callback(store.aclose)
        log = RedisLog.connect(settings.redis_url, replicas=settings.replicas)
        services.push_async_callback(log.aclose)
        redis = shared_client(settings.redis_url)
        services.push_async_callback(redis.aclose)
        bus = await services.enter_async_context(RedisBus(settings.redis_url))
        clock = Clock(lambda: time.time_ns() // 1_000_000, random.random, lambda: secrets.token_hex(8))
        running = RunningHost(settings, RedisMapStore(redis), bus, log, store, clock)
        await running.start()
        running.keep(services.pop_all())
        return running
