"""The router's ports in memory: pub/sub that behaves as persistence.bus does, the roster, the cluster map."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

from cluster.cluster_map import ClusterMap, encode_map
from persistence import keys
from persistence.records import Interrupted, Published, Unavailable

SUBSCRIBE_TIMEOUT_S = 5.0
LATENCY = 3  # turns of the loop until the server has taken an order


class MemoryBus:
    """`held`: the server answers nothing until `release`. `deaf`: it loses every message in silence."""

    def __init__(self) -> None:
        self.held = self.deaf = self.refusing = False
        self.orders: list[tuple[bool, str]] = []
        self.server: dict[str, None] = {}  # the channels whose messages come
        self._published: Published = lambda channel, message: None
        self._interrupted: Interrupted = lambda channel: None
        self._queue: deque[tuple[bool, str]] = deque()
        self._wanted: dict[str, None] = {}
        self._confirmed: dict[str, None] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    def listen(self, published: Published, interrupted: Interrupted) -> None:
        self._published, self._interrupted = published, interrupted

    async def subscribe(self, channel: str) -> None:
        if self.refusing:
            raise Unavailable("the bus is closed")
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(channel, []).append(confirmed)
        self._wanted[channel] = None
        self._order(True, channel)
        try:
            async with asyncio.timeout(SUBSCRIBE_TIMEOUT_S):
                await confirmed
        except TimeoutError:
            raise Unavailable(f"no confirmation of {channel}") from None
        finally:
            waiting = self._waiting[channel]
            waiting.remove(confirmed)
            if not waiting and channel not in self._confirmed and channel in self._wanted:
                self._forget(channel)

    async def unsubscribe(self, channel: str) -> None:
        self._forget(channel)
        for confirmed in self._waiting.get(channel, ()):
            if not confirmed.done():
                confirmed.set_exception(Unavailable(f"{channel} was unsubscribed"))

    def _forget(self, channel: str) -> None:
        self._wanted.pop(channel, None)
        self._confirmed.pop(channel, None)
        self._order(False, channel)

    async def publish(self, channel: str, message: bytes) -> None:
        self.push(channel, message)

    def push(self, channel: str, message: bytes) -> None:
        """A message at the server."""
        if channel in self.server and not self.deaf:
            asyncio.get_running_loop().call_soon(self._published, channel, message)

    def release(self) -> None:
        self.held = False
        asyncio.get_running_loop().call_soon(self._serve)

    def interrupt(self) -> None:
        """The connection broke and is there again: every channel is confirmed a second time."""
        for channel in list(self._confirmed):
            self._interrupted(channel)

    def _order(self, subscribe: bool, channel: str) -> None:
        self.orders.append((subscribe, channel))
        self._queue.append((subscribe, channel))
        self._serve(LATENCY)

    def _serve(self, later: int = 0) -> None:
        if later:
            asyncio.get_running_loop().call_soon(self._serve, later - 1)
            return
        while self._queue and not self.held:
            subscribe, channel = self._queue.popleft()
            if not subscribe:
                self.server.pop(channel, None)
                continue
            self.server[channel] = None
            if channel not in self._wanted:
                continue
            if channel in self._confirmed:
                self._interrupted(channel)
            self._confirmed[channel] = None
            for confirmed in self._waiting.get(channel, ()):
                if not confirmed.done():
                    confirmed.set_result(None)


class MemoryRoster:
    """`gate` is awaited before each write, so that a test can hold one up; `refusing` makes all fail."""

    def __init__(self, bus: MemoryBus) -> None:
        self.refusing = False
        self.gate: asyncio.Event | None = None
        self.writes: list[tuple[str, bytes | None]] = []
        self.reads = 0
        self.owners: dict[tuple[str, str], str] = {}
        self._bus = bus
        self._states: dict[tuple[str, str], dict[str, tuple[bytes, float]]] = {}

    def _present(self, document: str, incarnation: str) -> dict[str, tuple[bytes, float]]:
        return self._states.setdefault((document, incarnation), {})

    async def _ready(self) -> None:
        await asyncio.sleep(0)
        if self.gate is not None:
            await self.gate.wait()
        if self.refusing:
            raise Unavailable("no Redis")

    async def set(
        self, document: str, incarnation: str, client: str, encoded: bytes | None, ttl_ms: int, message: bytes
    ) -> Sequence[str]:
        await self._ready()
        self.writes.append((client, encoded))
        present, now = self._present(document, incarnation), asyncio.get_running_loop().time()
        gone = [other for other, (_, ends) in present.items() if ends <= now]
        for other in gone:
            del present[other]
        if encoded is None:
            present.pop(client, None)
        else:
            present[client] = (encoded, now + ttl_ms / 1000)
        self._bus.push(keys.presence(document, incarnation), message)
        return gone

    async def keep(self, document: str, incarnation: str, clients: Sequence[str], ttl_ms: int) -> Sequence[str]:
        await self._ready()
        present, ends = self._present(document, incarnation), asyncio.get_running_loop().time() + ttl_ms / 1000
        for client in clients:
            if client in present:
                present[client] = (present[client][0], ends)
        return [client for client in clients if client not in present]

    async def all(self, document: str, incarnation: str) -> dict[str, bytes]:
        await self._ready()
        self.reads += 1
        now = asyncio.get_running_loop().time()
        present = self._present(document, incarnation)
        return {client: encoded for client, (encoded, ends) in present.items() if ends > now}

    def forget(self) -> None:
        """As a Redis does that lost its memory."""
        self._states.clear()

    async def claim_client(self, document: str, incarnation: str, client_id: str, user: str) -> str:
        await self._ready()
        return self.owners.setdefault((document, client_id), user)


class MemoryMapStore:
    """Implements records.MapStore as far as a router reads it."""

    def __init__(self) -> None:
        self.map = ClusterMap()
        self.reads = 0
        self.refusing = False

    async def read(self) -> bytes | None:
        await asyncio.sleep(0)
        self.reads += 1
        if self.refusing:
            raise Unavailable("no Redis")
        return encode_map(self.map)

    async def write(self, view: int, encoded: bytes) -> bool:
        raise NotImplementedError

    async def renew_lease(self, host: str, instance: str, ttl_ms: int) -> bool:
        raise NotImplementedError

    async def drop_lease(self, host: str, instance: str) -> None:
        raise NotImplementedError

    async def leases(self, hosts: Sequence[str]) -> Sequence[str | None]:
        raise NotImplementedError


class MemoryRouters:
    """Implements records.RouterStore. `held`: it answers nothing until it is not."""

    def __init__(self) -> None:
        self.said: dict[str, bytes] = {}
        self.refusing = self.held = False
        self.calls = 0

    async def say(self, router: str, encoded: bytes | None, ttl_ms: int) -> Mapping[str, bytes]:
        await asyncio.sleep(0)
        self.calls += 1
        if self.held:
            await asyncio.Event().wait()
        if self.refusing:
            raise Unavailable("no Redis")
        if encoded is None:
            self.said.pop(router, None)
        else:
            self.said[router] = encoded
        return dict(self.said)
