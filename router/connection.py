"""One client's socket on one document: the wire protocol between an outbox and the rooms. No aiohttp here.

The shell hands in frames and closes the socket when `closing` is set. Everything for the client goes through the
outbox, in order: `welcome`, then for each section its snapshot or what was missed, then the room's batches.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Final

import structlog

from coscribe import link, protocol
from coscribe.names import FIRST_SECTION, SectionKey, is_client_id
from coscribe.protocol import BadMessage, CloseCode, NackCode, User
from coscribe.versions import agreed, listed
from persistence.records import Document, Unavailable
from router.admission import TokenBucket
from router.auth import Identity
from router.budgets import take_all
from router.client_frames import check_numbers, check_presence, read_frame
from router.link import Answerless
from router.outbox import Outbox
from router.place import Pending, Place
from router.run import Joined

if TYPE_CHECKING:
    from router.router import Router

HELLO_TIMEOUT_S: Final = 10.0
RESEND_AFTER_S: Final = 3.0  # an operation without any answer is sent to its owner again
MOVED_RETRY_S: Final = 0.05
EXPIRING_S: Final = 60.0
MESSAGES_PER_OP: Final = 10  # catch-ups, presence and pings beside operations
BRING_UP_RETRY_S: Final = 0.25
QUESTIONS_PER_S: Final = 20  # that one socket may have an owner asked; each may cost it a page of entries

log_event = structlog.get_logger("connection")


class Connection:
    """Made once the identity and the document are known; `opened` when hello has come."""

    def __init__(
        self,
        router: "Router",
        ref: int,
        document: Document,
        identity: Identity,
        wake: Callable[[], None],
        write: Callable[[bytes], bool],
    ) -> None:
        self.router, self.ref, self.document, self.identity = router, ref, document, identity
        self.write = write  # a whole WebSocket frame, past an empty outbox; False where it must wait
        self.outbox = Outbox(wake)
        self.client = ""
        self.version = protocol.VERSION  # agreed on at hello
        self.closing: tuple[CloseCode, str] | None = None
        self.welcomed = False
        self.places: dict[str, Place] = {}
        now = router.now()
        self.heard_at = now
        self._wake = wake
        self._writable = asyncio.Event()
        self._opened_at = now
        self._told_expiry = False
        limits = router.settings.limits
        self._ops = (
            TokenBucket.full(limits.ops_per_s, 2 * limits.ops_per_s, now),
            router.users.of(identity.user, now),
            router.documents.of(document.id, now),
        )
        self._messages = TokenBucket.full(
            MESSAGES_PER_OP * limits.ops_per_s, 2 * MESSAGES_PER_OP * limits.ops_per_s, now
        )
        self._questions = TokenBucket.full(QUESTIONS_PER_S, 2 * QUESTIONS_PER_S, now)
        self._tasks: dict[asyncio.Task[None], None] = {}

    @property
    def user(self) -> User:
        return User(self.identity.user, self.identity.name)

    # --- To the client ---

    def send(self, message: protocol.ServerMessage) -> None:
        self.outbox.push(protocol.encode(message))

    def tell(self, joined: Joined) -> None:
        """What many are told: straight to the socket where nothing waits for it."""
        if self.outbox.size or not self.write(joined.frame):
            self.outbox.push(joined.messages)

    def frame(self) -> bytes | None:
        """The next frame to write, None if nothing waits."""
        frame = self.outbox.take()
        if not self.outbox.full:
            self._writable.set()
        return frame

    def ask_to_move(self, within_s: float) -> None:
        """The client is to connect anew, resume there and then close this socket; it may decline."""
        self.send(protocol.Move(within_s))

    @property
    def idle(self) -> bool:
        """Nothing of the client has no answer yet, and nothing waits for it."""
        return not self.outbox.size and not any(place.pending for place in self.places.values())

    def close(self, code: CloseCode, reason: str = "", retry_after_s: float | None = None) -> None:
        """Close once what waits is written."""
        if self.closing is None:
            self.closing = (code, protocol.close_reason(reason, retry_after_s))
            self._wake()

    def _nack(self, section: str, cseq: int, code: NackCode, text: str, retry_after_s: float | None = None) -> None:
        self.send(protocol.Nack(section, cseq, code, text, code.retry, retry_after_s))

    # --- From the client ---

    def receive(self, frame: str) -> None:
        """Take a frame of the client; a bad one closes the socket."""
        if self.closing:
            return
        now = self.heard_at = self.router.now()
        limits = self.router.settings.limits
        if len(frame) > limits.frame_bytes or len(frame.encode()) > limits.frame_bytes:
            self.close(CloseCode.FRAME_TOO_LARGE, f"a frame has at most {limits.frame_bytes} bytes")
            return
        if wait_s := self._messages.take(now):
            self.close(CloseCode.TOO_MANY_MESSAGES, retry_after_s=wait_s)
            return
        try:
            self._take(read_frame(frame), now)
        except BadMessage as error:
            self.send(protocol.Error("bad_message", str(error)))
            self.close(CloseCode.BAD_MESSAGE, str(error))

    def _take(self, message: protocol.ClientMessage, now: float) -> None:
        if isinstance(message, protocol.Hello):
            self._hello(message)
        elif not self.client:
            raise BadMessage("the first message must be hello")
        else:
            match message:
                case protocol.Op():
                    self._op(message, now)
                case protocol.Catchup(s=section, from_=after, epoch=epoch, composed=composed):
                    place = self._place(section)
                    check_numbers(after, epoch)
                    self._bring_up(place, self._catch_up(place, after, epoch, composed))
                case protocol.Fetch(s=section):
                    place = self._place(section)
                    self._bring_up(place, self._snapshot(place))
                case protocol.SetPresence():
                    self._presence(message)
                case protocol.Ping():
                    self._pong()
                case protocol.Auth(ticket=ticket):
                    self._start(self._renew(ticket))
                case protocol.View(live=live):
                    for section in live:
                        self._place(section)

    def _place(self, section: str) -> Place:
        place = self.places.get(section)
        if place is None:
            raise BadMessage("no such section")
        return place

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A fault of ours in one connection costs this connection: the client comes back and resumes."""
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()):
            log_event.error("connection failed", document=self.document.id, exc_info=error)
            self.close(CloseCode.RESTART, retry_after_s=1.0)

    # --- Hello ---

    def _hello(self, message: protocol.Hello) -> None:
        if self.client:
            raise BadMessage("hello comes once")
        version = agreed(protocol.VERSION, message.v)
        if version is None:
            raise BadMessage(f"this server speaks {listed(protocol.SUBPROTOCOLS)}, and the client version {message.v}")
        if not is_client_id(message.client):
            raise BadMessage("a client id has 8 to 64 characters of A-Z, a-z, 0-9, _ and -")
        if message.resume:
            for stands in message.resume.sections.values():
                check_numbers(*stands)
        self.client, self.version = message.client, version
        self._start(self._open(message.resume))

    async def _open(self, resume: protocol.Resume | None) -> None:
        """Welcome the client and bring it up, section by section."""
        if resume is not None and resume.incarnation != self.document.incarnation:
            self.close(CloseCode.FORK, "the document was deleted and made anew")
            return
        try:
            owner = await self.router.claim_client(self)
        except Unavailable:
            self.close(CloseCode.OVERLOAD, retry_after_s=1.0)
            return
        if owner != self.identity.user:
            self.close(CloseCode.FORBIDDEN, "this client id belongs to another user")
            return
        settings = self.router.settings
        sections = [FIRST_SECTION]
        try:
            for section in sections:
                key = SectionKey(self.document.id, self.document.incarnation, section)
                place = Place(self, await self.router.room(key))
                place.room.members[place] = None
                self.places[section] = place
            self.send(
                protocol.Welcome(
                    self.version, self.document.id, self.document.incarnation, self.user, self.identity.role,
                    settings.durability, sections, settings.limits, settings.heartbeat_s, self.identity.expires,
                )
            )  # fmt: skip
            self.welcomed = True
            await self.router.presence.enter(self)
        except Unavailable:
            self.close(CloseCode.OVERLOAD, retry_after_s=1.0)
            return
        for section in sections:
            place = self.places[section]
            stands = resume.sections.get(section) if resume else None
            work = self._catch_up(place, *stands, composed=False) if stands else self._snapshot(place)
            self._bring_up(place, work)

    # --- Bringing up ---

    def _bring_up(self, place: Place, work: Coroutine[None, None, None]) -> None:
        """One at a time a section: a later question replaces an earlier one."""
        if place.bringing_up is not None:
            place.bringing_up.cancel()
        place.sent = None
        place.bringing_up = self._start(work)

    async def _turn(self) -> None:
        """Wait where a client asks too often: of what it asks meanwhile only the last counts."""
        if wait_s := self._questions.take(self.router.now()):
            await asyncio.sleep(wait_s)
            self._questions.take(self.router.now())

    async def _snapshot(self, place: Place) -> None:
        await self._turn()
        while not self.closing:
            await self._drained()
            try:
                await self._acked(place)
                found = await self.router.snapshot(place.room)
            except Answerless as problem:
                await self._put_off(problem)
                continue
            self.outbox.share(found.message)
            place.room.position(found.revision, found.epoch)
            place.room.head_is(found.head)
            await self._follow(place, found.revision)
            return

    async def _acked(self, place: Place) -> None:
        """What comes next says nothing of single operations: say which of the client's own are in it."""
        acked = await self.router.links.acked(place.room.key, self.client)
        if acked.cseq:
            self.send(protocol.Acked(place.room.key.section, acked.cseq, acked.revision))

    async def _catch_up(self, place: Place, after: int, epoch: int, composed: bool) -> None:
        """What follows `after`, if that revision has the epoch under which the client read it."""
        await self._turn()
        found = place.room.epoch_of(after)
        if found is not None and found != epoch:
            place.fork()
        elif not composed:
            await self._follow(place, after, None if found is not None else epoch)
        elif found is not None or await self._page(place, after, epoch):
            await self._composed(place, after)

    async def _composed(self, place: Place, after: int) -> None:
        await self._drained()
        try:
            await self._acked(place)
            found = await self.router.links.composed(place.room.key, after)
        except Answerless:
            await self._follow(place, after)
            return
        self.outbox.push(found.message)
        place.room.position(found.revision, found.epoch)
        place.room.head_is(found.revision)
        await self._follow(place, found.revision)

    async def _follow(self, place: Place, after: int, epoch: int | None = None) -> None:
        """Send plain entries after a revision until the place is level with its room. `epoch`: the one that the
        client knows for `after`, still to be verified by the owner."""
        room = place.room
        while not self.closing:
            await self._drained()
            messages = room.since(after) if epoch is None else None
            if messages is not None:
                for message in messages:
                    self.outbox.push(message)
                assert room.head is not None, "a room without a head has no entries to give"
                place.sent = max(after, room.head)
                self.send(protocol.Head(room.key.section, room.head, room.epoch))  # the client sees that it has all
                return
            page = await self._page(place, after, epoch)
            if page is None:
                return
            for message in page.messages:
                self.outbox.push(message)
            if page.last == page.head:
                room.position(page.head, page.epoch)
            room.head_is(page.head)
            if page.last == after and room.since(after) is None:  # nothing new, and a room that is beyond the owner
                await asyncio.sleep(BRING_UP_RETRY_S)
            after, epoch = page.last, None

    async def _page(self, place: Place, after: int, epoch: int | None) -> link.EntriesAre | None:
        """The owner's entries after a revision. None: the client has read it under another epoch, or it is no more."""
        while not self.closing:
            try:
                page = await self.router.links.entries(place.room.key, after)
            except Answerless as problem:
                if problem.code == "ahead" and await self.router.is_void(place.room.key, after):
                    place.fork()
                    return None
                await self._put_off(problem)
                continue
            if epoch is None or page.base_epoch == epoch:
                return page
            place.fork()
        return None

    async def _drained(self) -> None:
        """Wait until the client has read most of what waits for it."""
        while self.outbox.full and not self.closing:
            self._writable.clear()
            await self._writable.wait()

    async def _put_off(self, problem: Answerless) -> None:
        if problem.code in ("moved", "ahead"):
            await self.router.refresh_map()
        await asyncio.sleep(BRING_UP_RETRY_S)

    # --- Operations ---

    def _op(self, message: protocol.Op, now: float) -> None:
        place, limits = self._place(message.s), self.router.settings.limits
        delta = bytes(message.delta)
        check_numbers(message.base, message.cseq)
        if message.cseq == 0:
            raise BadMessage("cseq counts from 1")
        if self.identity.role == "reader":
            self._nack(message.s, message.cseq, NackCode.FORBIDDEN, "you may read this document but not write to it")
        elif len(delta) > limits.op_bytes:
            text = f"the operation has {len(delta)} bytes of {limits.op_bytes}"
            self._nack(message.s, message.cseq, NackCode.TOO_LARGE, text)
        elif wait_s := take_all(self._ops, now):
            text = "too many operations a second of this client, this user or on this document"
            self._nack(message.s, message.cseq, NackCode.RATE, text, round(wait_s, 3))
        else:
            submit = link.Submit(
                place.room.key, self.ref, self.client, message.cseq, message.base, self.identity.user,
                self.identity.role, delta,
            )  # fmt: skip
            place.pending = Pending(submit, now)
            self.router.waiting[place] = None
            self.resend(place, now)

    def resend(self, place: Place, now: float) -> None:
        """Send the operation without an answer to the owner, for the first time or again."""
        assert place.pending is not None, "nothing to send"
        sent = self.router.links.submit(place.pending.message)
        place.pending.resend_at = now + (RESEND_AFTER_S if sent else MOVED_RETRY_S)
        place.pending.view, place.pending.moved = self.router.view, False

    def refused(self, message: link.Refusal) -> None:
        place = self.places.get(message.key.section)
        if place and place.pending and place.pending.message.cseq == message.cseq:
            place.pending = None
            self._nack(message.key.section, message.cseq, message.code, message.message, message.retry_after_s)

    def duplicate(self, message: link.Duplicate) -> None:
        place = self.places.get(message.key.section)
        if place:
            place.acknowledged(message.cseq)
            place.room.head_is(message.revision)

    def moved(self, message: link.Moved, now: float) -> None:
        """Send it again at once by a newer map, or by this one a little later."""
        place = self.places.get(message.key.section)
        if place and place.pending and place.pending.message.cseq == message.cseq:
            place.pending.resend_at, place.pending.moved = now + MOVED_RETRY_S, True
            self.map_changed(place, now)

    def map_changed(self, place: Place, now: float) -> None:
        if place.pending and place.pending.moved and place.pending.view < self.router.view:
            self.resend(place, now)

    # --- The rest ---

    def _presence(self, message: protocol.SetPresence) -> None:
        self._place(message.s)
        check_numbers(message.rev)
        state = bytes(message.state)
        check_presence(state, self.router.settings.limits.presence_bytes)
        peer = None if state == b"null" else protocol.PeerPresence(message.s, message.rev, message.state, self.user)
        self.router.presence.say(self, peer)

    def _pong(self) -> None:
        self.send(protocol.Pong())
        for section, place in self.places.items():
            if place.room.shown is not None:
                self.send(protocol.Head(section, *place.room.shown))

    async def _renew(self, ticket: str) -> None:
        try:
            identity = await self.router.redeem(ticket, self.document.id)
        except Unavailable:  # the ticket may be spent: the client comes back as it came
            self.close(CloseCode.OVERLOAD, retry_after_s=1.0)
            return
        if identity is None or identity.user != self.identity.user:
            self.close(CloseCode.UNAUTHENTICATED, "the ticket is not valid")
            return
        self.identity, self._told_expiry = identity, False

    def tick(self, now: float) -> None:
        """Look at everything that time alone decides."""
        heartbeat_s = self.router.settings.heartbeat_s
        if not self.client and now - self._opened_at > HELLO_TIMEOUT_S:
            self.close(CloseCode.BAD_MESSAGE, "no hello in time")
        elif now - self.heard_at > 2 * heartbeat_s:
            self.close(CloseCode.GOING_AWAY, "nothing heard for too long")
        elif self.outbox.overrun:
            self.outbox.clear()
            self.close(CloseCode.SLOW_CONSUMER, "far too slow a reader")
        if self.identity.expires is not None:
            left_s = self.identity.expires - self.router.unix_time()
            if left_s <= 0:
                self.close(CloseCode.UNAUTHENTICATED, "the identity has expired")
            elif left_s <= EXPIRING_S and not self._told_expiry:
                self._told_expiry = True
                self.send(protocol.Expiring(self.identity.expires))

    async def leave(self) -> None:
        """The socket is gone."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for place in self.places.values():
            place.room.members.pop(place, None)
        await self.router.left(self)
