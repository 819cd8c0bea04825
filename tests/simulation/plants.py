"""Faults of our own, planted into the product or the stores, to see that the checkers find what they are there for.

Each breaks one rule. A checker that cannot tell a run with one of them from a good one checks nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from actors import activation
from actors.host import ShardHost
from actors.lease import Stage, Term
from actors.section_actor import SectionActor
from coscribe.batch import Batch, BatchHeader
from coscribe.names import SectionKey
from coscribe.section import ContentAt, Known, Prepared, Section, WindowLimits
from coscribe.session import Session
from persistence.flusher import Flusher
from persistence.records import Activation, Answer, DirtyMark, Durable, LogEntry
from router.room import Room, _Held
from tests.simulation.redis_server import RedisServer, SectionLog

Planted = Callable[[], AbstractContextManager[None]]
TWO_OWNERS = ("ambush", "pause host", "abandon host", "slow map")


@dataclass(frozen=True, slots=True)
class Plant:
    """`faults` bring it out; without any, a run has its own. `changes` are made to the plan."""

    planted: Planted
    faults: tuple[str, ...]
    changes: Mapping[str, object]


PLANTS: dict[str, Plant] = {}


def plant(*faults: str, **changes: object) -> Callable[[Callable[[], Iterator[None]]], None]:
    def register(wrong: Callable[[], Iterator[None]]) -> None:
        PLANTS[wrong.__name__] = Plant(contextmanager(wrong), faults, changes)

    return register


@plant(*TWO_OWNERS, lease_ttl_s=1.0, edit_every_s=0.15, hosts=3, routers=2)
def no_fencing() -> Iterator[None]:
    """The log takes whatever an older owner sends."""
    original = RedisServer._refusal

    def refusal(self: RedisServer, log: SectionLog, batch: Batch) -> Answer | None:
        return None if batch.epoch < log.epoch else original(self, log, batch)

    with patch.object(RedisServer, "_refusal", refusal):
        yield


@plant("pause host", "abandon host", "no controller", lease_ttl_s=1.0, edit_every_s=0.15, hosts=3, routers=2)
def goes_on_after_the_hard_stop() -> Iterator[None]:
    """A host whose lease is over goes on committing, and no epoch fences it."""
    with (
        PLANTS["no_fencing"].planted(),
        patch.object(Term, "stage", lambda self, now: Stage.HELD),
        patch.object(Term, "left_s", lambda self, now: None),
        patch.object(ShardHost, "suspend", lambda self: None),
    ):
        yield


@plant("redis loses", "trap")
def no_batch_id() -> Iterator[None]:
    """The log does not see that a batch is there already, nor where it belongs: whatever comes is appended."""

    def refusal(self: RedisServer, log: SectionLog, batch: Batch) -> Answer | None:
        return Answer.FENCED if log.epoch > batch.epoch else None

    with patch.object(RedisServer, "_refusal", refusal):
        yield


@plant("cut link", "crash router", "redis loses")
def no_dedup() -> Iterator[None]:
    """The owner takes an operation again that it has accepted."""
    original = Section.submit

    def submit(self: Section, *arguments: Any) -> Any:
        self._latest.clear()
        return original(self, *arguments)

    with patch.object(Section, "submit", submit):
        yield


@plant("cut link", "cut socket", "crash router", window=WindowLimits(entries=2, min_age_ms=0, hard_entries=4))
def dedup_by_the_window_alone() -> Iterator[None]:
    """A base before the history window is not refused but taken as its start."""
    original = Section.submit

    def submit(self: Section, op: Any, now_ms: int) -> Any:
        return original(self, replace(op, base=max(op.base, self.window_start)), now_ms)

    with patch.object(Section, "submit", submit):
        yield


@plant("bus drops", "bus cut")
def ignores_gaps() -> Iterator[None]:
    """A room passes on whatever comes, in the order in which it comes."""

    def batch(self: Room, header: BatchHeader, body: bytes) -> None:
        if self.head is None:
            self.position(header.first - 1, header.epoch)
        assert self.head is not None
        if header.last > self.head:
            self._append(_Held(header.first, header.last, header.epoch, body), header.authors)

    with patch.object(Room, "_batch", batch), patch.object(Room, "repair", lambda self: None):
        yield


@plant("cut link", "cut socket", "crash router")
def resends_under_a_new_cseq() -> Iterator[None]:
    original = Session._submit

    def submit(self: Session, copy: Any, now: float) -> None:
        if copy.in_flight.sent_at < now:
            self.cseq += 1
            copy.in_flight.cseq = self.cseq
        original(self, copy, now)

    with patch.object(Session, "_submit", submit):
        yield


@plant()
def trims_before_it_is_stored() -> Iterator[None]:
    original = Flusher.flush_section

    async def flush_section(self: Flusher, key: SectionKey, *arguments: Any) -> Durable:
        state = await self._log.state(key)
        if state is not None:
            await self._log.trim(key, state.revision - 1)
        return await original(self, key, *arguments)

    with patch.object(Flusher, "flush_section", flush_section):
        yield


@plant()
def acknowledges_before_the_log() -> Iterator[None]:
    """The owner says of a duplicate that it is in the log when it is only on its way there."""
    original = Section.submit

    def submit(self: Section, *arguments: Any) -> Any:
        outcome = original(self, *arguments)
        return Known(0) if isinstance(outcome, Prepared) else outcome

    with patch.object(Section, "submit", submit):
        yield


@plant("redis slow", "open tab", "close tab", "crash router")
def shows_what_is_not_committed() -> Iterator[None]:
    """A snapshot of what is prepared."""

    def snapshot(self: Section, least: int) -> ContentAt:
        return ContentAt(self.revision, self.committed_epoch, self._mainline.content.encode())

    with patch.object(Section, "snapshot", snapshot):
        yield


@plant("redis slow")
def takes_a_base_it_does_not_know() -> Iterator[None]:
    """An operation based on what another owner accepted is taken as one based here."""
    original = Section.submit

    def submit(self: Section, op: Any, now_ms: int) -> Any:
        return original(self, replace(op, base=min(op.base, self.committed_revision)), now_ms)

    with patch.object(Section, "submit", submit):
        yield


@plant("crash host", "leave host")
def activates_without_the_tail() -> Iterator[None]:
    """The next owner starts from a snapshot and what Postgres has after it."""
    original = activation._entries_to_head

    async def entries(key: SectionKey, store: Any, claimed: Activation, *rest: Any) -> list[LogEntry] | None:
        durable = rest[0]
        return await original(key, store, replace(claimed, head=durable.revision, tail=()), *rest)

    with patch.object(activation, "_entries_to_head", entries), patch.object(activation, "_run_after", lambda *_: []):
        yield


@plant("cut link", "crash host")
def never_resends() -> Iterator[None]:
    """Neither the router nor the client sends an operation again."""
    from router.place import Place

    original = Session._submit

    def submit(self: Session, copy: Any, now: float) -> None:
        if copy.in_flight.sent_at >= now:
            original(self, copy, now)
        else:
            copy.in_flight.retry_at = now + 5.0

    with (
        patch.object(Session, "_submit", submit),
        patch.object(Place, "resend_by", lambda self, time: None),
        patch("router.connection.RESEND_AFTER_S", 1e9),
    ):
        yield


@plant("redis loses", "redis slow", edit_every_s=0.15)
def batch_re_formed_on_retry() -> Iterator[None]:
    """A batch without an answer is sent again with what has come since, and a log that knows its id has it all."""
    original = SectionActor._commit

    async def commit(self: SectionActor, batch: Batch) -> None:
        self.section._pending.frozen = None
        await original(self, self.section.freeze(batch.id) or batch)

    refused = RedisServer._refusal

    def refusal(self: RedisServer, log: SectionLog, batch: Batch) -> Answer | None:
        return Answer.DUP if log.batch == batch.id else refused(self, log, batch)

    with patch.object(SectionActor, "_commit", commit), patch.object(RedisServer, "_refusal", refusal):
        yield


@plant("lost tail", edit_every_s=0.15)
def lower_epoch_taken_for_fenced() -> Iterator[None]:
    """An owner whose activation the log has lost leaves, and with it what only that owner still had."""
    original = RedisServer._refusal

    def refusal(self: RedisServer, log: SectionLog, batch: Batch) -> Answer | None:
        return Answer.FENCED if log.epoch < batch.epoch else original(self, log, batch)

    with patch.object(RedisServer, "_refusal", refusal):
        yield


@plant("redis slow", edit_every_s=0.15)
def clears_the_dirty_mark_blindly() -> Iterator[None]:
    """Whatever the token: also the mark of what was appended since."""

    def clear_dirty(self: RedisServer, mark: DirtyMark) -> bool:
        if self.marks.pop(mark.key, None) and self.witness:
            self.witness.unmarked(mark.key)
        return True

    with patch.object(RedisServer, "clear_dirty", clear_dirty):
        yield


@plant()
def sets_no_dirty_mark() -> Iterator[None]:
    """What is appended stands in no index."""

    async def ensure(self: SectionActor, batch: Batch) -> None:
        return

    with patch.object(SectionActor, "_ensure_dirty", ensure):
        yield


@plant()
def wrong_tie() -> Iterator[None]:
    """A client leaves the other's text on the left where the owner puts it on the right."""
    from coscribe.session import SectionCopy

    def rebase(self: SectionCopy, received: Any) -> Any:
        if self.in_flight:
            mine = self.in_flight.delta
            self.in_flight.delta = received.transform(mine, True)
            received = mine.transform(received, False)
        buffer = self.buffer
        self.buffer = received.transform(buffer, True)
        return buffer.transform(received, False)

    with patch.object(SectionCopy, "rebase", rebase):
        yield
