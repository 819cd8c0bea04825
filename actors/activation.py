"""Activation: step the epoch, then rebuild a section from its newest snapshot, Postgres's chunks and the stream.

The script's answer fixes the head. Everything up to it must be found without a gap, or the activation is refused: a
hole is never served. The cost depends on the snapshot interval, not on the age of the document.
"""

from dataclasses import dataclass
from typing import Final

from coscribe.batch import LogEntry
from coscribe.names import SectionKey
from coscribe.ot import OWN_LIMITS, Content, decode
from coscribe.section import SectionState, newborn, replay
from persistence.records import Activation, Durable, Log, Store, StoredSnapshot, Unavailable

_TRIES: Final = 3  # a flush and a trim by the old owner between two reads shows as a gap, once


@dataclass(frozen=True, slots=True)
class Activated:
    epoch: int
    state: SectionState
    durable: Durable
    snapshot_revision: int


async def activate(key: SectionKey, log: Log, store: Store, keep: int) -> Activated:
    """Become the owner under a new epoch. `keep` entries are remembered for late operations.

    Raises Unavailable when a store does not answer or the run of entries has a hole."""
    durable = await store.durable(key)
    claimed = await log.activate(key, durable)
    for _ in range(_TRIES):
        snapshot = await store.newest_snapshot(key)
        entries = await _entries_to_head(key, store, claimed, durable, snapshot.revision if snapshot else 0)
        if entries is not None:
            state = replay(_start(snapshot), entries, keep)
            return Activated(claimed.epoch, state, durable, snapshot.revision if snapshot else 0)
        durable = await store.durable(key)
    raise Unavailable(f"entries of section {key.section} up to revision {claimed.head} cannot be found")


def _start(snapshot: StoredSnapshot | None) -> SectionState:
    if snapshot is None:
        return newborn()
    content = Content.from_delta(decode(snapshot.content, OWN_LIMITS))
    return SectionState(content, snapshot.revision, snapshot.epoch, snapshot.next, snapshot.sealed)


async def _entries_to_head(
    key: SectionKey, store: Store, claimed: Activation, durable: Durable, start: int
) -> list[LogEntry] | None:
    """Entries start + 1 … head, or None for a gap. Where Postgres and the stream both have one, Postgres's counts:
    it got there from a stream that may have lost its tail since."""
    stored = await store.entries(key, start, durable.revision) if durable.revision > start else []
    through = stored[-1].revision if stored else start
    run = [*stored, *(entry for entry in claimed.tail if entry.revision > through)]
    numbers = [entry.revision for entry in run]
    return run if numbers == list(range(start + 1, claimed.head + 1)) else None
