"""One run: people type, a fault comes, they go on typing, everything is settled and audited."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from benchmarks.failover.audit import audit
from benchmarks.failover.crowd import BEAT_S, Crowd
from benchmarks.failover.faults import FAULTS, LONG, MINUTES, ON_WIRES, Site
from benchmarks.failover.wire import Wire
from cluster.postgres import postgres_url
from cluster.valkey import valkey_url
from coscribe.ot import Delta
from persistence.map_store import RedisMapStore
from persistence.reader import RedisLogReader
from persistence.redis_client import shared_client
from persistence.store import PostgresStore
from tests.support.system import System

DOCUMENTS: Final = 3
TEXT_UNITS: Final = 100_000
QUIET_S: Final = 1.5  # typing before and after a fault
SLOW_BEAT_S: Final = 0.1  # where a fault takes minutes


@dataclass(frozen=True, slots=True)
class Run:
    """One fault, once. `pause_s` is the longest wait of a metronome whose document the fault concerns."""

    fault: str
    acked_lost: int
    doubled: int
    diverged: int
    operations: int
    pause_s: float
    sockets_closed: int


class Bench:
    def __init__(
        self, site: Site, http: aiohttp.ClientSession, store: PostgresStore, log: RedisLogReader, wire_url: str
    ) -> None:
        self._site, self._http, self._store, self._log, self._wire_url = site, http, store, log, wire_url

    async def run(self, fault: str, number: int) -> Run:
        system = self._site.system
        await self._site.whole()
        documents = [f"{fault}-{number}-{time.time_ns()}-{index}" for index in range(DOCUMENTS)]
        tokens = [await asyncio.to_thread(system.guest, name) for name in ("ann", "bob", "cy")]
        url = self._wire_url if fault in ON_WIRES else system.url
        beat_s = SLOW_BEAT_S if fault in LONG else BEAT_S
        crowd = Crowd(self._http, [url], tokens, seed=number, beat_s=beat_s)
        try:
            await crowd.join(documents)
            crowd.typists[0].client.edit(Delta.replace(0, 0, "lorem ipsum " * (TEXT_UNITS // 12)))
            await asyncio.sleep(QUIET_S)
            victim = await self._site.owner(documents[0])
            concerned = [
                typist
                for typist in crowd.metronomes()
                if fault not in ("host", "stalled_host", "handoff")
                or (await self._site.owner(typist.client.document) == victim and fault != "handoff")
                or typist.client.document == documents[0]
            ]
            connects = sum(typist.client.connects for typist in crowd.typists)
            started = time.perf_counter()
            await {**FAULTS, **LONG}[fault](self._site, documents[0])
            ended = time.perf_counter()
            await asyncio.sleep(QUIET_S)
            await self._site.whole()
            await asyncio.sleep(QUIET_S)
            await crowd.settle()
            verdicts = [
                await audit(
                    document,
                    [typist for typist in crowd.typists if typist.client.document == document],
                    self._store,
                    self._log,
                )
                for document in documents
            ]
            return Run(
                fault,
                sum(verdict.acked_lost for verdict in verdicts),
                sum(verdict.doubled for verdict in verdicts),
                sum(verdict.diverged for verdict in verdicts),
                sum(len(typist.acked) for typist in crowd.typists),
                max(typist.pause_s(started, ended) for typist in concerned),
                sum(typist.client.connects for typist in crowd.typists) - connects,
            )
        finally:
            await crowd.leave()


@contextlib.asynccontextmanager
async def bench_of(system: System, minutes: float = MINUTES) -> AsyncIterator[Bench]:
    """A running system with its own Redis and Postgres, two hosts and two routers."""
    runtime = Path(system.state()["runtime"])
    client = shared_client(valkey_url(system.data, runtime))
    store = await PostgresStore.connect(postgres_url(system.data, runtime))
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
            Wire(lambda: asyncio.open_connection("127.0.0.1", system.port)) as clients,
        ):
            wire_url = f"http://127.0.0.1:{await clients.listen_tcp()}"
            site = Site(system, RedisMapStore(client), clients, minutes)
            yield Bench(site, http, store, RedisLogReader(client), wire_url)
    finally:
        await store.aclose()
        await client.aclose()
