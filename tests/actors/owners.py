"""One owner on a log and a store in memory, and routers that keep what it answers."""

from dataclasses import dataclass, field
from typing import Any

from msgspec import json

from actors.activation import Stored
from actors.backlog import Backlog
from actors.section_actor import Clock, SectionActor
from coscribe import link
from coscribe.batch import LogEntry
from coscribe.names import SectionKey
from coscribe.ot import Limits
from coscribe.section import Section, SectionState, WindowLimits, newborn, replay
from persistence.records import Durable
from tests.actors.stores import MemoryLog, MemoryStore
from tests.support.virtual_time import until_idle

KEY = SectionKey("notes", "life1", "0")
ANN, BOB, CAT = "client-ann", "client-bob", "client-cat"


@dataclass
class Time:
    """The wall clock of the owners, which goes on only when told to."""

    ms: int = 1_000
    ids: int = 0

    def clock(self) -> Clock:
        return Clock(lambda: self.ms, lambda: 0.5, self._id)

    def _id(self) -> str:
        self.ids += 1
        return f"batch-{self.ids}"


@dataclass
class Owner:
    """An active section. `said` is what routers were answered, in order."""

    log: MemoryLog = field(default_factory=MemoryLog)
    store: MemoryStore = field(default_factory=MemoryStore)
    time: Time = field(default_factory=Time)
    window: WindowLimits = field(default_factory=WindowLimits)
    backlog: Backlog = field(default_factory=lambda: Backlog(2**30))
    said: list[link.ToRouter] = field(default_factory=list)
    gone: list[SectionActor] = field(default_factory=list)
    requests: int = 0

    def __post_init__(self) -> None:
        self.actor = self.activate()

    def activate(self, state: SectionState | None = None) -> SectionActor:
        """Take the section over, as a host would."""
        stream = self.log.stream(KEY)
        stream.epoch += 1
        state = state or replay(newborn(), list(stream.entries), 1_000)
        section = Section(KEY, stream.epoch, state, Limits(), self.window)
        return SectionActor(
            section, Stored(Durable(0, 0)), self.log, self.store, self.time.clock(), self.gone.append, self.backlog
        )

    def reply(self, message: link.ToRouter) -> None:
        self.said.append(message)

    def submit(self, delta: list[Any], base: int = 0, cseq: int = 1, client: str = ANN, ref: int = 1) -> link.Submit:
        message = link.Submit(KEY, ref, client, cseq, base, "user", "writer", json.encode(delta))
        self.actor.submit(message, self.reply)
        return message

    async def typed(self, count: int, client: str = ANN, first: int = 1) -> None:
        """So many operations, all committed."""
        for cseq in range(first, first + count):
            self.submit(["x"], self.actor.section.committed_revision, cseq, client)
            await until_idle()
        assert self.actor.section.unanswered is None

    def ask(self) -> int:
        self.requests += 1
        return self.requests

    def take(self) -> list[link.ToRouter]:
        """What was said since the last look."""
        said, self.said = self.said, []
        return said

    @property
    def logged(self) -> list[LogEntry]:
        return self.log.committed(KEY)


def moved(message: link.Submit) -> link.Moved:
    return link.Moved(message.key, message.ref, message.client, message.cseq)


def duplicate(message: link.Submit, revision: int) -> link.Duplicate:
    return link.Duplicate(message.key, message.ref, message.client, message.cseq, revision)


def codes(said: list[link.ToRouter]) -> list[str]:
    """The codes of refusals."""
    found = []
    for each in said:
        assert isinstance(each, link.Refusal | link.Refused), each
        found.append(each.code if isinstance(each, link.Refused) else each.code.value)
    return found
