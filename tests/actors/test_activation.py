"""What an owner starts from, by what Postgres and the stream hold of the section. A hole is never served."""

import asyncio
from dataclasses import dataclass, replace

import pytest

from actors.activation import Activated, activate
from coscribe.batch import LogEntry
from coscribe.names import SectionKey
from coscribe.protocol import op_entry
from persistence.records import Activation, Durable, LiveSnapshot, LogFork, StoredSnapshot, Unavailable
from tests.actors.stores import MemoryLog, MemoryStore
from tests.support.virtual_time import virtual_time

KEY = SectionKey("notes", "life1", "0")
KEEP = 100


def entry(revision: int, epoch: int = 1) -> LogEntry:
    """Revision r puts the letter r at the beginning, so content tells which entries led to it."""
    wire = op_entry("client-1", revision, b'["%s"]' % letter(revision).encode())
    return LogEntry(revision, epoch, 1_000 + revision, "ann", wire)


def letter(revision: int) -> str:
    return chr(ord("a") + revision - 1)


def text(revision: int) -> str:
    return "".join(letter(number) for number in range(revision, 0, -1)) + "\n"


def snapshot(revision: int, epoch: int = 1) -> StoredSnapshot:
    return StoredSnapshot(revision, epoch, None, None, b'["%s\\n"]' % text(revision)[:-1].encode())


@dataclass(frozen=True)
class Held:
    """What the two stores hold: entries by number, the stream from `stream` on up to `head`."""

    stream: range = range(0)
    head: int = 0
    postgres: int = 0
    snapshot: int | None = None
    live: int | None = None


CASES = {
    "a newborn": Held(),
    "nothing flushed": Held(range(1, 6), 5),
    "flushed, not trimmed": Held(range(1, 6), 5, 5),
    "flushed and trimmed": Held(range(4, 6), 5, 5),
    "half flushed": Held(range(1, 6), 5, 3),
    "trimmed up to what is flushed": Held(range(4, 6), 5, 3),
    "trimmed wholly": Held(range(0), 5, 5),
    "a snapshot at the head": Held(range(3, 6), 5, 5, 5),
    "a snapshot at the head, all trimmed": Held(range(0), 5, 5, 5),
    "a snapshot before the tail": Held(range(4, 6), 5, 4, 2),
    "a snapshot within the tail": Held(range(2, 6), 5, 4, 3),
    "a snapshot, and nothing flushed since": Held(range(4, 6), 5, 3, 3),
    "an empty snapshot at 0": Held(range(1, 3), 2, 0, 0),
    "a live snapshot at the head": Held(range(3, 6), 5, 3, 3, 5),
    "a live snapshot within the tail": Held(range(1, 6), 5, 0, None, 2),
    "a live snapshot of a newborn": Held(range(1, 6), 5, 0, None, 0),
    "a live snapshot without its own entry": Held(range(4, 6), 5, 5, 2, 3),
    "a live snapshot before a gap": Held(range(4, 6), 5, 5, 2, 2),
    "a live snapshot, and Postgres is ahead of the log": Held(range(2, 4), 3, 5, 2, 3),
    "the stream is gone": Held(range(0), 0, 5, 2),
    "Postgres is ahead of a stream that lost its tail": Held(range(2, 4), 3, 5, 2),
}


def stores(held: Held) -> tuple[MemoryLog, MemoryStore]:
    log, store = MemoryLog(), MemoryStore()
    stream = log.stream(KEY)
    stream.entries, stream.revision, stream.epoch = [entry(number) for number in held.stream], held.head, 3
    store.stored[KEY] = [entry(number) for number in range(1, held.postgres + 1)]
    if held.live is not None:
        durable = Durable(held.postgres, 1) if held.postgres else Durable(0, 0)
        stream.live = LiveSnapshot(snapshot(held.live, 1 if held.live else 0), durable, held.snapshot or 0)
    if held.snapshot is not None:
        store.snapshots[KEY] = snapshot(held.snapshot, 1 if held.snapshot else 0)
    return log, store


async def activated(held: Held) -> Activated:
    log, store = stores(held)
    return await activate(KEY, log, store, KEEP)


@pytest.mark.parametrize("held", CASES.values(), ids=CASES)
@virtual_time
async def test_all_that_exists_is_found(held: Held) -> None:
    head = max(held.head, held.postgres)
    found = await activated(held)
    assert found.epoch == 4
    assert (found.state.revision, found.state.epoch) == (head, 1 if head else 0)
    assert found.state.content.text() == text(head)
    assert found.stored.durable == (Durable(held.postgres, 1) if held.postgres else Durable(0, 0))
    assert found.stored.snapshot_revision == (held.snapshot or 0)
    recent = [each.revision for each in found.state.recent]
    assert recent == list(range(head - len(recent) + 1, head + 1))
    assert recent or not head, "the time of the last entry must be known"


@virtual_time
async def test_what_the_stream_has_from_before_the_snapshot_is_remembered() -> None:
    """Operations on their way at a hand-off are based on revisions before the snapshot, and may be duplicates of it."""
    found = await activated(Held(range(2, 6), 5, 5, 5))
    assert [each.revision for each in found.state.recent] == [2, 3, 4, 5]
    found = await activated(Held(range(2, 6), 5, 4, 4))
    assert [each.revision for each in found.state.recent] == [2, 3, 4, 5]


@virtual_time
async def test_no_more_is_remembered_than_asked_for() -> None:
    log, store = stores(Held(range(1, 9), 8, 4, 4))
    found = await activate(KEY, log, store, 3)
    assert [each.revision for each in found.state.recent] == [6, 7, 8]


@virtual_time
async def test_where_both_have_an_entry_that_of_postgres_counts() -> None:
    log, store = stores(Held(range(1, 6), 5, 3))
    store.stored[KEY][2] = replace(entry(3), entry=op_entry("client-2", 1, b'["Z"]'))
    assert (await activate(KEY, log, store, KEEP)).state.content.text() == "edZba\n"


@virtual_time
async def test_entries_of_another_history_before_the_snapshot_are_not_remembered() -> None:
    log, store = stores(Held(range(1, 6), 5, 5, 5))
    log.stream(KEY).entries = [entry(number, epoch=2) for number in range(1, 6)]
    found = await activate(KEY, log, store, KEEP)
    assert [(each.revision, each.epoch) for each in found.state.recent] == [(5, 1)]


@pytest.mark.parametrize(
    "held",
    [
        Held(range(4, 6), 5, 2),
        Held(range(4, 6), 5, 2, 2),
        Held(range(0), 5, 4),
        Held(range(0), 5),
        Held(range(1, 5), 5),
    ],
)
@virtual_time
async def test_a_hole_is_not_served(held: Held) -> None:
    with pytest.raises(Unavailable):
        await activated(held)


@virtual_time
async def test_two_histories_are_not_served() -> None:
    log, store = stores(Held(range(1, 6), 5, 3))
    store.stored[KEY] = [entry(number, epoch=2) for number in range(1, 4)]
    with pytest.raises(LogFork):
        await activate(KEY, log, store, KEEP)


@virtual_time
async def test_the_new_owner_has_its_epoch_before_it_looks() -> None:
    log, store = stores(CASES["half flushed"])
    await activate(KEY, log, store, KEEP)
    assert log.calls == ["activate 3"]
    assert store.calls.index("newest") > store.calls.index("durable")


LIVE_CASES = [name for name in CASES if name.startswith("a live snapshot")][:3]


@pytest.mark.parametrize("name", LIVE_CASES)
@virtual_time
async def test_the_log_alone_is_enough_with_a_live_snapshot(name: str) -> None:
    log, store = stores(CASES[name])
    store.down = True
    found = await activate(KEY, log, store, KEEP)
    assert log.calls == ["activate alone"]
    assert found.state.content.text() == text(5)
    assert found.stored == (await activated(CASES[name])).stored


@virtual_time
async def test_a_store_that_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    log, store = stores(CASES[LIVE_CASES[0]])

    async def silent(key: SectionKey) -> Durable:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(store, "durable", silent)
    assert (await activate(KEY, log, store, KEEP)).state.revision == 5


@pytest.mark.parametrize("name", LIVE_CASES)
@virtual_time
async def test_with_a_live_snapshot_postgres_is_asked_for_what_is_durable_alone(name: str) -> None:
    log, store = stores(CASES[name])
    await activate(KEY, log, store, KEEP)
    assert store.calls == ["durable"]


@pytest.mark.parametrize("durable", [2, 3, 4, 5])
@virtual_time
async def test_a_live_snapshot_does_not_hide_that_postgres_has_another_history(durable: int) -> None:
    log, store = stores(Held(range(1, 6), 5, durable, None, 3))
    store.stored[KEY] = [entry(number, epoch=2) for number in range(1, durable + 1)]
    if durable == 5:  # all of it is there
        assert (await activate(KEY, log, store, KEEP)).state.recent[-1].epoch == 2
    else:
        with pytest.raises(LogFork):
            await activate(KEY, log, store, KEEP)


@virtual_time
async def test_a_live_snapshot_of_another_history_than_the_log_is_not_used() -> None:
    log, store = stores(Held(range(1, 6), 5, 0, None, 3))
    log.stream(KEY).live = LiveSnapshot(snapshot(3, epoch=2), Durable(0, 0), 0)
    assert (await activate(KEY, log, store, KEEP)).state.content.text() == text(5)
    store.down = True
    with pytest.raises(Unavailable):
        await activate(KEY, log, store, KEEP)


@virtual_time
async def test_what_the_stream_has_from_before_the_live_snapshot_is_remembered() -> None:
    found = await activated(Held(range(2, 6), 5, 5, 5, 5))
    assert [each.revision for each in found.state.recent] == [2, 3, 4, 5]


@pytest.mark.parametrize("broken", ["log", "store"])
@virtual_time
async def test_a_store_that_does_not_answer(broken: str) -> None:
    log, store = stores(CASES["half flushed"])
    log.down, store.down = broken == "log", broken == "store"
    with pytest.raises(Unavailable):
        await activate(KEY, log, store, KEEP)


class Racing(MemoryLog):
    """While it is activated, the owner before still flushes, takes a snapshot and trims; or the log loses its tail."""

    def __init__(self, store: MemoryStore, loses: bool = False) -> None:
        super().__init__()
        self._store, self._loses = store, loses

    async def activate(self, key: SectionKey, durable: Durable | None) -> Activation:
        first = not any(call.startswith("activate") for call in self.calls)
        if first and self._loses:
            stream = self.stream(KEY)
            stream.entries, stream.revision = stream.entries[:2], 2
        elif first:
            self.stream(KEY).entries = [entry(5)]
        claimed = await super().activate(key, durable)
        if first:
            self._store.stored[KEY] = [entry(number) for number in range(1, 5)]
            self._store.snapshots[KEY] = snapshot(4)
        return claimed


@virtual_time
async def test_a_flush_and_a_trim_meanwhile() -> None:
    store = MemoryStore()
    log = Racing(store)
    log.stream(KEY).entries, log.stream(KEY).revision = [entry(number) for number in range(1, 6)], 5
    found = await activate(KEY, log, store, KEEP)
    assert found.state.content.text() == text(5)
    assert found.stored.durable == Durable(4, 1)


@virtual_time
async def test_a_flush_meanwhile_of_what_the_log_then_lost() -> None:
    """What Postgres holds is never given out as a revision again."""
    store = MemoryStore()
    log = Racing(store, loses=True)
    log.stream(KEY).entries, log.stream(KEY).revision = [entry(number) for number in range(1, 5)], 4
    found = await activate(KEY, log, store, KEEP)
    assert found.state.revision == 4
    assert found.state.content.text() == text(4)
    assert (log.stream(KEY).epoch, log.stream(KEY).revision) == (found.epoch, 4)
