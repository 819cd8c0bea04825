"""A client that keeps itself connected, as docs/protocol.md tells clients to: full jitter, and what the server asks."""

import asyncio
import contextlib
import random
import secrets
import time
from dataclasses import dataclass, field
from typing import Final

import msgspec

from benchmarks.router.tally import Tally
from benchmarks.router.websocket import ABNORMAL, WebSocket
from coscribe.policy import CONNECT_TIMEOUT_S, retry_wait_s
from coscribe.protocol import CloseCode

COMES_BACK: Final = frozenset(
    {ABNORMAL, CloseCode.GOING_AWAY, CloseCode.RESTART, CloseCode.OVERLOAD, CloseCode.TOO_MANY_MESSAGES,
     CloseCode.SLOW_CONSUMER}
)  # fmt: skip
PING: Final = b'{"t":"ping"}'
ID_BYTES: Final = 9  # 12 characters, as the clients of the product have


class _Reason(msgspec.Struct):
    retry_after_s: float = 0.0


@dataclass(slots=True)
class Network:
    """Where the router is, whose token clients show, and what they count together."""

    host: str
    port: int
    token: str
    tally: Tally
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class Connected:
    """`level` once everything that the server had when it came, or came back, is read."""

    def __init__(self, network: Network, document: str, rng: random.Random) -> None:
        self.id = secrets.token_urlsafe(ID_BYTES)
        self.document = document
        self.level = False
        self.failed: str | None = None
        self.level_at = self.heard_at = self.sent_at = self._pinged_at = 0.0
        self.network, self.tally, self.rng = network, network.tally, rng
        self._loop = asyncio.get_running_loop()
        self._now = time.monotonic  # uvloop's own clock stands still during a turn and counts milliseconds
        self._socket: WebSocket | None = None
        self._attempt = 0
        self._left = False

    # --- What a kind of client does ---

    def greet(self) -> None:
        """The socket is open: say hello."""
        raise NotImplementedError

    def lost(self) -> None:
        """The socket is gone."""

    def read(self, frame: bytes) -> None:
        raise NotImplementedError

    # --- The connection ---

    def start(self) -> None:
        self.heard_at = self._now()
        task = asyncio.get_running_loop().create_task(self._connect())
        self.network.tasks.add(task)
        task.add_done_callback(self.network.tasks.discard)

    def leave(self) -> None:
        self._left = True
        if self._socket is not None:
            self._socket.close()

    def cut(self) -> None:
        """As a bad network would."""
        if self._socket is not None:
            self._socket.abort()

    def send(self, message: bytes) -> None:
        if self._socket is not None:
            self.sent_at = self._now()
            self._socket.send(message)

    def socket(self) -> WebSocket:
        network = self.network
        path = f"/v1/documents/{self.document}/socket"
        return WebSocket(self, self.tally.came, path, f"{network.host}:{network.port}", network.token)

    async def open(self) -> WebSocket:
        """Connect; the upgrade may still be refused. Raises OSError."""
        loop = asyncio.get_running_loop()
        _, socket = await loop.create_connection(self.socket, self.network.host, self.network.port)
        return socket

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                self._socket = await self.open()
        except (OSError, TimeoutError):
            self._again(0.0)

    def _again(self, asked_s: float) -> None:
        if self._left:
            return
        wait_s = retry_wait_s(asked_s, self._attempt, self.rng.random())
        self._attempt += 1
        asyncio.get_running_loop().call_later(wait_s, self.start)

    def tick(self, now: float, heartbeat_s: float) -> None:
        """Twice a second: pings, and cuts a connection that has been silent for too long."""
        if self._socket is None:
            return
        if now - self.heard_at > 2 * heartbeat_s:
            self.cut()
        elif now - min(self.sent_at, self.heard_at) > heartbeat_s and now - self._pinged_at > heartbeat_s:
            self._pinged_at = now
            self.send(PING)

    def is_level(self) -> None:
        if not self.level:
            self.level, self.level_at, self._attempt = True, self._now(), 0

    # --- What the socket tells ---

    def opened(self, socket: WebSocket) -> None:
        self._socket = socket
        self.tally.connects += 1
        self.heard_at = self._now()
        self.greet()

    def receive(self, frame: bytes) -> None:
        self.heard_at = self._now()
        self.tally.frames_in += 1
        self.read(frame)

    def closed(self, code: int, reason: bytes) -> None:
        self._socket, self.level = None, False
        self.lost()
        if self._left:
            return
        self.tally.closes[code] += 1
        if code not in COMES_BACK:
            self.failed = f"closed with {code}: {reason.decode(errors='replace')}"
            return
        asked_s = 0.0
        with contextlib.suppress(msgspec.DecodeError):
            asked_s = msgspec.json.decode(reason, type=_Reason).retry_after_s
        self._again(asked_s)
