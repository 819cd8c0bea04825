"""One real Router between ports in memory, and tabs: clients whose sockets are a list of what was said."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from cluster.cluster_map import ClusterMap, HostEntry
from cluster.watcher import MapWatcher
from coscribe.names import SectionKey
from coscribe.protocol import CloseCode, Role, WireLimits
from persistence import keys
from persistence.records import Document
from router.auth import Identity
from router.connection import Connection
from router.room import Room
from router.router import Clock, Router, RouterSettings
from tests.router.owner import MemoryHost, MemoryReader, SectionLog
from tests.router.ports import MemoryBus, MemoryMapStore, MemoryRoster

LIMITS = WireLimits(frame_bytes=4096, op_bytes=256, presence_bytes=128, ops_per_s=50)
LONG_AGO_S = 1_000_000.0  # Unix time when the loop's time is 0
KEY = SectionKey("notes", "life1", "0")
CHANNEL = keys.channel(KEY)
PRESENCE = keys.presence("notes", "life1")


async def settle() -> None:
    """Let everything happen that needs no time."""
    await asyncio.sleep(1e-6)


class Tab:
    """A client's end. `heard` is every message that its socket was given, `reading` whether it takes any more."""

    def __init__(self, bench: "Bench", document: Document, identity: Identity) -> None:
        self.heard: list[Any] = []
        self.frames = 0
        self.reading = True
        self.left = False
        self.connection: Connection = bench.router.accept(document, identity, self._wake)

    def _wake(self) -> None:
        asyncio.get_running_loop().call_soon(self.read)

    def read(self) -> None:
        while self.reading and not self.left and (frame := self.connection.frame()):
            self.frames += 1
            self.heard += json.loads(frame)

    def say(self, t: str, **fields: Any) -> None:
        self.connection.receive(json.dumps({"t": t, **fields}))

    def say_text(self, frame: str) -> None:
        self.connection.receive(frame)

    def op(self, cseq: int, base: int = 0, delta: Any = ("x",), s: str = "0") -> None:
        self.say("op", s=s, base=base, cseq=cseq, delta=list(delta))

    def all(self, t: str | None) -> list[Any]:
        """What was heard of a type; None: entries."""
        return [message for message in self.heard if message.get("t") == t]

    def take(self, t: str | None) -> list[Any]:
        """The same, forgetting everything heard so far."""
        found = self.all(t)
        self.heard.clear()
        return found

    @property
    def kinds(self) -> list[str | None]:
        return [message.get("t") for message in self.heard]

    @property
    def revisions(self) -> list[int]:
        """Of every entry that was sent, in order."""
        return [
            message["rev"] + number for message in self.all(None) for number in range(len(message["e"]))
        ]  # fmt: skip

    @property
    def code(self) -> CloseCode | None:
        return self.connection.closing[0] if self.connection.closing else None

    @property
    def reason(self) -> str:
        assert self.connection.closing is not None
        return self.connection.closing[1]

    async def leave(self) -> None:
        self.left = True
        await self.connection.leave()


class Bench:
    def __init__(self, settings: RouterSettings) -> None:
        loop = asyncio.get_running_loop()
        self.bus = MemoryBus()
        self.reader = MemoryReader()
        self.roster = MemoryRoster(self.bus)
        self.map_store = MemoryMapStore()
        self.map_store.map = ClusterMap(1, {"host-0": HostEntry("host:1", "a")})
        self.host = MemoryHost(self.reader, self.bus)
        self.tickets: dict[str, Identity] = {}
        self.document = Document("notes", "life1", "default", "ann", 0)
        self.router = Router(
            settings, MapWatcher(self.map_store), self.bus, self.reader, self.roster, self.host.connect, self._redeem,
            Clock(loop.time, self.unix_time, lambda: 0.0),
        )  # fmt: skip
        self.running = loop.create_task(self.router.run())
        self.log: SectionLog = self.reader.log(KEY)
        self.tabs: list[Tab] = []

    def unix_time(self) -> float:
        return LONG_AGO_S + asyncio.get_running_loop().time()

    async def _redeem(self, ticket: str, document: str) -> Identity | None:
        await asyncio.sleep(0)
        return self.tickets.pop(ticket, None)

    @property
    def room(self) -> Room:
        return self.router.rooms[CHANNEL]

    def connect(
        self, user: str = "ann", role: Role = "writer", expires: int | None = None, document: str = "notes"
    ) -> Tab:
        """A socket that has said nothing yet."""
        tab = Tab(self, replace(self.document, id=document), Identity(user, user.title(), role, expires))
        self.tabs.append(tab)
        return tab

    def hello(self, client: str, resume: tuple[int, int] | None = None, **given: Any) -> Tab:
        tab = self.connect(**given)
        fields: dict[str, Any] = {"v": 1, "client": client}
        if resume is not None:
            fields["resume"] = {"incarnation": "life1", "sections": {"0": list(resume)}}
        tab.say("hello", **fields)
        return tab

    async def join(self, client: str = "client-1", resume: tuple[int, int] | None = None, **given: Any) -> Tab:
        """A tab that is level with its room."""
        tab = self.hello(client, resume, **given)
        await settle()
        return tab

    async def publish(self, first: int, last: int | None = None) -> None:
        self.bus.push(CHANNEL, self.log.batch(first, last or first))
        await settle()

    async def happen(self, count: int = 1) -> None:
        """So many entries of somebody elsewhere, each published."""
        for _ in range(count):
            self.log.append()
            await self.publish(self.log.head)


@contextlib.asynccontextmanager
async def bench(**given: Any) -> AsyncIterator[Bench]:
    """`given` replaces fields of RouterSettings."""
    made = Bench(RouterSettings(**{"limits": LIMITS, "heartbeat_s": 20.0, **given}))
    await settle()
    try:
        yield made
        assert not made.running.done(), "the router must go on, whatever happens"
    finally:
        for tab in made.tabs:
            await tab.leave()
        await made.router.stop()
        made.running.cancel()
        await asyncio.gather(made.running, return_exceptions=True)
