"""From operations to batches in the log: what its answers mean, and that nobody is left without one."""

import asyncio

import pytest

from persistence.records import Answer, LogState, Unavailable
from tests.actors.owners import BOB, CAT, KEY, Owner, codes, duplicate, moved
from tests.actors.stores import LOST_REPLY
from tests.support.virtual_time import until_idle, virtual_time

LEAVING = [Answer.FENCED, Answer.AHEAD]


@virtual_time
async def test_an_operation_is_committed_and_the_publication_is_its_answer() -> None:
    owner = Owner()
    owner.submit(["x"])
    await until_idle()
    assert [entry.revision for entry in owner.logged] == [1]
    assert owner.actor.section.committed_revision == 1
    assert owner.take() == []


@virtual_time
async def test_while_a_batch_is_on_its_way_the_next_one_gathers() -> None:
    owner = Owner()
    owner.log.hold()
    owner.submit(["a"])
    await until_idle()
    owner.submit(["b"], client=BOB)
    owner.submit(["c"], client=CAT)
    await until_idle()
    assert [len(batch.entries) for batch in owner.log.batches] == [1]
    owner.log.release_held()
    await until_idle()
    assert [(batch.base, len(batch.entries)) for batch in owner.log.batches] == [(0, 1), (1, 2)]


@pytest.mark.parametrize("script", [Unavailable("no answer"), LOST_REPLY])
@virtual_time
async def test_a_batch_without_an_answer_is_sent_again_unchanged(script: Exception | str) -> None:
    owner = Owner()
    owner.log.answers.extend([script, script, script])
    owner.submit(["a"])
    await until_idle()
    owner.submit(["b"], client=BOB)
    await _settled(owner)
    *tries, following = owner.log.batches
    assert len(tries) >= 2
    assert tries == [tries[0]] * len(tries)
    assert (following.base, len(following.entries)) == (1, 1)
    assert [entry.revision for entry in owner.logged] == [1, 2]
    assert owner.take() == []


@virtual_time
async def test_a_duplicate_answer_is_as_good_as_ok() -> None:
    owner = Owner()
    owner.log.answers.extend([LOST_REPLY])
    owner.submit(["a"])
    await _settled(owner)
    assert len(owner.log.batches) == 2
    assert owner.actor.section.committed_revision == 1


@pytest.mark.parametrize("answer", LEAVING)
@virtual_time
async def test_who_is_not_the_owner_any_more_answers_everything_moved_once(answer: Answer) -> None:
    owner = Owner()
    owner.log.hold()
    owner.log.answers.append(answer)
    prepared = owner.submit(["a"])
    await until_idle()
    messages = [
        prepared,
        owner.submit(["b"], client=BOB),  # behind the batch
        owner.submit(["b"], client=BOB, ref=7),  # a duplicate of it
        owner.submit(["c"], 1, client=CAT),  # held
    ]
    snapshot = owner.ask()
    owner.actor.questions.snapshot(snapshot, True, owner.reply)
    assert owner.take() == []
    owner.log.release_held()
    await until_idle()
    said = owner.take()
    assert sorted(said[:-1], key=repr) == sorted(map(moved, messages), key=repr)
    assert codes(said[-1:]) == ["moved"]
    assert owner.gone == [owner.actor]
    assert owner.actor.closed
    late = owner.submit(["d"], client="client-dan")
    assert owner.take() == [moved(late)]
    await until_idle()
    assert len(owner.log.batches) == 1


@virtual_time
async def test_leaving_while_a_commit_is_under_way() -> None:
    """Its operations may be in the log; the next owner knows them by their numbers."""
    owner = Owner()
    owner.log.hold()
    message = owner.submit(["a"])
    await until_idle()
    owner.actor.leave("lease lost")
    owner.actor.leave("twice")
    assert owner.take() == [moved(message)]
    owner.log.release_held()
    await until_idle()
    assert owner.take() == []
    assert owner.gone == [owner.actor]
    owner.actor = owner.activate()
    again = owner.submit(["a"])
    assert owner.take() == [duplicate(again, 1)]


@virtual_time
async def test_leaving_ends_the_retries() -> None:
    owner = Owner()
    owner.log.down = True
    owner.submit(["a"])
    await until_idle()
    owner.actor.leave("lease lost")
    owner.log.down = False
    await asyncio.sleep(5)
    assert owner.logged == []


# --- Duplicates ---


@virtual_time
async def test_a_duplicate_is_answered_when_it_is_durable() -> None:
    owner = Owner()
    owner.log.hold()
    owner.submit(["a"])
    await until_idle()
    owner.submit(["b"], client=BOB)
    again = owner.submit(["a"])
    await until_idle()
    assert owner.take() == []
    owner.log.release_held()
    await until_idle()
    assert owner.take() == [duplicate(again, 1)]
    again = owner.submit(["a"])
    assert owner.take() == [duplicate(again, 1)]


@virtual_time
async def test_an_operation_sent_again_and_again_is_kept_once() -> None:
    owner = Owner()
    owner.log.down = True
    for ref in range(1_000):
        last = owner.submit(["a"], ref=ref)
    await until_idle()
    owner.log.down = False
    await _settled(owner)
    assert owner.take() == [duplicate(last, 1)]


# --- Bases beyond what is known to be in the log ---


@virtual_time
async def test_an_operation_on_a_batch_without_an_answer_waits_for_it() -> None:
    owner = Owner()
    owner.log.answers.append(LOST_REPLY)
    owner.submit(["a"])
    await until_idle()
    owner.submit([1, "b"], 1, client=BOB)  # Bob has read it
    await until_idle()
    assert owner.take() == []
    await _settled(owner)
    assert owner.actor.section.revision == 2
    assert owner.take() == []


@pytest.mark.parametrize(
    ("state", "answer", "leaves"),
    [
        (LogState(1, 0), "ahead", False),
        (LogState(1, 8), "moved", True),  # it has more than we ever sent
        (LogState(2, 0), "moved", True),
        (LogState(2, 9), "moved", True),
        (None, "moved", True),
    ],
)
@virtual_time
async def test_a_base_from_nowhere_makes_an_owner_ask_the_log(
    state: LogState | None, answer: str, leaves: bool
) -> None:
    owner = Owner()
    if state is None:
        del owner.log.streams[KEY]
    else:
        owner.log.stream(KEY).epoch, owner.log.stream(KEY).revision = state.epoch, state.revision
    messages = [owner.submit(["a"], 5), owner.submit(["b"], 6, client=BOB)]
    await until_idle()
    said = owner.take()
    assert owner.actor.closed is leaves
    if leaves:
        assert said == list(map(moved, messages))
    else:
        assert codes(said) == [answer] * 2
    assert owner.log.calls == ["state"]


@virtual_time
async def test_while_the_log_does_not_answer_nobody_is_told_that_he_is_wrong() -> None:
    owner = Owner()
    owner.log.down = True
    owner.submit(["a"], 5)
    await until_idle()
    assert codes(owner.take()) == ["unavailable"]
    assert not owner.actor.closed


@virtual_time
async def test_who_leaves_meanwhile_answers_once() -> None:
    owner = Owner()
    message = owner.submit(["a"], 5)
    owner.actor.leave("lease lost")
    await until_idle()
    assert owner.take() == [moved(message)]


async def _settled(owner: Owner) -> None:
    await asyncio.sleep(60)
    assert owner.actor.section.unanswered is None
    assert owner.actor.section.revision == owner.actor.section.committed_revision
