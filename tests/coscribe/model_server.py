"""A server for sessions, too simple to be wrong: owners are real `Section`s, the log of each is a list, and the wire
delays, drops, doubles and reorders what it carries until it is told to heal."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from coscribe.batch import LogEntry, decode_batch, entries_message
from coscribe.names import SectionKey
from coscribe.ot import OWN_LIMITS, Content, Delta, Limits, compose_all, decode, encode
from coscribe.protocol import (
    Catchup,
    CaughtUp,
    Fetch,
    Head,
    Hello,
    Nack,
    Op,
    Ping,
    Pong,
    Snapshot,
    decode_client_message,
    decode_op_entry,
)
from coscribe.protocol import encode as encode_message
from coscribe.section import Known, Refused, Section, SectionState, Submission, WindowLimits, replay
from coscribe.session import Event, Session
from tests.coscribe.sessions import welcome

PAGE = 3
WINDOW = WindowLimits(entries=5, min_age_ms=0)


@dataclass
class Log:
    """One section: what is durable of it, and its present owner."""

    id: str
    next: str | None
    first: Delta
    entries: list[LogEntry] = field(default_factory=list)
    epoch: int = 0
    owner: Section | None = None

    def activate(self) -> Section:
        """A new owner starts from the log; what the one before had prepared is gone."""
        self.epoch += 1
        start = SectionState(Content.from_delta(self.first), 0, 0, self.next)
        state = replay(start, self.entries, WINDOW.entries)
        self.owner = Section(SectionKey("notes", "life1", self.id), self.epoch, state, Limits(), WINDOW)
        return self.owner

    @property
    def head(self) -> Head:
        return Head(self.id, len(self.entries), self.entries[-1].epoch if self.entries else 0)

    def content(self) -> Delta:
        return compose_all([self.first, *(_delta(entry) for entry in self.entries)])

    def messages(self, after: int) -> list[bytes]:
        """Entries after a revision, a few a message, no message of two epochs."""
        found: list[bytes] = []
        rest = self.entries[after:]
        while rest:
            run = [entry for entry in rest[:PAGE] if entry.epoch == rest[0].epoch]
            found.append(entries_message(self.id, run[0].revision, (entry.entry for entry in run), run[0].epoch))
            rest = rest[len(run) :]
        return found


def _delta(entry: LogEntry) -> Delta:
    return decode(bytes(decode_op_entry(entry.entry).delta), OWN_LIMITS)


class Model:
    """The logs, the sessions, and what is on its way between them."""

    def __init__(self, rng: random.Random, texts: Sequence[str], clients: int) -> None:
        self.rng = rng
        self.now = 0.0
        self.healed = False
        names = [str(number) for number in range(len(texts))]
        self.logs = {
            name: Log(name, following, Delta.replace(0, 0, text))
            for name, following, text in zip(names, [*names[1:], None], texts, strict=True)
        }
        for log in self.logs.values():
            log.activate()
        self.sessions = [Session(f"client-{number}") for number in range(clients)]
        self._up: list[tuple[int, bytes]] = []
        self._down: list[tuple[int, bytes]] = []
        self._beside: dict[int, bytes] = {}  # the hello of a second connection
        for number in range(clients):
            self.connect(number)

    # --- The wire ---

    def connect(self, number: int) -> None:
        """A new connection: what the one before still carried is lost or late."""
        self.sessions[number].disconnected()
        self._lose(number)
        self.sessions[number].connected(self.now)
        (hello,) = self.sessions[number].outgoing(self.now)
        self.sessions[number].receive(welcome(), self.now)
        self._bring_up(number, hello)

    def greet_beside(self, number: int) -> None:
        """A second connection, on which nothing comes before `switch`."""
        if self.sessions[number].movable:
            self._beside[number] = self.sessions[number].hello_beside()

    def switch(self, number: int) -> None:
        """The second connection is welcomed: what follows its hello comes there, what the first one carried is lost."""
        if hello := self._beside.pop(number, None):
            self._lose(number)
            self.received(number, welcome(), beside=True)
            self._bring_up(number, hello)

    def _lose(self, number: int) -> None:
        self._beside.pop(number, None)
        if self.rng.random() < 0.5:
            self._up = [(client, frame) for client, frame in self._up if client != number]
        self._down = [(client, frame) for client, frame in self._down if client != number]

    def _bring_up(self, number: int, hello: bytes) -> None:
        message = decode_client_message(hello)
        assert isinstance(message, Hello)
        stands = message.resume.sections if message.resume else {}
        for name, (revision, _) in stands.items():
            self.say(number, *self.logs[name].messages(revision), encode_message(self.logs[name].head))
        if not stands:
            self.say(number, self._snapshot("0"))

    def say(self, number: int, *frames: bytes) -> None:
        self._down += [(number, frame) for frame in frames]

    def move(self) -> None:
        """One message arrives, or is lost, or arrives and stays on its way."""
        for number, session in enumerate(self.sessions):
            self._up += [(number, frame) for frame in session.outgoing(self.now)]
        upward = self.rng.random() < 0.5
        wire = self._up if upward else self._down
        if not wire:
            return
        index = 0 if self.healed else self.rng.randrange(min(len(wire), 4))
        number, frame = wire[index]
        fate = 1.0 if self.healed else self.rng.random()
        if fate >= 0.1:
            del wire[index]
        if fate >= 0.2:
            if upward:
                self._take(number, frame)
            else:
                self.received(number, frame)
        elif fate < 0.1 and len(wire) > 30:
            del wire[index]

    def received(self, number: int, frame: bytes, beside: bool = False) -> None:
        self.read(number, frame, beside)

    def read(self, number: int, frame: bytes, beside: bool) -> list[Event]:
        session = self.sessions[number]
        return session.switched(frame, self.now) if beside else session.receive(frame, self.now)

    @property
    def idle(self) -> bool:
        return not self._up and not self._down

    # --- The owners ---

    def _take(self, number: int, frame: bytes) -> None:
        match decode_client_message(frame):
            case Op() as op:
                self._submit(number, op)
            case Catchup(s=name, from_=after, composed=composed):
                log = self.logs[name]
                self.say(number, *([self._composed(log, after)] if composed else log.messages(after)))
                self.say(number, encode_message(log.head))
            case Fetch(s=name):
                self.say(number, self._snapshot(name))
            case Ping():
                self.say(number, encode_message(Pong()), *(encode_message(log.head) for log in self.logs.values()))
            case message:
                raise AssertionError(message)

    def _submit(self, number: int, op: Op) -> None:
        log, client = self.logs[op.s], self.sessions[number].client_id
        assert log.owner is not None
        outcome = log.owner.submit(Submission(client, op.cseq, op.base, "user", "writer", bytes(op.delta)), 0)
        if isinstance(outcome, Known) and outcome.revision <= log.owner.committed_revision:
            self.say(number, *log.messages(op.base))
        elif isinstance(outcome, Refused):
            assert outcome.code.value == "stale", outcome
            nack = Nack(op.s, op.cseq, outcome.code, outcome.message, outcome.code.retry)
            self.say(number, encode_message(nack))

    def commit(self, name: str) -> None:
        """The batch under way arrives in the log and is published; or the next one is frozen."""
        log = self.logs[name]
        owner = log.owner
        assert owner is not None
        if owner.unanswered is None:
            owner.freeze(f"{log.epoch}-{len(log.entries)}")
            return
        batch = owner.unanswered
        owner.committed()
        log.entries += batch.entries
        for number in range(len(self.sessions)):
            self.say(number, decode_batch(batch.published)[1])

    def _composed(self, log: Log, after: int) -> bytes:
        delta = compose_all([_delta(entry) for entry in log.entries[after:]])
        head = log.head
        return encode_message(CaughtUp(log.id, after, head.rev, head.epoch, msgspec.Raw(encode(delta))))

    def _snapshot(self, name: str) -> bytes:
        log = self.logs[name]
        raw = msgspec.Raw(encode(log.content()))
        return encode_message(Snapshot(name, log.head.rev, log.head.epoch, log.next, None, raw))

    # --- The end ---

    def heal(self) -> None:
        """No more faults: until everything is settled and everybody has read everything."""
        self.healed = True
        for number, session in enumerate(self.sessions):
            if not session.joined:  # what joining asks for is lost with its connection only
                self.connect(number)
        for _ in range(2_000):
            self.now += 0.5
            for session in self.sessions:
                session.tick(self.now)
            for name in self.logs:
                self.commit(name)
                self.commit(name)
            while not self.idle:
                self.move()
            self.move()
            if self.level and self.idle:
                return
            self._down += [
                (number, encode_message(log.head)) for number in range(len(self.sessions)) for log in self.logs.values()
            ]
        raise AssertionError("they never settle")

    @property
    def level(self) -> bool:
        return all(
            session.joined
            and session.settled
            and all(session.revision(log.id) == log.head.rev for log in self.logs.values())
            for session in self.sessions
        )

    def text(self) -> str:
        return "".join(log.content().text() for log in self.logs.values())
