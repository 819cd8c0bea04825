"""Activation: step the epoch, then rebuild a section from its newest snapshot, Postgres's chunks and the stream.

The script's answer fixes the head. Everything up to it must be found without a gap, or the activation is refused: a
hole is never served. The cost depends on the snapshot interval, not on the age of the document.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from coscribe.batch import LogEntry
from coscribe.names import SectionKey
from coscribe.ot import OWN_LIMITS, Content, decode
from coscribe.section import SectionState, newborn, replay
from persistence.records import Activation, Durable, Log, LogFork, Store, StoredSnapshot, Unavailable

_TRIES: Final = 3  # a flush and a trim by the old owner between two reads shows as a gap, once


@dataclass(frozen=True, slots=True)
class Activated:
    epoch: int
    state: SectionState
    durable: Durable
    snapshot_revision: int


async def activate(key: SectionKey, log: Log, store: Store, keep: int) -> Activated:
    """Become the owner under a new epoch. `keep` entries are remembered for late operations.

    Raises Unavailable when a store does not answer or the run of entries has a hole, LogFork when its epochs fall."""
    durable = await store.durable(key)
    claimed = await log.activate(key, durable)
    for _ in range(_TRIES):
        snapshot = await store.newest_snapshot(key)
        durable = await store.durable(key)
        if durable.revision > claimed.head:  # flushed meanwhile, from a log that has lost it since
            claimed = await log.activate(key, durable)
        start = snapshot.revision if snapshot else 0
        entries = await _entries_to_head(key, store, claimed, durable, start)
        if entries is not None:
            state = replay(await _start(key, store, snapshot, claimed), entries, keep)
            return Activated(claimed.epoch, state, durable, start)
    raise Unavailable(f"entries of section {key.section} up to revision {claimed.head} cannot be found")


async def _start(key: SectionKey, store: Store, snapshot: StoredSnapshot | None, claimed: Activation) -> SectionState:
    """The snapshot, and what is known of the entries before it: operations on their way are based on some of them."""
    if snapshot is None:
        return newborn()
    content = Content.from_delta(decode(snapshot.content, OWN_LIMITS))
    recent = tuple(entry for entry in claimed.tail if entry.revision <= snapshot.revision)
    if snapshot.revision and (
        not recent or (recent[-1].revision, recent[-1].epoch) != (snapshot.revision, snapshot.epoch)
    ):
        recent = tuple(await store.entries(key, snapshot.revision - 1, snapshot.revision))
    return SectionState(content, snapshot.revision, snapshot.epoch, snapshot.next, snapshot.sealed, recent)


async def _entries_to_head(
    key: SectionKey, store: Store, claimed: Activation, durable: Durable, start: int
) -> list[LogEntry] | None:
    """Entries start + 1 … head, or None for a gap. Where Postgres and the stream both have one, Postgres's counts:
    it got there from a stream that may have lost its tail since."""
    stored = await store.entries(key, start, durable.revision) if durable.revision > start else []
    through = stored[-1].revision if stored else start
    run = [*stored, *(entry for entry in claimed.tail if entry.revision > through)]
    if [entry.revision for entry in run] != list(range(start + 1, claimed.head + 1)):
        return None
    if any(after.epoch < before.epoch for before, after in pairwise(run)):
        raise LogFork(f"the entries of section {key.section} up to revision {claimed.head} are of two histories")
    return run
