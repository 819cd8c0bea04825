"""Flushing, snapshots, trimming, letting go and sweeping: what is due, and that nothing is forgotten too early."""

import asyncio
from dataclasses import dataclass, field, replace

import pytest
from structlog.testing import capture_logs

from actors.section_actor import SectionActor
from actors.upkeep import Upkeep, UpkeepSettings
from cluster.ring import Ring
from coscribe import link
from coscribe.names import SectionKey
from persistence.records import Durable, LogHole, StoredSnapshot, Unavailable
from tests.actors.maps import Bench, cluster_map, op
from tests.actors.owners import KEY
from tests.support.virtual_time import until_idle, virtual_time

SETTINGS = UpkeepSettings(snapshot_entries=10, snapshot_quiet_ms=5_000, idle_ms=60_000)
OTHER = SectionKey("letters", "life1", "0")


@dataclass
class Kept(Bench):
    """A host with its upkeep."""

    settings: UpkeepSettings = field(default_factory=lambda: SETTINGS)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.upkeep = Upkeep(self.host, self.log, self.store, lambda: Ring(self.present), self.settings)

    async def typed(self, count: int, key: SectionKey = KEY) -> None:
        first = len(self.log.committed(key)) + 1
        for cseq in range(first, first + count):
            await self.receive(op(cseq, key=key))
        await until_idle()

    def actor(self, key: SectionKey = KEY) -> SectionActor:
        return self.host.sections[key]

    def quiet(self) -> None:
        self.time.ms += SETTINGS.snapshot_quiet_ms


# --- Flushing ---


@virtual_time
async def test_what_is_committed_is_flushed_and_unmarked() -> None:
    kept = Kept()
    await kept.typed(3)
    await kept.upkeep.flush_all()
    assert [entry.revision for entry in kept.store.stored[KEY]] == [1, 2, 3]
    assert kept.actor().durable == Durable(3, 1)
    assert kept.log.marks == {}
    calls = len(kept.store.calls)
    await kept.upkeep.flush_all()
    assert len(kept.store.calls) == calls


@virtual_time
async def test_what_is_on_its_way_is_not() -> None:
    kept = Kept()
    await kept.typed(3)
    kept.log.hold()
    await kept.receive(op(4))
    await until_idle()
    await kept.upkeep.flush_all()
    assert len(kept.store.stored[KEY]) == 3
    assert KEY in kept.log.marks
    kept.log.release_held()
    await until_idle()
    await kept.upkeep.flush_all()
    assert len(kept.store.stored[KEY]) == 4
    assert kept.log.marks == {}


@virtual_time
async def test_what_the_owner_before_left_is_flushed_too() -> None:
    kept = Kept()
    await kept.typed(3)
    kept.actor().leave("handed off")
    await kept.receive(link.FetchAcked(KEY, 1, "client-ann"))
    await until_idle()
    await kept.upkeep.flush_all()
    assert len(kept.store.stored[KEY]) == 3


@virtual_time
async def test_while_the_store_is_down_editing_goes_on_and_everything_is_flushed_later() -> None:
    kept = Kept()
    await kept.typed(1)
    kept.store.down = True
    await kept.upkeep.flush_all()
    await kept.typed(5)
    await kept.upkeep.flush_all()
    assert KEY in kept.log.marks
    kept.store.down = False
    await kept.upkeep.flush_all()
    assert len(kept.store.stored[KEY]) == 6
    assert kept.log.marks == {}


async def typing(kept: Kept, seconds: float) -> None:
    """Two keys a second, and the look at what is due with each."""
    for _ in range(round(seconds * 2)):
        kept.time.ms += 500
        await kept.typed(1)
        await kept.upkeep.settle_due()


@virtual_time
async def test_who_types_is_written_down_now_and_then_and_who_rests_soon() -> None:
    kept = Kept(settings=UpkeepSettings())
    await kept.receive(link.FetchAcked(KEY, 1, "client-ann"))
    await until_idle()
    await kept.upkeep.settle_due()
    await typing(kept, 10)
    assert KEY not in kept.store.stored
    await typing(kept, 1)
    assert len(kept.store.stored[KEY]) == 21
    await typing(kept, 4)
    assert len(kept.store.stored[KEY]) == 21
    kept.time.ms += 1_000
    await kept.upkeep.settle_due()
    assert len(kept.store.stored[KEY]) == 30


@virtual_time
async def test_many_entries_do_not_wait_to_be_written_down() -> None:
    kept = Kept(settings=UpkeepSettings(flush_entries=10))
    await kept.receive(link.FetchAcked(KEY, 1, "client-ann"))
    await until_idle()
    await kept.upkeep.settle_due()
    await kept.typed(9)
    await kept.upkeep.settle_due()
    assert KEY not in kept.store.stored
    await kept.typed(1)
    await kept.upkeep.settle_due()
    assert len(kept.store.stored[KEY]) == 10


@virtual_time
async def test_long_entries_do_not_wait_either() -> None:
    kept = Kept(settings=UpkeepSettings(flush_bytes=1_000))
    await kept.typed(10)
    await kept.upkeep.settle_due()
    assert len(kept.store.stored[KEY]) == 10


@pytest.mark.parametrize("trouble", [Unavailable("down"), LogHole("a hole"), LookupError("a mistake of ours")])
@virtual_time
async def test_one_section_that_cannot_be_flushed_holds_up_no_other(trouble: Exception) -> None:
    kept = Kept()
    await kept.typed(1)
    await kept.typed(1, OTHER)
    kept.store.failures.append(trouble)
    await kept.upkeep.flush_all()
    assert len(kept.store.stored) == 1
    await kept.upkeep.flush_all()
    assert set(kept.store.stored) == {KEY, OTHER}


@virtual_time
async def test_many_sections_are_flushed_a_few_at_a_time() -> None:
    kept = Kept()
    keys = [SectionKey(f"document-{number}", "life1", "0") for number in range(20)]
    for key in keys:
        await kept.typed(1, key)
    at_once, most = 0, 0
    flush = kept.store.flush

    async def counted(*given: object) -> bool:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        at_once -= 1
        return await flush(*given)  # type: ignore[arg-type]

    kept.store.flush = counted  # type: ignore[assignment]
    await kept.upkeep.flush_all()
    assert set(kept.store.stored) == set(keys)
    assert most == 4


@virtual_time
async def test_what_is_wrong_with_a_section_is_said_once() -> None:
    kept = Kept()
    await kept.typed(1)
    with capture_logs() as said:
        for _ in range(3):
            kept.store.failures.append(LogHole("a hole"))
            await kept.upkeep.flush_all()
    assert [each["error"] for each in said if each["log_level"] == "error"] == ["a hole"]


@virtual_time
async def test_entries_that_the_log_has_lost_are_found_missing_and_appended_again() -> None:
    """Though nobody types: they would be lost for good if the owner ended now."""
    kept = Kept()
    await kept.typed(4)
    stream = kept.log.stream(KEY)
    had, stream.entries, stream.revision = stream.entries, stream.entries[:1], 1
    await kept.upkeep.flush_all()
    await until_idle()
    assert kept.log.committed(KEY) == had
    await kept.upkeep.flush_all()
    assert kept.store.stored[KEY] == had
    assert not kept.actor().closed


@virtual_time
async def test_a_hole_in_a_log_that_lost_nothing_changes_no_owner() -> None:
    kept = Kept()
    await kept.typed(4)
    del kept.log.stream(KEY).entries[1]
    epoch = kept.actor().section.epoch
    await kept.upkeep.flush_all()
    await until_idle()
    assert kept.actor().section.epoch == epoch


# --- Snapshots and trimming ---


def live_revision(kept: Kept) -> int | None:
    live = kept.log.stream(KEY).live
    return live.snapshot.revision if live else None


@virtual_time
async def test_the_first_live_snapshot_comes_soon_and_the_next_after_so_many_entries() -> None:
    kept = Kept()
    await kept.receive(link.FetchAcked(KEY, 1, "client-ann"))
    await until_idle()
    await kept.upkeep.flush_all()
    assert live_revision(kept) == 0
    await kept.typed(9)
    await kept.upkeep.flush_all()
    assert live_revision(kept) == 0
    await kept.typed(1)
    await kept.upkeep.flush_all()
    assert live_revision(kept) == 10
    assert kept.store.snapshots[KEY].revision == 10


@virtual_time
async def test_without_postgres_the_live_snapshot_goes_on_and_nothing_is_trimmed() -> None:
    kept = Kept()
    await kept.typed(1)
    kept.store.down = True
    for _ in range(3):
        await kept.typed(10)
        await kept.upkeep.flush_all()
    live = kept.log.stream(KEY).live
    assert live is not None
    assert (live.snapshot.revision, live.durable, live.stored_revision) == (31, Durable(0, 0), 0)
    assert len(kept.log.committed(KEY)) == 31


@virtual_time
async def test_the_log_is_not_trimmed_beyond_the_live_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept()
    await kept.typed(10)
    await kept.upkeep.flush_all()

    async def refused(*given: object) -> bool:
        return False

    monkeypatch.setattr(kept.log, "keep_live", refused)
    await kept.typed(1_030)
    await kept.upkeep.flush_all()
    assert kept.store.snapshots[KEY].revision == 1_040
    assert kept.log.committed(KEY)[0].revision == 1


@virtual_time
async def test_what_is_too_large_has_no_live_snapshot() -> None:
    kept = Kept(settings=replace(SETTINGS, live_bytes=20))
    await kept.typed(10)
    await kept.upkeep.flush_all()
    assert live_revision(kept) == 10
    await kept.typed(10)
    await kept.upkeep.flush_all()
    assert live_revision(kept) is None
    await kept.typed(1_000)
    await kept.upkeep.flush_all()
    assert kept.log.calls.count("live none") == 1
    assert kept.log.committed(KEY)[0].revision == 21, "there is nothing that the entries before it would be needed for"


@virtual_time
async def test_a_snapshot_is_taken_after_so_many_entries() -> None:
    kept = Kept()
    await kept.typed(9)
    await kept.upkeep.flush_all()
    assert kept.store.snapshots == {}
    await kept.typed(1)
    await kept.upkeep.flush_all()
    # The one that was made for the log, which is not far behind.
    assert kept.store.snapshots[KEY] == StoredSnapshot(9, 1, None, None, b'["987654321\\n"]')
    assert kept.actor().snapshot_revision == 9


@virtual_time
async def test_and_when_a_section_has_been_quiet() -> None:
    kept = Kept()
    await kept.typed(1)
    await kept.upkeep.flush_all()
    assert kept.store.snapshots == {}
    kept.quiet()
    await kept.upkeep.flush_all()
    assert kept.store.snapshots[KEY].revision == 1
    kept.quiet()
    await kept.upkeep.flush_all()
    assert kept.store.calls.count("snapshot 1") == 1


@virtual_time
async def test_a_busy_section_has_its_snapshot_of_what_is_committed() -> None:
    kept = Kept()
    await kept.typed(10)
    kept.log.hold()
    await kept.receive(op(11))
    await until_idle()
    await kept.receive(op(12))
    await kept.upkeep.flush_all()
    assert kept.store.snapshots == {}  # asked for; it comes with a commit
    kept.log.release_held()
    await until_idle()
    await kept.upkeep.flush_all()
    assert kept.store.snapshots[KEY].revision == 12
    assert kept.store.snapshots[KEY].content == b'["210987654321\\n"]'


@virtual_time
async def test_a_snapshot_is_never_ahead_of_what_is_flushed() -> None:
    kept = Kept()
    await kept.typed(10)
    kept.store.failures.append(Unavailable("down"))
    await kept.upkeep.flush_all()
    assert kept.store.snapshots == {}
    await kept.upkeep.flush_all()
    assert kept.store.snapshots[KEY].revision == 10


@virtual_time
async def test_nor_when_people_type_while_it_is_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept()
    await kept.typed(10)
    flush, go_on = kept.store.flush, asyncio.Event()

    async def slowly(*given: object) -> bool:
        await go_on.wait()
        return await flush(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(kept.store, "flush", slowly)
    flushing = asyncio.create_task(kept.upkeep.flush_all())
    await until_idle()
    await kept.typed(3)
    go_on.set()
    await flushing
    assert kept.actor().durable.revision == 10
    assert kept.store.snapshots[KEY].revision == 10


@virtual_time
async def test_the_log_is_trimmed_behind_a_snapshot_but_for_the_newest_entries() -> None:
    kept = Kept()
    await kept.typed(10)
    await kept.typed(1_000)
    await kept.upkeep.flush_all()
    assert kept.log.committed(KEY)[0].revision == 11
    await kept.typed(5)
    await kept.upkeep.flush_all()
    assert kept.log.calls.count("trim 10") == 1


@virtual_time
async def test_an_owner_that_was_fenced_takes_no_snapshot_of_its_history() -> None:
    """The log lost entries that this owner has, and a newer one gave their revisions anew."""
    kept = Kept()
    await kept.typed(10)
    stream = kept.log.stream(KEY)
    stream.epoch = 2
    stream.entries = [replace(entry, epoch=1 + (entry.revision > 8)) for entry in stream.entries]
    await kept.upkeep.flush_all()
    assert kept.store.stored[KEY][-1].epoch == 2
    assert kept.store.snapshots == {}
    assert not kept.host.sections


# --- Letting go and sweeping ---


@virtual_time
async def test_what_is_idle_is_let_go_once_it_is_durable() -> None:
    kept = Kept()
    await kept.typed(1)
    kept.time.ms += kept.limits.idle_ms + 1
    await kept.upkeep._sweep()
    assert kept.host.has(KEY)
    await kept.upkeep.flush_all()
    await kept.upkeep._sweep()
    assert not kept.host.has(KEY)
    assert kept.log.committed(KEY) == []


@virtual_time
async def test_what_nobody_owns_is_swept_by_the_host_to_which_it_belongs() -> None:
    kept = Kept()
    await kept.typed(2)
    kept.actor().leave("its host died")
    for _ in range(2):  # found at rest twice
        await kept.upkeep._sweep()
    assert len(kept.store.stored[KEY]) == 2
    assert kept.log.marks == {}


@virtual_time
async def test_what_another_host_looks_after_is_left_to_it() -> None:
    kept = Kept()
    await kept.typed(2)
    kept.actor().leave("its host died")
    kept.present = cluster_map(2, "us", "them", notes="them")
    for _ in range(3):
        await kept.upkeep._sweep()
        await kept.upkeep._reclaim()
    assert KEY not in kept.store.stored
    assert KEY in kept.log.marks


@virtual_time
async def test_what_was_only_read_is_reclaimed() -> None:
    kept = Kept()
    await kept.receive(link.FetchSnapshot(KEY, 1))
    await until_idle()
    kept.actor().leave("handed off")
    for _ in range(2):
        await kept.upkeep._reclaim()
    assert "release 0" in kept.log.calls


# --- Running ---


@virtual_time
async def test_it_goes_on_whatever_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept(settings=UpkeepSettings(look_every_s=0.5, sweep_every_s=5.0))
    running = asyncio.create_task(kept.upkeep.run())
    await kept.typed(1)
    kept.log.down = True
    await asyncio.sleep(12)
    kept.log.down = False
    monkeypatch.setattr(kept.log, "dirty", None)
    await asyncio.sleep(12)
    assert not running.done()
    await kept.typed(1)
    kept.time.ms += 1_000
    await asyncio.sleep(1)
    assert len(kept.store.stored[KEY]) == 2
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
