"""Activation: step the epoch, then rebuild a section from a snapshot and the entries after it.

The script's answer fixes the head. Everything up to it must be found without a gap, or the activation is refused: a
hole is never served. The log's live snapshot and its stream are enough, and then Postgres is asked for no more than
what is durable; while it does not answer, for not even that. The cost depends on the snapshot interval, not on the age
of the document.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from coscribe.batch import LogEntry
from coscribe.names import SectionKey
from coscribe.ot import OWN_LIMITS, Content, decode
from coscribe.section import SectionState, newborn, replay
from persistence.records import (
    Activation,
    Durable,
    LiveSnapshot,
    Log,
    LogFork,
    Store,
    StoredSnapshot,
    Unavailable,
)

TRIES: Final = 3  # a flush and a trim by the old owner between two reads shows as a gap, once
PATIENCE_S: Final = 1.0  # with a Postgres that does not say what is durable, before the log alone is tried


@dataclass(frozen=True, slots=True)
class Stored:
    """What the stores hold of a section, as far as its owner knows: Postgres may hold more. `live_revision` is that of
    the log's live snapshot, None where there is none."""

    durable: Durable
    snapshot_revision: int = 0
    live_revision: int | None = None


@dataclass(frozen=True, slots=True)
class Activated:
    epoch: int
    state: SectionState
    stored: Stored


async def activate(key: SectionKey, log: Log, store: Store, keep: int) -> Activated:
    """Become the owner under a new epoch. `keep` entries are remembered for late operations.

    Raises Unavailable when a store does not answer or the run of entries has a hole, LogFork when its epochs fall."""
    durable = await _known_durable(key, store)
    claimed = await log.activate(key, durable)
    if claimed.live and (run := _run_after(claimed.live, claimed, durable)) is not None:
        state = replay(_state_at(claimed.live.snapshot, claimed.tail), run, keep)
        known = durable or claimed.live.durable
        stored = Stored(known, claimed.live.stored_revision, claimed.live.snapshot.revision)
        return Activated(claimed.epoch, state, stored)
    return await _from_store(key, log, store, claimed, keep)


async def _known_durable(key: SectionKey, store: Store) -> Durable | None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await store.durable(key)
    except (TimeoutError, Unavailable):
        return None


def _run_after(live: LiveSnapshot, claimed: Activation, durable: Durable | None) -> list[LogEntry] | None:
    """The stream's entries behind the live snapshot up to the head. None if they do not lead there, if the stream has
    not the snapshot's own entry, or if what Postgres holds is of another history: it may have got that from a stream
    which has lost its end since."""
    at = live.snapshot
    run = [entry for entry in claimed.tail if entry.revision > at.revision]
    if [entry.revision for entry in run] != list(range(at.revision + 1, claimed.head + 1)):
        return None
    epochs = {0: 0} | {entry.revision: entry.epoch for entry in claimed.tail}
    if epochs.get(at.revision) != at.epoch:
        return None
    if durable is not None and epochs.get(durable.revision, durable.epoch) != durable.epoch:
        return None
    return run


async def _from_store(key: SectionKey, log: Log, store: Store, claimed: Activation, keep: int) -> Activated:
    for _ in range(TRIES):
        snapshot = await store.newest_snapshot(key)
        durable = await store.durable(key)
        if durable.revision > claimed.head or durable.epoch >= claimed.epoch:
            # It was not known before, or flushed meanwhile from a log that has lost it since.
            claimed = await log.activate(key, durable)
        start = snapshot.revision if snapshot else 0
        run = await _entries_to_head(key, store, claimed, durable, start)
        if run is not None:
            state = replay(await _start(key, store, snapshot, claimed), run, keep)
            live_revision = claimed.live.snapshot.revision if claimed.live else None
            return Activated(claimed.epoch, state, Stored(durable, start, live_revision))
    raise Unavailable(f"entries of section {key.section} up to revision {claimed.head} cannot be found")


async def _start(key: SectionKey, store: Store, snapshot: StoredSnapshot | None, claimed: Activation) -> SectionState:
    """The snapshot, and what is known of the entries before it: operations on their way are based on some of them."""
    if snapshot is None:
        return newborn()
    known = {entry.revision: entry.epoch for entry in claimed.tail}
    if snapshot.revision and known.get(snapshot.revision) != snapshot.epoch:
        return _state_at(snapshot, await store.entries(key, snapshot.revision - 1, snapshot.revision))
    return _state_at(snapshot, claimed.tail)


def _state_at(snapshot: StoredSnapshot, entries: Sequence[LogEntry]) -> SectionState:
    """Those of the entries that led to it are remembered."""
    content = Content.from_delta(decode(snapshot.content, OWN_LIMITS))
    recent = tuple(entry for entry in entries if entry.revision <= snapshot.revision)
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
