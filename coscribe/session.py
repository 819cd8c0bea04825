"""The client's state machine of one document: the Jupiter client, one copy a section. Pure: no socket, no clock.

The shell tells it what happened (`connected`, `receive`, `edit`, `tick`), sends what `outgoing` hands out and acts on
the events it returns. In a section at most one operation is in flight; what is typed meanwhile is composed into one
buffer. What the editor shows is the server's content, then the operation in flight, then the buffer.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Raw

from coscribe import protocol
from coscribe.events import Acknowledged, Changed, Event, Forked, Joined, Parked, Silent, Synced, Told
from coscribe.names import FIRST_SECTION
from coscribe.ot import Delta, InvalidDelta, encode
from coscribe.protocol import BadMessage, Head, Nack, NackCode, Welcome
from coscribe.readings import ComposedChange, EntryRun, Reading, WholeSection, read_frame
from coscribe.section_copy import InFlight, SectionCopy

__all__ = [
    "COMPOSED_FROM", "RESEND_AFTER_S", "Acknowledged", "Changed", "Event", "Forked", "Joined", "Parked", "SectionCopy",
    "Session", "Silent", "Synced", "Told",
]  # fmt: skip

RESEND_AFTER_S: Final = 5.0
"""Without an acknowledgement for so long an operation is sent again; the owner drops a duplicate."""

COMPOSED_FROM: Final = 64
"""From so many missing entries on one composed change is asked for, where nothing is in flight."""


def _replacement(before: Delta, after: Delta) -> Delta:
    """The change that replaces one document by another."""
    return after.concat(Delta.replace(0, before.length, ""))


class Session:
    """One document as one client id edits it, over as many connections as it takes."""

    def __init__(self, client_id: str) -> None:
        self.client_id = client_id
        self.welcome: Welcome | None = None
        self.cseq = 0
        self.synced = False
        self.joined = False
        self._copies: dict[str, SectionCopy] = {}
        self._presence: protocol.SetPresence | None = None
        self._outgoing: list[bytes] = []
        self._events: list[Event] = []
        self._open = False
        self._greeted = False  # welcomed on this connection: before that a server takes hello and nothing else
        self._heard_at = self._sent_at = self._pinged_at = 0.0
        self._heartbeat_s = 20.0

    # --- What the shell reads ---

    def outgoing(self, now: float) -> list[bytes]:
        """The frames to send now, in order; each is handed out once."""
        frames, self._outgoing = self._outgoing, []
        if frames:
            self._sent_at = now
        return frames

    def chain(self) -> list[SectionCopy]:
        """The sections in document order, as far as they are known."""
        found: list[SectionCopy] = []
        section: str | None = FIRST_SECTION
        while section is not None and (copy := self._copies.get(section)):
            found.append(copy)
            section = copy.next
        return found

    def content(self) -> Delta:
        """The document as the editor shows it."""
        content = Delta()
        for copy in self.chain():
            content = content.concat(copy.local())
        return content

    @property
    def settled(self) -> bool:
        """Nothing typed here waits for its acknowledgement."""
        return not any(copy.in_flight or copy.buffer for copy in self._copies.values())

    @property
    def buffered(self) -> bool:
        """Something typed here waits behind an operation in flight."""
        return any(copy.buffer for copy in self._copies.values())

    def pending(self) -> list[Delta]:
        """What is not acknowledged, a delta a section that has some."""
        return [copy.pending for copy in self.chain() if copy.in_flight or copy.buffer]

    def revision(self, section: str = FIRST_SECTION) -> int:
        return self._copies[section].revision

    # --- Connection ---

    def connected(self, now: float) -> None:
        """A socket is open: say hello, and where we stand."""
        self._open, self._greeted, self.synced = True, False, False
        self._heard_at = self._pinged_at = now
        if not self.joined:
            self._copies.clear()  # what was fetched and what was asked for belong to another connection
        self._send(self._hello())

    def _hello(self) -> protocol.Hello:
        resume = None
        if self.welcome and self.joined:
            stands = {copy.id: (copy.revision, copy.epoch) for copy in self._copies.values()}
            resume = protocol.Resume(self.welcome.incarnation, stands)
        return protocol.Hello(protocol.VERSION, self.client_id, resume)

    def disconnected(self) -> None:
        """The socket is gone; what was in flight stays so, its outcome is unknown."""
        self._open = self._greeted = self.synced = False
        self._outgoing.clear()
        for copy in self._copies.values():
            copy.asked_at = None

    @property
    def movable(self) -> bool:
        """Whether a second connection can resume beside this one. Until every section is here it could not: it would be
        sent them all from the start, by another server that has its own to do."""
        return self._greeted and self.joined

    def hello_beside(self) -> bytes:
        """The hello for a second connection. Nothing changes: this one goes on until `switched`."""
        assert self.movable, "a second connection resumes what a first one has read"
        return protocol.encode(self._hello())

    def switched(self, frame: str | bytes, now: float) -> list[Event]:
        """The second connection has welcomed us by this frame: from here on there is only that one.

        It sends all that follows its hello. So what was read here since then is skipped when it comes again, what was
        asked for here is not asked again, and what is in flight, acknowledged there or not, is sent again. The editor
        sees none of it: what was synced is synced. Raises as `receive` does, having changed nothing."""
        messages = read_frame(frame)
        if not messages or not isinstance(messages[0], Welcome):
            raise BadMessage("a second connection begins with a welcome")
        self._check_incarnation(messages[0])
        self._outgoing.clear()
        self._heard_at = self._pinged_at = now
        for copy in self._copies.values():
            copy.asked_at = None
        for message in messages:
            self._read(message, now)
        return self._take_events()

    def receive(self, frame: str | bytes, now: float) -> list[Event]:
        """Read a frame. Raises BadMessage for what no server says, having changed nothing, and Forked for another
        history."""
        messages = read_frame(frame)
        self._heard_at = now
        for message in messages:
            self._read(message, now)
        return self._take_events()

    def _read(self, message: Reading, now: float) -> None:
        match message:
            case EntryRun():
                self._read_entries(message, now)
            case Welcome():
                self._welcomed(message, now)
            case WholeSection():
                self._read_snapshot(message, now)
            case ComposedChange():
                self._read_composed(message, now)
            case Nack():
                self._refused(message, now)
            case Head(s=section, rev=rev, epoch=epoch):
                self._read_head(section, rev, epoch, now)
            case protocol.Lagging(s=section, rev=rev):
                self._behind(section, rev, now)
            case protocol.Acked(cseq=cseq):
                self.cseq = max(self.cseq, cseq)
            case protocol.Presence() | protocol.Expiring() | protocol.Move() | protocol.Error():
                self._events.append(Told(message))
            case protocol.Pong():
                pass

    def _take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _send(self, message: protocol.ClientMessage) -> None:
        self._outgoing.append(protocol.encode(message))

    def _welcomed(self, message: Welcome, now: float) -> None:
        self._check_incarnation(message)
        self.welcome, self._greeted = message, True
        self._heartbeat_s = message.heartbeat_s
        self._events.append(Told(message))
        for copy in self._copies.values():
            if copy.in_flight:
                self._submit(copy, now)
        if self._presence:
            self._send(self._presence)

    def _check_incarnation(self, message: Welcome) -> None:
        if self.welcome and self.welcome.incarnation != message.incarnation:
            raise Forked("the document was deleted and made anew")

    # --- Reading ---

    def _read_snapshot(self, whole: WholeSection, now: float) -> None:
        message, content = whole.message, whole.content
        copy = self._copies.get(message.s)
        if copy:
            self._check_epoch(copy, message.rev, message.epoch)
        if copy and (copy.in_flight or copy.buffer or copy.revision >= message.rev):
            return
        before = self.content() if self.joined else None
        self._copies[message.s] = SectionCopy(
            message.s, content, message.rev, message.epoch, message.next, message.sealed, known_head=message.rev
        )
        if before is not None:  # a snapshot in place of a catch-up: the editor takes the whole as one change
            self._events.append(Changed(_replacement(before, self.content())))
        self._complete(now)

    def _complete(self, now: float) -> None:
        """Fetch what the chain lacks; once it lacks nothing, editing starts."""
        chain = self.chain()
        lacking = chain[-1].next if chain else FIRST_SECTION
        if lacking is not None:
            self._send(protocol.Fetch(lacking))
            return
        if not self.joined:
            self.joined = True
            self._events.append(Joined(self.content()))
        self._check_synced(now)

    def _check_epoch(self, copy: SectionCopy, rev: int, epoch: int) -> None:
        """Raises Forked unless a revision can have this epoch, in the history that the copy has read."""
        same, fell = rev == copy.revision and epoch != copy.epoch, rev > copy.revision and epoch < copy.epoch
        if same or fell or (rev < copy.revision and epoch > copy.epoch):
            raise Forked(
                f"revision {rev} of section {copy.id} has epoch {epoch}, and revision {copy.revision} had {copy.epoch}"
            )

    def _read_entries(self, run: EntryRun, now: float) -> None:
        message = run.message
        copy = self._copies.get(message.s)
        if copy is None:
            return
        last = message.rev + len(message.e) - 1
        if message.epoch is not None and message.e:
            self._check_epoch(copy, min(max(message.rev, copy.revision), last), message.epoch)
        if message.rev > copy.revision + 1:
            self._behind(copy.id, last, now)
            return
        copy.known_head = max(copy.known_head, last)
        for client, cseq, delta in run.entries[copy.revision + 1 - message.rev :]:
            self._read_entry(copy, client, cseq, delta, now)
        if message.epoch is not None and last >= copy.revision:
            copy.epoch = message.epoch
        if copy.revision >= copy.known_head:
            copy.asked_at = None
            self._check_synced(now)

    def _read_entry(self, copy: SectionCopy, client: str, cseq: int, delta: Delta, now: float) -> None:
        mine = copy.in_flight
        if client == self.client_id and mine and mine.cseq == cseq:
            if mine.delta != delta:
                raise Forked("another tab uses this client id")
            self._advance(copy, delta)
            copy.in_flight = None
            self._events.append(Acknowledged(copy.id, cseq, copy.revision))
            self._flush(copy, now)
            return
        if client == self.client_id:  # from before this session began, or of another tab: its number is spent
            self.cseq = max(self.cseq, cseq)
        self._advance(copy, delta)
        self._show(copy, copy.rebase(delta), (client, cseq))

    def _show(self, copy: SectionCopy, shown: Delta, source: tuple[str, int] | None = None) -> None:
        if shown and self.joined:
            self._events.append(Changed(self._in_document(copy, shown), source))

    def _advance(self, copy: SectionCopy, delta: Delta) -> None:
        try:
            copy.content.apply(delta)
        except InvalidDelta as error:
            raise Forked(f"entry {copy.revision + 1} does not fit: {error}") from None
        copy.revision += 1

    def _in_document(self, copy: SectionCopy, delta: Delta) -> Delta:
        offset = 0
        for other in self.chain():
            if other is copy:
                break
            offset += other.local_length
        return delta.shifted(offset)

    def _read_composed(self, change: ComposedChange, now: float) -> None:
        """Used only where it starts from; something in flight needs the entries one by one."""
        message = change.message
        copy = self._copies.get(message.s)
        if copy is None:
            return
        self._check_epoch(copy, message.rev, message.epoch)
        if copy.revision != message.from_ or copy.in_flight:
            if message.rev > copy.revision:  # what follows it will not fit either
                copy.asked_at = None
                self._behind(copy.id, message.rev, now)
            return
        try:
            copy.content.apply(change.delta)
        except InvalidDelta as error:
            raise Forked(f"the change from revision {message.from_} does not fit: {error}") from None
        copy.revision, copy.epoch, copy.asked_at = message.rev, message.epoch, None
        copy.known_head = max(copy.known_head, message.rev)
        self._show(copy, copy.rebase(change.delta))
        self._flush(copy, now)
        if copy.revision < copy.known_head:
            self._behind(copy.id, copy.known_head, now)
        self._check_synced(now)

    def _read_head(self, section: str, rev: int, epoch: int, now: float) -> None:
        copy = self._copies.get(section)
        if copy is None:
            return
        self._check_epoch(copy, rev, epoch)
        if rev > copy.revision:
            self._behind(section, rev, now)
        elif copy.revision >= copy.known_head:
            copy.asked_at = None  # a catch-up with nothing to catch up ends so
        self._check_synced(now)

    def _behind(self, section: str, head: int, now: float) -> None:
        """Entries up to `head` exist and did not come: ask for them, once."""
        copy = self._copies.get(section)
        if copy is None:
            return
        copy.known_head = max(copy.known_head, head)
        if copy.asked_at is not None or copy.revision >= copy.known_head:
            return
        copy.asked_at = now
        composed = copy.in_flight is None and copy.known_head - copy.revision >= COMPOSED_FROM
        self._send(protocol.Catchup(section, copy.revision, copy.epoch, composed))

    def _check_synced(self, now: float) -> None:
        if self.synced or not self.joined or self.welcome is None:
            return
        if all(copy.revision >= copy.known_head for copy in self._copies.values()):
            self.synced = True
            self._events.append(Synced())

    # --- Writing ---

    def edit(self, delta: Delta, now: float) -> list[Event]:
        """An edit of the whole document as the editor shows it; raises InvalidDelta, changing nothing, if it cannot be.

        It is cut at section boundaries into one operation a section; an insert on a boundary goes right."""
        assert self.joined, "editing starts when every section is here"
        chain = self.chain()
        length = sum(copy.local_length for copy in chain)
        if delta.base_length > length:
            raise InvalidDelta(f"the edit needs {delta.base_length} units, the document has {length}")
        rest, parts = delta, []
        for copy in chain[:-1]:
            left, rest = rest.cut(copy.local_length)
            parts.append(left)
        for copy, part in zip(chain, [*parts, rest], strict=True):
            if part:
                copy.buffer = copy.buffer.compose(part)
                self._flush(copy, now)
        return self._take_events()

    def presence(self, section: str, state: Raw) -> None:
        """Say where this client is; `state` is a JSON object or null. It is said again on every other connection, for
        a server forgets it with the one it was said on: of the same revision, which the position in it belongs to."""
        if section not in self._copies:
            return
        message = protocol.SetPresence(section, self._copies[section].revision, state)
        self._presence = None if bytes(state) == b"null" else message
        if self._greeted:
            self._send(message)

    def renew(self, ticket: str) -> None:
        """Renew the identity on the open socket."""
        if self._greeted:
            self._send(protocol.Auth(ticket))

    def _flush(self, copy: SectionCopy, now: float) -> None:
        if copy.in_flight is None and copy.buffer and copy.sealed is None:
            self.cseq += 1
            copy.in_flight = InFlight(self.cseq, copy.buffer, now, now + RESEND_AFTER_S)
            copy.buffer = Delta()
            self._submit(copy, now)

    def _submit(self, copy: SectionCopy, now: float) -> None:
        """Send the operation in flight, for the first time or again: same cseq, present base."""
        flying = copy.in_flight
        assert flying is not None, "nothing to submit"
        if not self._greeted:
            return
        flying.sent_at, flying.retry_at = now, now + RESEND_AFTER_S
        self._send(protocol.Op(copy.id, copy.revision, flying.cseq, Raw(encode(flying.delta))))

    def _refused(self, message: Nack, now: float) -> None:
        copy = self._copies.get(message.s)
        if copy is None or copy.in_flight is None or copy.in_flight.cseq != message.cseq:
            return
        if message.code.final:
            self._park(copy, message, now)
        elif message.code is NackCode.STALE:
            copy.in_flight.retry_at = now  # as soon as the entries are read, see tick
            copy.asked_at = now
            self._send(protocol.Catchup(copy.id, copy.revision, copy.epoch))
        elif message.code is not NackCode.SEALED:
            copy.in_flight.retry_at = now + (message.retry_after_s or RESEND_AFTER_S)

    def _park(self, copy: SectionCopy, message: Nack, now: float) -> None:
        """Undo the refused operation below the buffer; it does not block what is typed behind it."""
        flying = copy.in_flight
        assert flying is not None, "nothing to park"
        inverse = flying.delta.invert(copy.content.delta())
        buffer = copy.buffer
        copy.in_flight, copy.buffer = None, inverse.transform(buffer, True)
        undone = buffer.transform(inverse, False)
        self._events.append(Parked(copy.id, flying.cseq, message.code, message.message, flying.delta))
        self._show(copy, undone)
        self._flush(copy, now)

    # --- Time ---

    def tick(self, now: float) -> list[Event]:
        """Do what is due; call it again at `next_due` at the latest."""
        if not self._open:
            return []
        if now - self._heard_at >= 2 * self._heartbeat_s:
            self._events.append(Silent())
        if not self._greeted:
            return self._take_events()
        if now >= self._ping_at():
            self._pinged_at = now
            self._send(protocol.Ping())
        for copy in self._copies.values():
            if copy.asked_at is not None and now - copy.asked_at >= RESEND_AFTER_S:
                copy.asked_at = None
                self._behind(copy.id, copy.known_head, now)
            if copy.in_flight and copy.asked_at is None and now >= copy.in_flight.retry_at:
                self._submit(copy, now)
        return self._take_events()

    def next_due(self) -> float:
        """The time at which `tick` has something to do, unless something else happens before."""
        return min(self._due_times())

    def _ping_at(self) -> float:
        """Who only listens would be taken for dead, and who only speaks cannot know whether anybody hears."""
        return max(min(self._sent_at, self._heard_at), self._pinged_at) + self._heartbeat_s

    def _due_times(self) -> Iterator[float]:
        yield self._heard_at + 2 * self._heartbeat_s
        if not self._greeted:
            return
        yield self._ping_at()
        for copy in self._copies.values():
            if copy.asked_at is not None:
                yield copy.asked_at + RESEND_AFTER_S
            elif copy.in_flight:
                yield copy.in_flight.retry_at
