"""People with an editor: the real Session under a small shell like `coscribe.client`, and an author who types.

The shell's editor is a document of its own, changed only by what the session's events say. It must always show what
the session says it shows.
"""

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from coscribe import policy
from coscribe.names import FIRST_SECTION, SectionKey
from coscribe.ot import Delta, compose_all
from coscribe.policy import CONNECT_TIMEOUT_S, move_wait_s, retry_wait_s
from coscribe.protocol import BadMessage, CloseCode, Move, NackCode, Role, object_bytes
from coscribe.readings import welcomes
from coscribe.session import Acknowledged, Changed, Event, Forked, Joined, Parked, Session, Silent, Synced, Told
from tests.simulation.author import Author, Edit
from tests.simulation.loop import Process
from tests.simulation.network import ABNORMAL, Closed, End, Refused

if TYPE_CHECKING:
    from tests.simulation.world import World

RETRIED = frozenset((ABNORMAL, CloseCode.GOING_AWAY, CloseCode.RESTART, CloseCode.OVERLOAD, CloseCode.TOO_MANY_MESSAGES,
                     CloseCode.SLOW_CONSUMER))  # fmt: skip

LOOK_AFTER = 5  # changes of what an editor shows
TIMER_S = 0.001  # no real timer is finer; a rest of the last bit of a float would be waited for without time going on


class _Elsewhere(NamedTuple):
    """Another connection to go on with, and the frame that welcomed there."""

    end: End
    welcome: bytes


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
        self._told_to_move = asyncio.Event()
        self._move_within_s = 0.0

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
                case Told(message=Move(within_s=within_s)) if not self._told_to_move.is_set():
                    self._move_within_s = within_s
                    self._told_to_move.set()
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
                await asyncio.sleep(retry_wait_s(wait_s, self._attempt, self.rng.random()))
                self._attempt += 1
        except BadMessage as error:
            self.world.fail(f"{self.name}: BadMessage {error}")

    async def _connect(self) -> End | None:
        addresses = self.world.router_addresses()
        self.connects += 1
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return await self.world.network.connect(self.process, addresses[self.connects % len(addresses)])
        except (Refused, TimeoutError):
            return None

    async def _connection(self) -> float:
        end = await self._connect()
        if end is None:
            return 0.0
        self.session.connected(self._now())
        try:
            self._told_to_move.clear()
            while isinstance(closed := await self._converse(end), _Elsewhere):
                left, end = end, closed.end
                self.world.trace.add("moved", self.name, f"{left.name} {end.name}")
                self._told_to_move.clear()
                await left.close()  # no time passes: what is said on the new one may well arrive first
                self._take(self.session.switched(closed.welcome, self._now()))
        except Forked as fork:
            closed = Closed(CloseCode.FORK, str(fork))
        finally:
            self._end = None
            self.session.disconnected()
            await end.close()
        return self._after(closed)

    def _after(self, closed: Closed) -> float:
        """Returns how long the server asks to wait."""
        self.world.trace.add("closed", self.name, closed)
        if closed.code == CloseCode.FORK:
            self._join_anew(closed.reason)
        elif closed.code not in RETRIED:
            self.world.fail(f"{self.name} was shut out: {closed}")
        return policy.End(closed.code, closed.reason).asked_wait_s

    async def _converse(self, end: End) -> Closed | _Elsewhere:
        self._end = end
        self._wake.set()
        loop = asyncio.get_running_loop()
        mover = loop.create_task(self._move())
        tasks = (mover, loop.create_task(self._read(end)), loop.create_task(self._write(end)))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in ends:
            if isinstance(outcome, Exception) and not isinstance(outcome, Closed):
                raise outcome
        return next((found for found in ends if isinstance(found, (_Elsewhere, Closed))), Closed(ABNORMAL))

    async def _move(self) -> _Elsewhere:
        while True:
            await self._told_to_move.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._move_within_s):
                    return await self._welcomed_elsewhere(self._move_within_s)
            self._told_to_move.clear()

    async def _welcomed_elsewhere(self, within_s: float) -> _Elsewhere:
        attempt, wait_s = 0, move_wait_s(within_s, self.rng.random())
        while True:
            await asyncio.sleep(wait_s)
            answer = await self._greet_beside() if self.session.movable else Closed(ABNORMAL)
            if isinstance(answer, _Elsewhere):
                return answer
            if answer.code == CloseCode.FORK:
                raise Forked(answer.reason)
            if answer.code not in RETRIED:
                self.world.fail(f"{self.name} was shut out where it wanted to move: {answer}")
            asked_s = policy.End(answer.code, answer.reason).asked_wait_s
            wait_s = retry_wait_s(asked_s, attempt, self.rng.random())
            attempt += 1

    async def _greet_beside(self) -> _Elsewhere | Closed:
        end = await self._connect()
        if end is None:
            return Closed(ABNORMAL)
        welcomed = False
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await end.send(self.session.hello_beside())
                while not (welcomed := welcomes(frame := await end.receive())):
                    pass
            return _Elsewhere(end, frame)
        except Closed as closed:
            return closed
        except TimeoutError:
            return Closed(ABNORMAL)
        finally:
            if not welcomed:
                await end.close()

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


def _parts(frame: bytes) -> list[msgspec.Raw] | list[bytes]:
    """A frame with a refusal message by message: what was refused is counted by the content it was made for."""
    return msgspec.json.decode(frame, type=list[msgspec.Raw]) if b'"nack"' in frame else [frame]
