"""A log that lost its end, as a failover to a replica that was behind does: what was acknowledged is appended again by
the owner that has it, as it was; who cannot do that leaves, and nothing is made up."""

import asyncio
from dataclasses import replace

import pytest

from coscribe.batch import LogEntry, decode_batch
from coscribe.section import WindowLimits
from persistence.records import Durable, Unavailable
from tests.actors.owners import BOB, KEY, Owner
from tests.actors.stores import LOST_REPLY, MemoryLog
from tests.support.virtual_time import until_idle, virtual_time


def forget(log: MemoryLog, through: int, epoch: int | None = None) -> list[LogEntry]:
    """The log is as it was at a revision, and under an epoch; returns what it had."""
    stream = log.stream(KEY)
    had = list(stream.entries)
    stream.entries = [entry for entry in had if entry.revision <= through]
    stream.revision, stream.batch = through, ""
    stream.epoch = stream.epoch if epoch is None else epoch
    log.marks.clear()
    return had


@pytest.mark.parametrize(("through", "older"), [(0, 0), (1, 0), (4, 0), (0, 1), (4, 1), (5, 1)])
@virtual_time
async def test_what_was_acknowledged_is_appended_again_as_it_was(through: int, older: int) -> None:
    owner = Owner()
    await owner.typed(5)
    before = owner.actor.section.epoch
    had = forget(owner.log, through, before - older)
    owner.submit(["y"], 5, 1, BOB)
    await until_idle()
    assert owner.logged[:5] == had
    assert [entry.revision for entry in owner.logged] == [1, 2, 3, 4, 5, 6]
    assert owner.actor.section.committed_revision == 6
    assert not owner.actor.closed
    assert owner.take() == []
    assert KEY in owner.log.marks, "the mark was lost too"


@virtual_time
async def test_what_comes_later_is_of_the_new_epoch_and_says_so() -> None:
    owner = Owner()
    await owner.typed(2)
    old = owner.actor.section.epoch
    forget(owner.log, 1)
    owner.submit(["y"], 2, 1, BOB)
    await until_idle()
    owner.submit(["z"], 3, 2, BOB)
    await until_idle()
    new = owner.actor.section.epoch
    assert new > old
    # The batch that was under way may have been seen, so it stays what it was.
    assert [entry.epoch for entry in owner.logged] == [old, old, old, new]
    assert owner.actor.section.epoch_at(4) == new
    assert [decode_batch(batch.published)[0].epoch for batch in owner.log.batches[-2:]] == [old, new]


@virtual_time
async def test_entries_of_several_epochs_keep_theirs() -> None:
    owner = Owner()
    await owner.typed(2)
    owner.actor.leave("handed on")
    owner.actor = owner.activate()
    await owner.typed(2, BOB)
    had = forget(owner.log, 0)
    owner.submit(["y"], 4, 9, BOB)
    await until_idle()
    assert owner.logged[:4] == had
    assert len({entry.epoch for entry in had}) == 2


@virtual_time
async def test_operations_that_waited_behind_the_batch_are_committed_too() -> None:
    owner = Owner()
    await owner.typed(3)
    forget(owner.log, 1)
    owner.log.hold()
    owner.submit(["y"], 3, 1, BOB)
    await until_idle()
    owner.submit(["z"], 3, 4)
    owner.log.release_held()
    await until_idle()
    assert [entry.revision for entry in owner.logged] == [1, 2, 3, 4, 5]
    assert owner.logged[-1].epoch == owner.actor.section.epoch


@pytest.mark.parametrize("replies", [[LOST_REPLY], [None, LOST_REPLY], [None, Unavailable("down"), LOST_REPLY]])
@virtual_time
async def test_no_answer_on_the_way_changes_nothing(replies: list[Exception | str | None]) -> None:
    owner = Owner()
    await owner.typed(4)
    had = forget(owner.log, 2)
    owner.log.answers.extend(replies)  # type: ignore[arg-type]
    owner.submit(["y"], 4, 1, BOB)
    await until_idle()
    await asyncio.sleep(60)
    assert owner.logged[:4] == had
    assert [entry.revision for entry in owner.logged] == [1, 2, 3, 4, 5]


@virtual_time
async def test_a_new_owner_is_not_disturbed() -> None:
    owner = Owner()
    await owner.typed(3)
    forget(owner.log, 1)
    owner.log.stream(KEY).epoch += 5
    owner.submit(["y"], 3, 1, BOB)
    await until_idle()
    assert owner.actor.closed
    assert [entry.revision for entry in owner.logged] == [1]


@virtual_time
async def test_another_history_is_left_alone() -> None:
    owner = Owner()
    await owner.typed(3)
    had = forget(owner.log, 2)
    owner.log.stream(KEY).entries[1] = replace(had[1], epoch=had[1].epoch - 1)
    owner.submit(["y"], 3, 1, BOB)
    await until_idle()
    assert owner.actor.closed
    assert len(owner.logged) == 2


@virtual_time
async def test_what_the_window_does_not_have_cannot_be_appended() -> None:
    owner = Owner(window=WindowLimits(entries=2, min_age_ms=0))
    await owner.typed(6)
    forget(owner.log, 1)
    owner.submit(["y"], 6, 1, BOB)
    await until_idle()
    assert owner.actor.closed
    assert [entry.revision for entry in owner.logged] == [1]


@virtual_time
async def test_where_postgres_has_more_than_the_log_it_goes_on_from_there() -> None:
    owner = Owner()
    await owner.typed(5)
    had = forget(owner.log, 1)
    await owner.store.flush(KEY, had[:3])
    assert await owner.store.durable(KEY) == Durable(3, owner.actor.section.epoch)
    owner.submit(["y"], 5, 1, BOB)
    await until_idle()
    assert [entry.revision for entry in owner.logged] == [4, 5, 6]
    assert owner.logged[:2] == had[3:]
