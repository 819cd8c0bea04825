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
from typing import Final, NamedTuple, Self

import aiohttp

from coscribe import session as core
from coscribe.ot import Delta
from coscribe.policy import STOPS, STOPS_BESIDE, Closed, End, move_wait_s, retry_wait_s
from coscribe.protocol import Move, object_bytes
from coscribe.session import Event, Forked, Session
from coscribe.sockets import ABNORMAL, Socket, Sockets, greet, receive

__all__ = ["Closed", "DocumentClient", "Forked", "OperationRefused"]

CLOSE_TIMEOUT_S: Final = 1.0
PARKED_MOST: Final = 1_000


class OperationRefused(Exception):
    """The server refused an edit for good and it was undone here; `parked` has the code, the words and the delta."""

    def __init__(self, parked: core.Parked) -> None:
        super().__init__(f"{parked.code.value}: {parked.message}")
        self.parked = parked


class _Elsewhere(NamedTuple):
    """Another socket to go on with, and the frame that welcomed there."""

    socket: Socket
    welcome: str


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
        self.failed: Exception | None = None
        tokens = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._sockets = Sockets(
            http, [urls] if isinstance(urls, str) else list(urls), document, {**(headers or {}), **tokens}
        )
        self._on_event = on_event
        self._cut = asyncio.Event()  # the present socket is to be given up
        self._told_to_move = asyncio.Event()  # until it is done, or the time for it is over
        self._move_within_s = 0.0
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

    @property
    def connects(self) -> int:
        """How often a socket was tried to open."""
        return self._sockets.tries

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
        """Wait until the document is here. What was written a moment ago may come behind it."""
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
                asked_s = await self._connection()
                await asyncio.sleep(retry_wait_s(asked_s, self._attempt, random.random()))
                self._attempt += 1
        except Exception as error:  # whatever ends this task, an event's receiver included: who waits hears of it
            self.failed = error
            self._emit([])

    async def _connection(self) -> float:
        """From one socket's opening to a close, over as many more as the server asks to move to; returns how long it
        asks to wait. Raises Closed for good."""
        socket = await self._sockets.open()
        if socket is None:
            return 0.0
        self.session.connected(time.monotonic())
        left: Socket | None = None
        try:
            self._told_to_move.clear()
            while isinstance(end := await self._converse(socket, left), _Elsewhere):
                left, socket = socket, end.socket
                self._told_to_move.clear()
                self._emit(self.session.switched(end.welcome, time.monotonic()))
        finally:
            self.session.disconnected()
            await self._sockets.leave_all(self._patience_s)
        end.check(STOPS)
        return end.asked_wait_s

    async def _leave(self, socket: Socket) -> None:
        await self._sockets.leave(socket, self._patience_s)

    @property
    def _patience_s(self) -> float:
        """For a goodbye: none on a socket that was given up."""
        return 0.0 if self._cut.is_set() else CLOSE_TIMEOUT_S

    async def _converse(self, socket: Socket, left: Socket | None) -> End | _Elsewhere:
        """Read and write until either ends, the socket is given up, or there is another one to go on with. `left` is
        the one before this: the writer, started first, has said here what was said there when that is closed."""
        self._cut.clear()
        self._wake.set()
        reader, writer = asyncio.create_task(self._read(socket)), asyncio.create_task(self._write(socket))
        mover, given_up = asyncio.create_task(self._move()), asyncio.create_task(self._cut.wait())
        tasks: list[asyncio.Task[object]] = [mover, reader, writer, given_up]
        leaving = [asyncio.create_task(self._leave(left))] if left else []
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*tasks, *leaving):
                task.cancel()
            ends = await asyncio.gather(*tasks, *leaving, return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException) and not isinstance(
                end, (aiohttp.ClientError, OSError, asyncio.CancelledError)
            ):
                raise end
        return next((end for end in ends[:2] if isinstance(end, (_Elsewhere, End))), End(ABNORMAL, ""))

    async def _read(self, socket: Socket) -> End:
        while not isinstance(frame := await receive(socket), End):
            self._emit(self.session.receive(frame, time.monotonic()))
            self._wake.set()
        return frame

    async def _write(self, socket: Socket) -> None:
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

    # --- Make before break ---

    async def _move(self) -> _Elsewhere:
        """Each time the server asks for it, try to make a second connection beside this one; return once that worked.
        When the time for it is over this one serves until the server closes it."""
        while True:
            await self._told_to_move.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._move_within_s):
                    return await self._welcomed_elsewhere(self._move_within_s)
            self._told_to_move.clear()

    async def _welcomed_elsewhere(self, within_s: float) -> _Elsewhere:
        attempt, wait_s = 0, move_wait_s(within_s, random.random())
        while True:
            await asyncio.sleep(wait_s)
            answer = await self._greet_beside() if self.session.movable else End(ABNORMAL, "")
            if isinstance(answer, _Elsewhere):
                return answer
            answer.check(STOPS_BESIDE)
            wait_s = retry_wait_s(answer.asked_wait_s, attempt, random.random())
            attempt += 1

    async def _greet_beside(self) -> _Elsewhere | End:
        socket = await self._sockets.open()
        if socket is None:
            return End(ABNORMAL, "")
        answer: str | End = End(ABNORMAL, "")
        try:
            answer = await greet(socket, self.session.hello_beside())
        finally:
            if isinstance(answer, End):
                await self._leave(socket)
        return answer if isinstance(answer, End) else _Elsewhere(socket, answer)

    # --- What the session tells ---

    def _emit(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case core.Synced():
                    self._attempt = 0
                case core.Parked():
                    self._parked.append(event)
                case core.Silent():
                    self.drop()
                case core.Told(message=Move(within_s=within_s)) if not self._told_to_move.is_set():
                    self._move_within_s = within_s
                    self._told_to_move.set()
            if self._on_event:
                self._on_event(event)
        waiting, self._changed = self._changed, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
