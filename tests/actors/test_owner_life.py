"""An owner's life beside its commits: bounds, the dirty mark, draining, and faults of its own."""

import asyncio
from typing import Any

import pytest

from actors.section_actor import HELD_MOST, UNCOMMITTED_MOST
from coscribe import link
from coscribe.section import ContentAt
from persistence.records import Durable, Unavailable
from tests.actors.owners import ANN, BOB, CAT, KEY, Owner, codes, moved
from tests.support.virtual_time import until_idle, virtual_time

# --- Bounds ---


@virtual_time
async def test_what_is_prepared_without_an_answer_of_the_log_is_bounded() -> None:
    owner = Owner()
    owner.log.down = True
    for number in range(UNCOMMITTED_MOST):
        owner.submit(["x"], client=f"client-{number}")
    assert owner.take() == []
    owner.submit(["x"], client="client-one-more")
    (refusal,) = owner.take()
    assert isinstance(refusal, link.Refusal)
    assert (refusal.code.value, refusal.retry_after_s) == ("unavailable", 1.0)
    owner.log.down = False
    await asyncio.sleep(60)
    owner.submit(["x"], client="client-one-more")
    assert owner.take() == []


@pytest.mark.parametrize("base", [1, 9], ids=["held", "doubted"])
@virtual_time
async def test_what_waits_is_bounded(base: int) -> None:
    owner = Owner()
    if base == 1:
        owner.log.hold()
        owner.submit(["x"])
        await until_idle()
    for number in range(HELD_MOST + 2):
        owner.submit(["x"], base, client=f"client-{number}")
    assert codes(owner.take()) == ["unavailable"] * 2


# --- The dirty mark ---


@virtual_time
async def test_a_section_is_marked_before_its_first_append() -> None:
    owner = Owner()
    await owner.typed(3)
    assert owner.log.calls == ["mark 1:0", "commit", "commit", "commit"]
    assert owner.log.marks == {KEY: "1:0"}


@virtual_time
async def test_without_the_mark_nothing_is_appended() -> None:
    owner = Owner()
    owner.log.down = True
    owner.submit(["x"])
    await asyncio.sleep(3)
    assert set(owner.log.calls) == {"mark 1:0"}
    owner.log.down = False
    await asyncio.sleep(3)
    assert owner.log.calls[-2:] == ["mark 1:0", "commit"]


@virtual_time
async def test_flushed_it_is_unmarked_and_marked_anew_for_the_next() -> None:
    owner = Owner()
    await owner.typed(3)
    await owner.actor.flushed(Durable(3, 1))
    assert owner.log.marks == {}
    await owner.typed(1, first=4)
    assert owner.log.marks == {KEY: "1:3"}


@virtual_time
async def test_what_is_not_flushed_stays_marked() -> None:
    owner = Owner()
    await owner.typed(3)
    await owner.actor.flushed(Durable(2, 1))
    owner.log.hold()
    owner.submit(["x"], 3, 4)
    await owner.actor.flushed(Durable(3, 1))  # prepared, not sent
    await until_idle()
    await owner.actor.flushed(Durable(3, 1))  # sent, not answered
    await owner.actor.flushed(Durable(4, 1))  # not even if somebody else has flushed it
    assert owner.log.marks == {KEY: "1:0"}
    assert not any(call.startswith("clear") for call in owner.log.calls)


@virtual_time
async def test_an_append_while_the_mark_is_cleared_has_a_mark_of_its_own() -> None:
    owner = Owner()
    await owner.typed(3)
    clearing = asyncio.create_task(owner.actor.flushed(Durable(3, 1)))
    await asyncio.sleep(0)
    owner.submit(["x"], 3, 4)
    await clearing
    await until_idle()
    assert owner.log.marks == {KEY: "1:3"}
    assert owner.log.calls.count("commit") == 4


@virtual_time
async def test_another_owners_mark_is_left_alone() -> None:
    owner = Owner()
    await owner.typed(3)
    owner.log.marks[KEY] = "2:3"
    await owner.actor.flushed(Durable(3, 1))
    assert owner.log.marks == {KEY: "2:3"}


@virtual_time
async def test_a_newer_owners_entries_in_the_store_end_this_one() -> None:
    owner = Owner()
    await owner.typed(3)
    await owner.actor.flushed(Durable(3, 2))
    assert owner.actor.closed
    assert owner.log.marks == {KEY: "1:0"}


# --- Draining ---


@virtual_time
async def test_a_drain_commits_what_is_prepared_and_moves_the_rest() -> None:
    owner = Owner()
    owner.log.hold()
    owner.submit(["a"])
    await until_idle()
    owner.submit(["b"], client=BOB)
    held = owner.submit(["c"], 1, client=CAT)
    draining = asyncio.create_task(owner.actor.drain())
    await until_idle()
    late = owner.submit(["d"], client="client-dan")
    assert owner.take() == []
    owner.log.release_held()
    await draining
    assert owner.take() == [moved(held), moved(late)]
    assert [entry.revision for entry in owner.logged] == [1, 2]
    assert owner.gone == [owner.actor]


@virtual_time
async def test_a_drain_leaves_the_content_beside_the_log() -> None:
    owner = Owner()
    await owner.typed(2)
    await owner.actor.keep_live(ContentAt(1, owner.actor.section.epoch, b"[]"))
    owner.log.hold()
    owner.submit(["y"], 2, 3)
    owner.submit(["z"], 2, 1, BOB)
    draining = asyncio.create_task(owner.actor.drain())
    await until_idle()
    assert owner.gone == []
    owner.log.release_held()
    await draining
    live = owner.log.stream(KEY).live
    assert live is not None
    assert (live.snapshot.revision, live.snapshot.content) == (4, b'["zyxx\\n"]')
    assert owner.log.calls[-1] == "live 4"


@virtual_time
async def test_a_drain_that_cannot_leave_the_content_leaves_the_log() -> None:
    owner = Owner()
    await owner.typed(2)
    owner.log.down = True
    await owner.actor.drain()
    assert owner.gone == [owner.actor]


@virtual_time
async def test_a_drain_of_a_quiet_section_is_immediate() -> None:
    owner = Owner()
    await owner.typed(1)
    await owner.actor.drain()
    assert owner.actor.closed
    never_used = Owner()
    await never_used.actor.drain()
    assert never_used.gone == [never_used.actor]


@virtual_time
async def test_questions_are_answered_while_draining() -> None:
    owner = Owner()
    owner.log.hold()
    owner.submit(["a"])
    await until_idle()
    owner.actor.questions.snapshot(1, True, owner.reply)
    draining = asyncio.create_task(owner.actor.drain())
    await until_idle()
    owner.log.release_held()
    await draining
    (answer,) = owner.take()
    assert isinstance(answer, link.SnapshotIs)


# --- Faults of our own ---


@pytest.mark.parametrize("where", ["commit", "mark_dirty", "committed", "state"])
@virtual_time
async def test_a_fault_leaves_no_section_that_looks_alive(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = Owner()

    async def fault(*_: Any) -> Any:
        raise LookupError("a mistake of ours")

    if where == "committed":
        monkeypatch.delattr(type(owner.actor.section), "committed")
    else:
        monkeypatch.setattr(owner.log, where, fault)
    message = owner.submit(["a"], 5 if where == "state" else 0, client=ANN)
    await until_idle()
    assert owner.actor.closed
    assert owner.gone == [owner.actor]
    assert owner.take() == [moved(message)]


@virtual_time
async def test_a_fault_in_a_question_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = Owner()
    await owner.typed(1)

    async def fault(*_: Any) -> Any:
        raise LookupError("a mistake of ours")

    monkeypatch.setattr(owner.log, "state", fault)
    owner.actor.questions.entries(1, 9, owner.reply)
    await until_idle()
    assert owner.actor.closed


@virtual_time
async def test_a_mark_that_cannot_be_cleared_is_left_to_the_sweeper() -> None:
    owner = Owner()
    await owner.typed(1)
    owner.log.down = True
    with pytest.raises(Unavailable):
        await owner.actor.flushed(Durable(1, 1))
    owner.log.down = False
    await owner.typed(1, first=2)
    assert owner.log.marks == {KEY: "1:1"}
