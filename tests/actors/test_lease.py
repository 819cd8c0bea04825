"""A host's lease runs from when it was asked for, so the host stops before anybody else may begin."""

import asyncio
from collections.abc import Callable

import pytest

from actors.lease import Evicted, HostLease, Stage, Term, boot_time, leased
from coscribe.batch import Batch, LogEntry
from persistence.records import Durable, Unavailable
from tests.actors.maps import MemoryMapStore
from tests.actors.owners import KEY
from tests.actors.stores import MemoryLog
from tests.support.virtual_time import until_idle, virtual_time

TTL_S = 3.0
NOBODY, HELD, SOFT, OVER = Term(TTL_S), Term(TTL_S, 99.0), Term(TTL_S, 97.5), Term(TTL_S, 96.0)
NOW = 100.0


@pytest.mark.parametrize(
    ("term", "now", "stage", "left_s"),
    [
        pytest.param(NOBODY, NOW, Stage.HARD, None, id="never taken"),
        pytest.param(HELD, 99.0, Stage.HELD, 2.0, id="asked for right now"),
        pytest.param(HELD, 100.9, Stage.HELD, 0.1, id="just before two thirds"),
        pytest.param(HELD, 101.0, Stage.SOFT, 1.0, id="at two thirds"),
        pytest.param(HELD, 101.9, Stage.SOFT, 0.1, id="just before the end"),
        pytest.param(HELD, 102.0, Stage.HARD, None, id="at the end"),
        pytest.param(HELD, 9999.0, Stage.HARD, None, id="long after it, as when the machine slept"),
    ],
)
def test_the_three_times(term: Term, now: float, stage: Stage, left_s: float | None) -> None:
    assert term.stage(now) is stage
    assert term.left_s(now) == (None if left_s is None else pytest.approx(left_s))


EVENTS: dict[str, Callable[[Term], Term]] = {
    "renewed": lambda term: term.renewed(NOW - 0.5),
    "renewed by an old answer": lambda term: term.renewed(NOW - 2.5),
    "renewed after its end": lambda term: term.renewed(NOW - 4.0),
    "refused or dropped": lambda term: term.lost(),
    "unanswered": lambda term: term,
}


@pytest.mark.parametrize(
    ("term", "event", "stage"),
    [
        (NOBODY, "renewed", Stage.HELD),
        (NOBODY, "renewed by an old answer", Stage.SOFT),
        (NOBODY, "renewed after its end", Stage.HARD),
        (NOBODY, "refused or dropped", Stage.HARD),
        (NOBODY, "unanswered", Stage.HARD),
        (HELD, "renewed", Stage.HELD),
        (HELD, "renewed by an old answer", Stage.HELD),
        (HELD, "renewed after its end", Stage.HELD),
        (HELD, "refused or dropped", Stage.HARD),
        (HELD, "unanswered", Stage.HELD),
        (SOFT, "renewed", Stage.HELD),
        (SOFT, "renewed by an old answer", Stage.SOFT),
        (SOFT, "renewed after its end", Stage.SOFT),
        (SOFT, "refused or dropped", Stage.HARD),
        (SOFT, "unanswered", Stage.SOFT),
        (OVER, "renewed", Stage.HELD),
        (OVER, "renewed by an old answer", Stage.SOFT),
        (OVER, "renewed after its end", Stage.HARD),
        (OVER, "refused or dropped", Stage.HARD),
        (OVER, "unanswered", Stage.HARD),
    ],
)
def test_every_event_in_every_stage(term: Term, event: str, stage: Stage) -> None:
    assert EVENTS[event](term).stage(NOW) is stage


def test_its_clock_goes_on_while_the_machine_sleeps() -> None:
    first = boot_time()
    assert 0 < first <= boot_time()


def lease(store: MemoryMapStore, instance: str = "ours") -> HostLease:
    return HostLease(store, "host-0", instance, TTL_S, asyncio.get_running_loop().time)


@virtual_time
async def test_before_it_is_taken_it_is_over() -> None:
    assert lease(MemoryMapStore()).stage() is Stage.HARD


@virtual_time
async def test_a_renewal_begins_its_time_anew() -> None:
    ours = lease(MemoryMapStore())
    await ours.take()
    assert ours.stage() is Stage.HELD
    assert ours.due_s == pytest.approx(1.0)
    await asyncio.sleep(1.9)
    assert ours.due_s == 0
    await ours.renew()
    await asyncio.sleep(1.9)
    assert ours.stage() is Stage.HELD
    await asyncio.sleep(0.2)
    assert ours.stage() is Stage.SOFT
    await ours.renew()
    assert ours.stage() is Stage.HELD
    await asyncio.sleep(3.1)
    assert ours.stage() is Stage.HARD


@virtual_time
async def test_the_time_of_the_answer_does_not_count() -> None:
    """The server may have counted from when it was asked."""
    store = MemoryMapStore()
    ours = lease(store)
    await ours.take()
    store.stall()
    renewing = asyncio.create_task(ours.renew())
    await asyncio.sleep(0.9)
    store.go_on()
    assert await renewing
    await asyncio.sleep(1.05)
    assert ours.stage() is Stage.HELD
    await asyncio.sleep(0.1)
    assert ours.stage() is Stage.SOFT
    await asyncio.sleep(1.0)
    assert ours.stage() is Stage.HARD


@virtual_time
async def test_a_renewal_that_hangs_is_given_up_after_a_third_and_the_next_may_succeed() -> None:
    store = MemoryMapStore()
    ours = lease(store)
    await ours.take()
    await asyncio.sleep(1.0)
    store.stall()
    with pytest.raises(Unavailable):
        await ours.renew()
    assert asyncio.get_running_loop().time() == pytest.approx(2.0)
    assert ours.stage() is Stage.SOFT
    assert ours.due_s == 0
    with pytest.raises(Unavailable):
        await ours.renew()
    assert ours.stage() is Stage.HARD
    store.go_on()
    assert await ours.renew()
    assert ours.stage() is Stage.HELD


@virtual_time
async def test_a_clock_that_went_on_while_timers_slept_counts() -> None:
    clock = 0.0
    ours = HostLease(MemoryMapStore(), "host-0", "ours", TTL_S, lambda: clock)
    await ours.take()
    assert ours.stage() is Stage.HELD
    clock = 3600.0
    assert ours.stage() is Stage.HARD


@virtual_time
async def test_that_of_a_process_which_died_is_waited_for() -> None:
    store = MemoryMapStore()
    store.holders["host-0"] = "of the dead"
    ours = lease(store)
    taking = asyncio.create_task(ours.take())
    await asyncio.sleep(TTL_S)
    assert not taking.done()
    del store.holders["host-0"]
    await taking
    assert ours.stage() is Stage.HELD


@virtual_time
async def test_one_that_is_alive_is_not() -> None:
    store = MemoryMapStore()
    first, second = lease(store), lease(store, "theirs")
    await first.take()
    with pytest.raises(Evicted):
        await second.take()
    assert second.stage() is Stage.HARD
    assert await first.renew()


@virtual_time
async def test_dropped_it_is_over_at_once() -> None:
    store = MemoryMapStore()
    ours = lease(store)
    await ours.take()
    await ours.drop()
    assert ours.stage() is Stage.HARD
    await lease(store, "theirs").take()


@virtual_time
async def test_another_holder_ends_it_at_once() -> None:
    store = MemoryMapStore()
    ours = lease(store)
    await ours.take()
    store.holders["host-0"] = "theirs"
    assert not await ours.renew()
    assert ours.stage() is Stage.HARD


# --- The log of who holds it ---

NEW = Durable(0, 0)
BATCH = Batch("one", 0, 1, (LogEntry(1, 1, 0, "ann", b'["client-1",1,[]]'),), b"")


@pytest.mark.parametrize("stage", Stage)
@virtual_time
async def test_the_log_takes_nothing_after_the_hard_stop(stage: Stage) -> None:
    """At the soft stop what is in flight may commit; the host keeps what is new away."""
    inner = MemoryLog()
    log = leased(inner, lambda: stage)
    for done in (lambda: log.activate(KEY, NEW), lambda: log.commit(KEY, BATCH), lambda: log.announce(KEY, b"head")):
        if stage is Stage.HARD:
            with pytest.raises(Unavailable):
                await done()
        else:
            await done()
    assert len(inner.calls) == (0 if stage is Stage.HARD else 3)
    await log.state(KEY)
    await log.mark_dirty(KEY, "token")
    assert inner.calls[-2:] == ["state", "mark token"]


@virtual_time
async def test_an_answer_after_the_hard_stop_acknowledges_nothing() -> None:
    inner, stage = MemoryLog(), Stage.HELD
    log = leased(inner, lambda: stage)
    await log.activate(KEY, NEW)
    inner.hold()
    committing = asyncio.create_task(log.commit(KEY, BATCH))
    await until_idle()
    stage = Stage.HARD
    inner.release_held()
    with pytest.raises(Unavailable):
        await committing
    assert [entry.revision for entry in inner.committed(KEY)] == [1]
