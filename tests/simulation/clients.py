"""People with an editor: the real Session under a small shell like `coscribe.client`, and an author who types.

The shell's editor is a document of its own, changed only by what the session's events say. It must always show what
the session says it shows.
"""

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

import msgspec

from coscribe.names import FIRST_SECTION, SectionKey
from coscribe.ot import Delta, compose_all
from coscribe.policy import CONNECT_TIMEOUT_S, backoff_s
from coscribe.protocol import BadMessage, CloseCode, NackCode, Role, object_bytes
from coscribe.session import Acknowledged, Changed, Event, Forked, Joined, Parked, Session, Silent, Synced
from tests.simulation.author import Author, Edit
from tests.simulation.loop import Process
from tests.simulation.network import ABNORMAL, Closed, End, Refused

if TYPE_CHECKING:
    from tests.simulation.world import World

RETRIED = frozenset((ABNORMAL, CloseCode.GOING_AWAY, CloseCode.RESTART, CloseCode.OVERLOAD, CloseCode.TOO_MANY_MESSAGES,
                     CloseCode.SLOW_CONSUMER))  # fmt: skip

LOOK_AFTER = 5  # changes of what an editor shows
TIMER_S = 0.001  # no real timer is finer; a rest of the last bit of a float would be waited for without time going on


class _Reason(msgspec.Struct):
    retry_after_s: float = 0.0


class Tab:
    """One editor session, from opening to closing. Its client id is never used again."""

    def __init__(self, world: "World", number: int, key: SectionKey, rng: random.Random) -> None:
        self.world, self.key, self.rng = world, key, rng
        self.name = f"tab-{number}"
        self.user = f"user-{number % 3}"
        self.role: Role = "reader" if number > 2 and rng.random() < 0.15 else "writer"
        self._lazy_s = rng.choice((0.0, 0.0, 0.0, 0.2, 1.0))  # how long it looks at a frame before it takes the next
        self._pace = rng.choice((1.0, 1.0, 4.0, 15.0))
        self.process = Process(world.loop, self.name)
        self.connects = rng.randrange(8)
        self.words = world.words(key.document)
        self._author = Author(rng, world.alphabet)
        self._sessions = 0
        self._begin()

    def _begin(self) -> None:
        """A session with nothing in it, under a client id of its own."""
        self._sessions += 1
        self.session = Session(f"{self.name}-session-{self._sessions}")
        self.editor: Delta | None = None
        self._spoilt = False  # an edit that must be refused is among what is not acknowledged
        self._shown: list[Delta] = []  # changes that the editor has not taken up yet
        self._checked: dict[str, tuple[int, int]] = {}  # where each section stood when it was last checked
        self._attempt = 0
        self._end: End | None = None
        self._wake = asyncio.Event()

    def open(self) -> None:
        self.process.start(self._run())
        self.process.start(self._type())

    def close(self) -> None:
        """Gone for good."""
        self._leave_behind()
        self.process.kill()
        self.world.network.drop_all(self.process, self.rng.choice((0.0, 0.5, 20.0)))

    def _leave_behind(self) -> None:
        """Whether what was under way was accepted, only the log can say."""
        for copy in self.session.chain():
            base = copy.content.delta()
            if copy.in_flight:
                self.words.left_behind(copy.in_flight.delta, base)
            self.words.left_behind(copy.pending, base)

    def _join_anew(self, why: str) -> None:
        """What it has read is void. What is typed and not acknowledged is its user's to type again, or not."""
        self.world.trace.add("fork", self.name, why)
        if not self.world.logs.history(self.key).went_back:
            self.world.fail(f"{self.name} was told of a fork, and the log has lost nothing: {why}")
        self._leave_behind()
        self._begin()

    @property
    def at_rest(self) -> bool:
        return self.session.joined and self.session.synced and self.session.settled

    @property
    def stands(self) -> tuple[int, int]:
        """Revision and epoch."""
        copy = self.session.chain()[0]
        return copy.revision, copy.epoch

    # --- Typing ---

    async def _type(self) -> None:
        while True:
            await asyncio.sleep(self._pace * self.rng.expovariate(1 / self.world.plan.edit_every_s))
            if self.session.joined and self.world.typing and self.role != "reader":
                self.edit(self._author.think(self.session.content()))
                if self.rng.random() < 0.1:
                    self.session.presence(FIRST_SECTION, object_bytes({"cursor": {"index": 0, "length": 0}}))

    def edit(self, edit: Edit) -> None:
        assert self.editor is not None
        self.words.typed(self.session.client_id, edit.typed, edit.deleted)
        self._spoilt |= edit.spoilt
        self.world.trace.add("edit", self.name, edit.delta)
        self._shown.append(edit.delta)
        self._take(self.session.edit(edit.delta, self._now()))
        self._check()
        self._wake.set()

    def _now(self) -> float:
        return self.world.loop.time()

    # --- What the session says ---

    def _take(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case Joined(content):
                    self.editor = content
                case Changed(delta):
                    self._shown.append(delta)
                case Acknowledged(section, cseq, revision):
                    key = self.key._replace(section=section)
                    self.world.logs.acknowledged(self.session.client_id, key, cseq, revision)
                case Parked():
                    self._parked(event)
                case Synced():
                    self._attempt = 0
                case Silent():
                    self._drop()
        self._spoilt &= not self.session.settled
        if events:
            self._check()

    def _parked(self, event: Parked) -> None:
        copy = next(copy for copy in self.session.chain() if copy.id == event.section)
        self.words.refused(self.session.client_id, event.delta, copy.content.delta())
        self.world.trace.add("parked", self.name, f"{event.cseq} {event.code} {event.delta}")
        void = event.code is NackCode.AHEAD and self.world.logs.history(self.key).went_back
        if not void and not (self._spoilt and event.code is NackCode.INVALID):
            self.world.fail(f"{self.name}: a good operation was refused: {event.code} {event.message}")

    def _check(self) -> None:
        """After something has changed."""
        for copy in self.session.chain():
            stands = copy.revision, copy.epoch
            if self._checked.get(copy.id) != stands:
                self._checked[copy.id] = stands
                key = self.key._replace(section=copy.id)
                self.world.logs.seen(self.name, key, *stands, copy.content.encode())
        if len(self._shown) >= LOOK_AFTER:
            self.look()

    def look(self) -> None:
        """Compare what the editor shows with what the session says."""
        if self.editor is None:
            return
        self.editor, self._shown = compose_all([self.editor, *self._shown]), []
        if self.editor != self.session.content():
            shown = f"{self.editor}, not {self.session.content()}"
            self.world.fail(f"{self.name}: the editor does not show what the session says: {shown}")

    # --- The connection ---

    async def _run(self) -> None:
        try:
            while True:
                wait_s = await self._connection()
                draw = self.rng.random()
                await asyncio.sleep(max(wait_s * (1 + draw / 2), backoff_s(self._attempt, draw)))
                self._attempt += 1
        except BadMessage as error:
            self.world.fail(f"{self.name}: BadMessage {error}")

    async def _connection(self) -> float:
        addresses = self.world.router_addresses()
        self.connects += 1
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                end = await self.world.network.connect(self.process, addresses[self.connects % len(addresses)])
        except (Refused, TimeoutError):
            return 0.0
        self._end = end
        self.session.connected(self._now())
        self._wake.set()
        try:
            closed = await self._converse(end)
        except Forked as fork:
            closed = Closed(CloseCode.FORK, str(fork))
        finally:
            self._end = None
            self.session.disconnected()
            await end.close()
        self.world.trace.add("closed", self.name, closed)
        if closed.code == CloseCode.FORK:
            self._join_anew(closed.reason)
        elif closed.code not in RETRIED:
            self.world.fail(f"{self.name} was shut out: {closed}")
        return self._asked_wait_s(closed.reason)

    async def _converse(self, end: End) -> Closed:
        reader = asyncio.get_running_loop().create_task(self._read(end))
        writer = asyncio.get_running_loop().create_task(self._write(end))
        try:
            await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            reader.cancel()
            writer.cancel()
            ends = await asyncio.gather(reader, writer, return_exceptions=True)
        for error in ends:
            if isinstance(error, Closed):
                return error
            if isinstance(error, Exception):
                raise error
        return Closed(ABNORMAL)

    async def _read(self, end: End) -> None:
        while True:
            for frame in _parts(await end.receive()):
                self._take(self.session.receive(bytes(frame), self._now()))
            self._wake.set()
            if self._lazy_s and self.world.typing:
                await asyncio.sleep(self._lazy_s * self.rng.random())

    async def _write(self, end: End) -> None:
        while True:
            self._wake.clear()
            for frame in self.session.outgoing(self._now()):
                await end.send(frame)
            due = self.world.loop.call_later(max(TIMER_S, self.session.next_due() - self._now()), self._wake.set)
            await self._wake.wait()
            due.cancel()
            self._take(self.session.tick(self._now()))

    def _drop(self) -> None:
        if self._end is not None:
            self.world.network.cut(self._end, self.rng.choice((0.0, 0.5)))

    def _asked_wait_s(self, reason: str) -> float:
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(reason, type=_Reason).retry_after_s
        return 0.0


def _parts(frame: bytes) -> list[msgspec.Raw] | list[bytes]:
    """A frame with a refusal message by message: what was refused is counted by the content it was made for."""
    return msgspec.json.decode(frame, type=list[msgspec.Raw]) if b'"nack"' in frame else [frame]
