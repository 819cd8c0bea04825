"""The asyncio client for scripts, bots, tests and load tests: `coscribe.session` under an aiohttp WebSocket.

async with aiohttp.ClientSession() as http:
    async with DocumentClient(http, "http://127.0.0.1:8080", "notes", token=token) as document:
        await document.joined()
        document.edit(Delta.replace(0, 0, "Hello"))
        await document.settled()  # durable
"""

import asyncio
import contextlib
import random
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

import aiohttp
import msgspec

from coscribe import session as core
from coscribe.ot import Delta
from coscribe.protocol import SUBPROTOCOLS, CloseCode, Move, object_bytes
from coscribe.session import Event, Forked, Session

BACKOFF_BASE_S: Final = 0.25
BACKOFF_CAP_S: Final = 15.0
CONNECT_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 1.0
PARKED_MOST: Final = 1_000
_ABNORMAL: Final = 1006
FRAME_BYTES: Final = 64 * 1024 * 1024  # a snapshot of the largest document is one frame

_STOPS: Final = frozenset(
    {CloseCode.NORMAL, CloseCode.BAD_MESSAGE, CloseCode.UNAUTHENTICATED, CloseCode.FORBIDDEN, CloseCode.NOT_FOUND,
     CloseCode.DELETED, CloseCode.FORK, CloseCode.FRAME_TOO_LARGE}
)  # fmt: skip


class Closed(Exception):
    """The server closed for good: `code` is a close code of docs/protocol.md."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with {code}: {reason}" if reason else f"closed with {code}")
        self.code, self.reason = code, reason


class OperationRefused(Exception):
    """The server refused an edit for good and it was undone here; `parked` has the code, the words and the delta."""

    def __init__(self, parked: core.Parked) -> None:
        super().__init__(f"{parked.code.value}: {parked.message}")
        self.parked = parked


class _Reason(msgspec.Struct):
    retry_after_s: float = 0.0


def backoff_s(attempt: int, draw: float) -> float:
    """Full jitter: `draw`, uniform in 0…1, of the step for the `attempt`-th try, counted from 0."""
    step: float = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0 ** min(attempt, 16))
    return draw * step


def _asked_wait_s(reason: str) -> float:
    with contextlib.suppress(msgspec.DecodeError):
        return msgspec.json.decode(reason, type=_Reason).retry_after_s
    return 0.0


class DocumentClient:
    """One document, kept connected. `on_event` is called with each event, in order; it must not block.

    `urls` are the base addresses of routers; each attempt takes the next. Raises from the waiting methods: `Closed`
    when the server will not have us, `Forked` when its history is not ours, whatever `on_event` raised, TimeoutError.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        urls: str | Sequence[str],
        document: str,
        *,
        token: str | None = None,
        client_id: str | None = None,
        on_event: Callable[[Event], None] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.session = Session(client_id or secrets.token_urlsafe(12))
        self.document = document
        self.connects = 0
        self.failed: Exception | None = None
        self._http = http
        self._urls = [urls] if isinstance(urls, str) else list(urls)
        self._headers = dict(headers or {})
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._on_event = on_event
        self._cut = asyncio.Event()  # the present socket is to be given up
        self._wake = asyncio.Event()  # something to send, or a new time to look at
        self._changed: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None
        self._attempt = 0
        self._parked: deque[core.Parked] = deque(maxlen=PARKED_MOST)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name=f"document {self.document}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Leave. What is not acknowledged by then may or may not be in the document."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    # --- The document ---

    @property
    def content(self) -> Delta:
        return self.session.content()

    @property
    def text(self) -> str:
        return self.session.content().text()

    def edit(self, delta: Delta) -> None:
        """Change the document as it stands here; it is sent at once. Raises InvalidDelta and changes nothing; or what
        ended this client, for then nobody would ever read it."""
        if self.failed:
            raise self.failed
        self._emit(self.session.edit(delta, time.monotonic()))
        self._wake.set()

    def presence(self, state: object, section: str = "0") -> None:
        """Tell the others where we are: any small JSON object, or None to leave."""
        self.session.presence(section, object_bytes(state))
        self._wake.set()

    async def joined(self, timeout: float = 30) -> None:
        """Wait until the document is here."""
        await self.wait_for(lambda: self.session.joined, timeout)

    async def settled(self, timeout: float = 60) -> None:
        """Wait until everything typed here is durable. Raises OperationRefused, once for each edit that was refused."""
        await self.wait_for(lambda: self.session.settled, timeout)
        if self._parked:
            raise OperationRefused(self._parked.popleft())

    async def wait_for(self, reached: Callable[[], bool], timeout: float = 60) -> None:
        """Wait until a condition holds, which is looked at after every event."""
        async with asyncio.timeout(timeout):
            while not reached():
                if self.failed:
                    raise self.failed
                future = asyncio.get_running_loop().create_future()
                self._changed.append(future)
                await future

    def drop(self) -> None:
        """Cut the socket as a bad network would; the client connects anew."""
        self._cut.set()

    # --- The connection ---

    async def _run(self) -> None:
        try:
            while True:
                wait_s = await self._connection(self._urls[self.connects % len(self._urls)])
                draw = random.random()
                await asyncio.sleep(max(wait_s * (1 + draw / 2), backoff_s(self._attempt, draw)))
                self._attempt += 1
        except Exception as error:  # whatever ends this task, an event's receiver included: who waits hears of it
            self.failed = error
            self._emit([])

    async def _connection(self, base: str) -> float:
        """One socket from open to close; returns how long the server asks to wait. Raises Closed for good."""
        self.connects += 1
        url = f"{base}/v1/documents/{self.document}/socket"
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                socket = await self._http.ws_connect(
                    url, protocols=list(SUBPROTOCOLS), headers=self._headers, max_msg_size=FRAME_BYTES, compress=0
                )
        except (aiohttp.ClientError, OSError, TimeoutError):
            return 0.0
        self._cut.clear()
        self.session.connected(time.monotonic())
        self._wake.set()
        try:
            code, reason = await self._converse(socket)
        finally:
            self.session.disconnected()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0 if self._cut.is_set() else CLOSE_TIMEOUT_S):
                    await socket.close()
        if code in _STOPS:
            raise Forked("the server has another history") if code == CloseCode.FORK else Closed(code, reason)
        return _asked_wait_s(reason)

    async def _converse(self, socket: aiohttp.ClientWebSocketResponse) -> tuple[int, str]:
        """Read and write until either ends or the socket is given up; returns the close code and reason, 1006 for a
        broken connection."""
        reader = asyncio.create_task(self._read(socket))
        tasks = (reader, asyncio.create_task(self._write(socket)), asyncio.create_task(self._cut.wait()))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException) and not isinstance(
                end, (aiohttp.ClientError, OSError, asyncio.CancelledError)
            ):
                raise end
        return ends[0] if isinstance(ends[0], tuple) else (_ABNORMAL, "")

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> tuple[int, str]:
        while True:
            message = await socket.receive()
            if message.type is aiohttp.WSMsgType.TEXT:
                self._emit(self.session.receive(message.data, time.monotonic()))
                self._wake.set()
            elif message.type is aiohttp.WSMsgType.CLOSE:
                return message.data, message.extra or ""
            elif message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.ERROR):
                return socket.close_code or _ABNORMAL, ""

    async def _write(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Send what the session has to say and wake it when something is due."""
        while True:
            self._wake.clear()
            for frame in self.session.outgoing(time.monotonic()):
                await socket.send_str(frame.decode())
            wait_s = max(0.0, self.session.next_due() - time.monotonic())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            self._emit(self.session.tick(time.monotonic()))

    def _emit(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, core.Synced):
                self._attempt = 0
            elif isinstance(event, core.Parked):
                self._parked.append(event)
            elif isinstance(event, core.Silent) or (isinstance(event, core.Told) and isinstance(event.message, Move)):
                self.drop()
            if self._on_event:
                self._on_event(event)
        waiting, self._changed = self._changed, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
