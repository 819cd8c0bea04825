"""Does taking over a section get slower as its history grows? Two sections of one size, with ten thousand and a million
entries behind them, activated in turn on the real stores."""

import secrets
import statistics
import time
from collections.abc import Callable
from typing import Final

from actors.activation import activate
from coscribe.batch import LogEntry
from coscribe.names import SectionKey
from coscribe.ot import Delta, encode
from coscribe.protocol import op_entry
from persistence.log import RedisLog
from persistence.records import Document, StoredSnapshot
from persistence.store import PostgresStore

HISTORIES: Final = (10_000, 1_000_000)
TEXT_UNITS: Final = 100_000
SINCE_SNAPSHOT: Final = 200
CHUNK: Final = 1_000
ROUNDS: Final = 30
KEEP: Final = 4_096


async def activation_seconds(store: PostgresStore, log: RedisLog, advance: Callable[[int], None]) -> dict[int, float]:
    """Median seconds of an activation, by the number of entries behind it. `advance` hears of entries written."""
    keys = {entries: await _section(store, entries, advance) for entries in HISTORIES}
    seconds: dict[int, list[float]] = {entries: [] for entries in HISTORIES}
    for _ in range(ROUNDS):
        for entries, key in keys.items():
            started = time.perf_counter()
            activated = await activate(key, log, store, KEEP)
            seconds[entries].append(time.perf_counter() - started)
            assert activated.state.revision == entries, "the whole history counts"
    return {entries: statistics.median(found) for entries, found in seconds.items()}


async def _section(store: PostgresStore, entries: int, advance: Callable[[int], None]) -> SectionKey:
    """A document whose text is put in and then typed at and taken back, over and over."""
    name = f"history-{entries}-{secrets.token_hex(4)}"
    document = await store.create_document(Document(name, secrets.token_hex(8), "", "ann", 0))
    key = SectionKey(name, document.incarnation, "0")
    text = Delta.replace(0, 0, "lorem ipsum " * (TEXT_UNITS // 12))
    changes = [encode(Delta.replace(7, 0, "x")), encode(Delta.replace(7, 1, ""))]

    def entry(revision: int) -> LogEntry:
        delta = encode(text) if revision == 1 else changes[revision % 2]
        return LogEntry(revision, 1, revision, "ann", op_entry("a", revision, delta))

    for first in range(1, entries + 1, CHUNK):
        assert await store.flush(key, [entry(revision) for revision in range(first, first + CHUNK)])
        advance(CHUNK)
    revision = entries - SINCE_SNAPSHOT  # even, like the histories: nothing is typed at that is not taken back but one
    content = Delta.replace(0, 0, "\n").compose(text).compose(Delta.replace(7, 0, "x"))
    await store.save_snapshot(key, StoredSnapshot(revision, 1, None, None, encode(content)))
    return key
