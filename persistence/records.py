"""What is written and read, and the interfaces that say how: one for each store, implemented on the real part and,
for the simulator, on a simulated one. One contract suite (tests/persistence) runs on every implementation.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from coscribe.batch import Batch as Batch
from coscribe.batch import LogEntry as LogEntry
from coscribe.names import SectionKey


class Unavailable(Exception):
    """The store could not be reached, or refused for a reason that passes. The outcome of a write is unknown."""


class LogHole(Exception):
    """Entries are missing between what the long-term store holds and what the log still has. Nothing is skipped."""


class LogFork(Exception):
    """The log's next entry is of an older epoch than what the long-term store holds: one revision, two contents."""


class ConfigurationError(Exception):
    """What was given does not do. The text says to the operator what is wrong and what to do."""


MAX_BATCH_ENTRIES: Final = 500
MAX_BATCH_BYTES: Final = 1_000_000
"""What one batch carries at most, for its script blocks the server: so many entries, and so many bytes of entries
(one entry alone may be longer). The owner keeps to it."""


class Answer(Enum):
    """What the commit script says. See docs/architecture.md, "The way of one edit"."""

    OK = "OK"
    DUP = "DUP"  # this batch id is in
    FENCED = "FENCED"  # a higher epoch is stored, or the keys are missing: passivate
    LOST = "LOST"  # a lower epoch is stored, or the stream ends before the batch's base
    AHEAD = "AHEAD"  # the stream goes beyond the batch's base


@dataclass(frozen=True, slots=True)
class LogState:
    """What the log says of a section: the epoch of its owner (not of its last entry), and its last revision."""

    epoch: int
    revision: int


@dataclass(frozen=True, slots=True)
class DirtyMark:
    """A section that has entries which Postgres may lack, and the token under which it was marked."""

    key: SectionKey
    token: str


@dataclass(frozen=True, slots=True)
class Durable:
    """What Postgres holds of a section: every entry up to `revision`, written by owners up to `epoch`."""

    revision: int
    epoch: int


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """A section at a revision. `content` is the compact delta of the wire; `next` and `sealed` as in its Snapshot."""

    revision: int
    epoch: int
    next: str | None
    sealed: str | None
    content: bytes


@dataclass(frozen=True, slots=True)
class LiveSnapshot:
    """A snapshot in the log beside the entries, so that the next owner needs no long-term store. It is behind neither
    the entries that are trimmed there, nor what its writer knew to be in Postgres: `durable`, and a snapshot at
    `stored_revision`."""

    snapshot: StoredSnapshot
    durable: Durable
    stored_revision: int


@dataclass(frozen=True, slots=True)
class Activation:
    """What the activation script found. `tail` is the whole stream, without a gap in itself, oldest first."""

    epoch: int
    head: int
    tail: tuple[LogEntry, ...]
    live: LiveSnapshot | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """One life of a document. `created_ms` is server time."""

    id: str
    incarnation: str
    organisation: str
    created_by: str
    created_ms: int
    deleted: bool = False


class Log(Protocol):
    """The durable order of every section, as owners use it. Every method raises Unavailable."""

    async def activate(self, key: SectionKey, durable: Durable | None) -> Activation:
        """Step the epoch to max(stored + 1, Redis time in ms, durable.epoch + 1) and read the tail and the live
        snapshot, in one script.

        `head` is the last revision ever generated, not lower than durable.revision. Where the long-term store does not
        say what is durable (None), only a section with a live snapshot is activated; Unavailable for another."""

    async def reclaim(self, key: SectionKey, durable: Durable, epoch: int, token: str) -> Activation | None:
        """The same for the owner of `epoch`, whose log has lost its end; None if the section has had another owner
        since. Safe to repeat under the same token, which is this owner's."""

    async def commit(self, key: SectionKey, batch: Batch) -> Answer:
        """Append and publish in one script. Calls of one section must not overlap; those of many share round trips."""

    async def announce(self, key: SectionKey, published: bytes) -> None:
        """Publish a head (a batch without entries), so that routers which missed something see it."""

    async def mark_dirty(self, key: SectionKey, token: str) -> None: ...

    async def clear_dirty(self, mark: DirtyMark) -> bool:
        """Remove the mark if its token is unchanged; False if it was."""

    async def dirty(self) -> Sequence[DirtyMark]: ...

    async def unreleased(self) -> Sequence[SectionKey]:
        """Some sections whose keys are not set to expire."""

    async def read(self, key: SectionKey, after: int, limit: int) -> Sequence[LogEntry]:
        """Entries with a revision above `after`, oldest first, `limit` at most. The first may be above `after` + 1:
        what lies between was trimmed."""

    async def state(self, key: SectionKey) -> LogState | None:
        """Where the log ends and whose it is: so an owner sees that there is a newer one. None when the keys are
        missing."""

    async def keep_live(self, key: SectionKey, epoch: int, live: LiveSnapshot | None) -> bool:
        """Keep it in place of the one before, or none (None). False, and nothing is changed, if `epoch` is not the
        section's, if the log does not reach the snapshot's revision, or if there is a newer one."""

    async def trim(self, key: SectionKey, through: int) -> None:
        """Forget entries up to and with revision `through`. The caller knows that Postgres holds them."""

    async def release(self, key: SectionKey, state: LogState, idle_ms: int) -> bool:
        """Let the section's keys expire after `idle_ms`, if its log is still in this state; False if not.

        The caller knows that Postgres holds every entry up to state.revision. state.epoch is its own, or the one that
        `state` said. This steps the epoch: whoever still believes to own the section is fenced, for what he would
        append to keys that are about to expire would be lost."""


class Store(Protocol):
    """The long-term store. Every method raises Unavailable."""

    async def create_document(self, document: Document) -> Document:
        """The document as it is stored: the given one, or the one that was there under this id (not deleted or not)."""

    async def document(self, document_id: str) -> Document | None: ...

    async def delete_document(self, document_id: str, now_ms: int) -> Document | None:
        """Mark it as deleted; what it held stays. Returns it as it is now, None if there was none."""

    async def durable(self, key: SectionKey) -> Durable:
        """Durable(0, 0) for a section that was never flushed."""

    async def flush(self, key: SectionKey, entries: Sequence[LogEntry]) -> bool:
        """Append a run of entries: in one transaction, compare-and-set durable revision = first - 1, epoch not lower.

        False when the comparison failed: read `durable` and go on from there."""

    async def entries(self, key: SectionKey, after: int, through: int) -> Sequence[LogEntry]:
        """Entries after + 1 … through, as far as they are stored, oldest first, without a gap."""

    async def save_snapshot(self, key: SectionKey, snapshot: StoredSnapshot) -> None:
        """Keep it unless a newer one is there. It must not be ahead of the durable revision."""

    async def newest_snapshot(self, key: SectionKey) -> StoredSnapshot | None: ...


class LogReader(Protocol):
    """What a router reads of the log. Every method raises Unavailable."""

    async def read(self, key: SectionKey, after: int, limit: int) -> Sequence[LogEntry]: ...

    async def heads(self, keys: Sequence[SectionKey]) -> Sequence[tuple[int, int] | None]:
        """(revision, epoch of that revision's entry) of each section's log, None where its keys are missing."""


Published = Callable[[str, bytes], None]
"""Called with channel and bytes, in order. Must not block; must not raise."""

Interrupted = Callable[[str], None]
"""Called with a channel whose subscription was renewed: messages may have been lost."""


class Bus(Protocol):
    """Pub/sub. At most once, in order a channel; a gap shows by revisions or by `interrupted`."""

    def listen(self, published: Published, interrupted: Interrupted) -> None:
        """Set the two receivers, once, before the first subscribe."""

    async def subscribe(self, channel: str) -> None:
        """Returns once the subscription is in force."""

    async def unsubscribe(self, channel: str) -> None: ...

    async def publish(self, channel: str, message: bytes) -> None: ...


class MapStore(Protocol):
    """The cluster map and the hosts' leases."""

    async def read(self) -> bytes | None: ...

    async def write(self, view: int, encoded: bytes) -> bool:
        """Write the map of view `view` if the stored one has view - 1 (or is missing and view is 1), and publish
        the new view on the notice channel. False when another was faster."""

    async def renew_lease(self, host: str, instance: str, ttl_ms: int) -> bool:
        """True while the lease is free or held by this instance."""

    async def drop_lease(self, host: str, instance: str) -> None: ...

    async def leases(self, hosts: Sequence[str]) -> Sequence[str | None]:
        """The instance that holds each host's lease, None where it ran out."""


class RouterStore(Protocol):
    """What routers say of themselves. It decides no edit: whoever cannot ask goes on without it."""

    async def say(self, router: str, encoded: bytes | None, ttl_ms: int) -> Mapping[str, bytes]:
        """Keep what a router says for so long (None: it leaves); returns what all of them have said, by router. Raises
        Unavailable."""


Sleep = Callable[[float], Awaitable[None]]
