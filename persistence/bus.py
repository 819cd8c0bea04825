"""Pub/sub over one connection of its own.

A task keeps the connection: it reads, and connects again for ever. Another writes, so no caller can break off in the
middle of a command. redis-py's own PubSub is not used: it connects again behind one's back, in whichever task comes
first, and what was lost meanwhile shows nowhere.

A channel that is confirmed a second time was interrupted: messages may have been lost, and the receiver is told.
"""

import asyncio
from collections import deque
from typing import Any, Final

import structlog
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection

from persistence.records import Interrupted, Published, Unavailable
from persistence.redis_client import TIMEOUT_S, connection_of, execute, passes, shared_client

PING_S: Final = 5.0
SILENCE_S: Final = 15.0  # a server that does not even answer pings is gone
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.05, 2.0
COMMAND_CHANNELS: Final = 1_000  # in one SUBSCRIBE

log_event = structlog.get_logger("bus")


class RedisBus:
    """Implements records.Bus. Use it as `async with RedisBus(url) as bus`."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        self._publisher: Redis = shared_client(url, timeout_s)
        self._connection = connection_of(url, timeout_s)
        self._timeout_s = timeout_s
        self._published: Published = lambda channel, message: None
        self._interrupted: Interrupted = lambda channel: None
        self._wanted: set[str] = set()
        self._confirmed: set[str] = set()  # since it was wanted, on this connection or an earlier one
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._closed = False
        self._connected = False
        # What the writer has to send, True to subscribe. Only while connected: a new connection begins with all wanted.
        self._orders: deque[tuple[bool, str]] = deque()
        self._ordered = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "RedisBus":
        self._keeper = asyncio.create_task(self._keep(), name="bus")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def listen(self, published: Published, interrupted: Interrupted) -> None:
        self._published, self._interrupted = published, interrupted

    async def subscribe(self, channel: str) -> None:
        if self._keeper is None:
            raise Unavailable("the bus is closed")
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(channel, set()).add(confirmed)
        self._wanted.add(channel)
        self._order(True, channel)
        try:
            async with asyncio.timeout(self._timeout_s):
                await confirmed
        except TimeoutError:
            raise Unavailable(f"Redis: no confirmation of {channel}") from None
        finally:
            self._stop_waiting(channel, confirmed)

    def _stop_waiting(self, channel: str, confirmed: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(channel, set())
        waiting.discard(confirmed)
        if waiting:
            return
        self._waiting.pop(channel, None)
        if channel not in self._confirmed and channel in self._wanted:  # its caller knows nothing of a late success
            self._forget(channel)

    async def unsubscribe(self, channel: str) -> None:
        self._forget(channel)
        for confirmed in self._waiting.get(channel, set()):
            if not confirmed.done():
                confirmed.set_exception(Unavailable(f"{channel} was unsubscribed"))

    def _forget(self, channel: str) -> None:
        self._wanted.discard(channel)
        self._confirmed.discard(channel)
        self._order(False, channel)

    async def publish(self, channel: str, message: bytes) -> None:
        await execute(self._publisher, "PUBLISH", channel, message)

    async def aclose(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            self._closed = True
            keeper.cancel()
            await asyncio.wait({keeper})
        for channel, waiting in self._waiting.items():
            for confirmed in waiting:
                if not confirmed.done():
                    confirmed.set_exception(Unavailable(f"the bus is closed; {channel} was not confirmed"))
        await self._publisher.aclose()

    # --- The connection ---

    def _order(self, subscribe: bool, channel: str) -> None:
        if self._connected:
            self._orders.append((subscribe, channel))
            self._ordered.set()

    async def _keep(self) -> None:
        backoff_s = FIRST_BACKOFF_S
        # A task group whose child fails in the moment of our cancellation raises the failure: so the flag, too.
        while not self._closed:
            try:
                await self._connection.connect()  # type: ignore[no-untyped-call]
                backoff_s = FIRST_BACKOFF_S
                self._connected = True
                self._orders.extend((True, channel) for channel in sorted(self._wanted))
                self._ordered.set()
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._write(self._connection))
                    tasks.create_task(self._read(self._connection))
            except Exception as error:  # whatever it was, a new connection heals it, and receivers hear of the gap
                log = log_event.warning if _all_pass(error) else log_event.exception
                log("bus interrupted", error=str(_first(error)), channels=len(self._wanted))
            finally:
                self._connected = False
                self._orders.clear()
                await self._connection.disconnect(nowait=True)
            if not self._closed:
                await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)

    async def _write(self, connection: AbstractConnection) -> None:
        while True:
            try:
                async with asyncio.timeout(PING_S):
                    await self._ordered.wait()
            except TimeoutError:
                await connection.send_command("PING")
                continue
            self._ordered.clear()
            while self._orders:
                subscribe = self._orders[0][0]
                channels: list[str] = []
                while self._orders and self._orders[0][0] == subscribe and len(channels) < COMMAND_CHANNELS:
                    channels.append(self._orders.popleft()[1])
                await connection.send_command("SUBSCRIBE" if subscribe else "UNSUBSCRIBE", *channels)

    async def _read(self, connection: AbstractConnection) -> None:
        while True:
            # It stays open under the writer's hands: `_keep` closes it.
            reply = await connection.read_response(timeout=SILENCE_S, disconnect_on_error=False)
            if reply is None:
                raise ConnectionError(f"no answer for {SILENCE_S:.0f} s")
            self._take(reply)

    def _take(self, reply: Any) -> None:
        if not isinstance(reply, list):  # the PONG of a connection without subscriptions
            return
        kind, name = reply[0], reply[1].decode()
        if kind == b"message":
            self._published(name, reply[2])
        elif kind == b"subscribe" and name in self._wanted:
            if name in self._confirmed:
                self._interrupted(name)
            self._confirmed.add(name)
            for confirmed in self._waiting.get(name, set()):
                if not confirmed.done():
                    confirmed.set_result(None)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _all_pass(error: Exception) -> bool:
    if isinstance(error, ExceptionGroup):
        return all(isinstance(inner, Exception) and _all_pass(inner) for inner in error.exceptions)
    return passes(error)
