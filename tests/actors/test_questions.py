"""What an owner answers to the questions of routers: committed state, in bounded pages, or why not."""

import msgspec
import pytest

from actors import questions
from actors.questions import ASKS_MOST, READS_MOST
from coscribe import link
from coscribe.batch import decode_batch
from coscribe.protocol import Entries, Head, decode_server_frame
from coscribe.section import WindowLimits
from tests.actors.owners import BOB, KEY, Owner, codes
from tests.support.virtual_time import until_idle, virtual_time

NARROW = WindowLimits(entries=4, min_age_ms=0)


def entries_of(answer: link.ToRouter) -> list[tuple[int, int | None, int]]:
    """(first revision, epoch, number of entries) of each message."""
    assert isinstance(answer, link.EntriesAre), answer
    found = []
    for message in answer.messages:
        (each,) = decode_server_frame(message)
        assert isinstance(each, Entries)
        found.append((each.rev, each.epoch, len(each.e)))
    return found


# --- Entries ---


@virtual_time
async def test_entries_from_the_window() -> None:
    owner = Owner()
    await owner.typed(3)
    owner.log.calls.clear()
    for after in (0, 2, 3):
        owner.actor.questions.entries(after, after, owner.reply)
    first, second, third = owner.take()
    assert entries_of(first) == [(1, 1, 3)]
    assert (first.last, first.head, first.epoch, first.base_epoch) == (3, 3, 1, 0)  # type: ignore[union-attr]
    assert entries_of(second) == [(3, 1, 1)]
    assert entries_of(third) == []
    assert (third.last, third.head, third.base_epoch) == (3, 3, 1)  # type: ignore[union-attr]
    assert owner.log.calls == []


@virtual_time
async def test_a_message_of_entries_is_of_one_epoch() -> None:
    owner = Owner()
    await owner.typed(2)
    owner.actor.leave("handed off")
    owner.actor = owner.activate()
    await owner.typed(2, BOB)
    owner.take()
    owner.actor.questions.entries(1, 1, owner.reply)
    (answer,) = owner.take()
    assert entries_of(answer) == [(2, 1, 1), (3, 2, 2)]
    assert (answer.epoch, answer.base_epoch) == (2, 1)  # type: ignore[union-attr]


@virtual_time
async def test_what_left_the_window_is_read_from_the_log() -> None:
    owner = Owner(window=NARROW)
    await owner.typed(10)
    owner.actor.questions.entries(1, 3, owner.reply)
    await until_idle()
    (answer,) = owner.take()
    assert entries_of(answer) == [(4, 1, 7)]
    assert answer.base_epoch == 1  # type: ignore[union-attr]


@virtual_time
async def test_what_left_the_log_is_read_from_the_store() -> None:
    owner = Owner(window=NARROW)
    await owner.typed(10)
    owner.store.stored[KEY] = list(owner.logged[:8])
    await owner.log.trim(KEY, 6)
    for after in (0, 3):
        owner.actor.questions.entries(1, after, owner.reply)
        await until_idle()
        (answer,) = owner.take()
        assert entries_of(answer) == [(after + 1, 1, 8 - after)]
        assert (answer.last, answer.head) == (8, 10)  # type: ignore[union-attr]


@virtual_time
async def test_what_cannot_be_found_is_not_left_out() -> None:
    owner = Owner(window=NARROW)
    await owner.typed(10)
    await owner.log.trim(KEY, 6)
    owner.actor.questions.entries(1, 3, owner.reply)
    await until_idle()
    assert codes(owner.take()) == ["unavailable"]
    owner.store.down = owner.log.down = True
    owner.actor.questions.entries(1, 3, owner.reply)
    await until_idle()
    assert codes(owner.take()) == ["unavailable"]


@virtual_time
async def test_a_page_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = Owner(window=NARROW)
    await owner.typed(10)
    one = len(owner.logged[0].entry)
    monkeypatch.setattr(questions, "PAGE_ENTRIES", 5)
    owner.actor.questions.entries(1, 0, owner.reply)
    await until_idle()
    monkeypatch.setattr(questions, "PAGE_BYTES", 2 * one)
    owner.actor.questions.entries(2, 0, owner.reply)
    owner.actor.questions.entries(3, 7, owner.reply)
    monkeypatch.setattr(questions, "PAGE_BYTES", 1)
    owner.actor.questions.entries(4, 8, owner.reply)
    await until_idle()
    pages = {answer.request: entries_of(answer) for answer in owner.take()}  # type: ignore[union-attr]
    assert pages == {1: [(1, 1, 5)], 2: [(1, 1, 1)], 3: [(8, 1, 2)], 4: [(9, 1, 1)]}


@virtual_time
async def test_nothing_uncommitted_is_read_back_from_the_log() -> None:
    """The log may have more than the owner knows to be there."""
    owner = Owner(window=NARROW)
    await owner.typed(10)
    owner.log.answers.append("the batch is appended and the reply lost")
    owner.submit(["x"], 10, 11)
    await until_idle()
    assert len(owner.logged) == 11
    owner.actor.questions.entries(1, 3, owner.reply)
    owner.actor.questions.entries(2, 9, owner.reply)
    await until_idle()
    assert [answer.last for answer in owner.take()] == [10, 10]  # type: ignore[union-attr]


@pytest.mark.parametrize(("epoch", "revision", "answer"), [(1, 3, "ahead"), (1, 4, "moved"), (2, 3, "moved")])
@virtual_time
async def test_a_revision_from_nowhere_makes_an_owner_ask_the_log(epoch: int, revision: int, answer: str) -> None:
    owner = Owner()
    await owner.typed(3)
    owner.log.stream(KEY).epoch, owner.log.stream(KEY).revision = epoch, revision
    owner.actor.questions.entries(1, 4, owner.reply)
    await until_idle()
    assert codes(owner.take()) == [answer]
    assert owner.actor.closed is (answer == "moved")


@virtual_time
async def test_readers_do_not_pile_up() -> None:
    owner = Owner(window=NARROW)
    await owner.typed(10)
    for request in range(READS_MOST + 3):
        owner.actor.questions.entries(request, 1, owner.reply)
    assert codes(owner.take()) == ["unavailable"] * 3
    await until_idle()
    assert len(owner.take()) == READS_MOST
    owner.actor.questions.entries(1, 1, owner.reply)
    await until_idle()
    assert isinstance(owner.take()[0], link.EntriesAre)


# --- Snapshots, composed changes, the last acknowledgement ---


@virtual_time
async def test_a_snapshot_is_of_what_is_committed() -> None:
    owner = Owner()
    await owner.typed(2)
    owner.log.hold()
    owner.submit(["y"], 2, 3)
    await until_idle()
    owner.submit(["z"], 2, 1, BOB)
    owner.actor.questions.snapshot(1, True, owner.reply)
    owner.actor.questions.snapshot(2, False, owner.reply)
    await until_idle()
    assert owner.take() == []
    owner.log.release_held()
    await until_idle()
    one, two = owner.take()
    assert isinstance(one, link.SnapshotIs)
    assert isinstance(two, link.SnapshotIs)
    assert one.message is two.message
    assert (one.request, two.request, one.revision, one.head) == (1, 2, 4, 4)
    (message,) = decode_server_frame(one.message)
    assert msgspec.json.decode(message.delta) == ["zyxx\n"]  # type: ignore[union-attr]


@virtual_time
async def test_a_joiner_takes_a_cached_one_and_hears_of_the_head() -> None:
    owner = Owner()
    await owner.typed(2)
    owner.actor.questions.snapshot(1, False, owner.reply)
    await owner.typed(3, first=3)
    owner.actor.questions.snapshot(2, False, owner.reply)
    owner.actor.questions.snapshot(3, True, owner.reply)
    found = [(each.revision, each.head) for each in owner.take()]  # type: ignore[union-attr]
    assert found == [(2, 2), (2, 5), (5, 5)]


@virtual_time
async def test_who_waits_for_snapshots_is_bounded() -> None:
    owner = Owner()
    owner.log.hold()
    owner.submit(["x"])
    await until_idle()
    owner.submit(["y"], 0, 1, BOB)
    for request in range(ASKS_MOST + 2):
        owner.actor.questions.snapshot(request, True, owner.reply)
    assert codes(owner.take()) == ["unavailable"] * 2


@virtual_time
async def test_a_composed_change() -> None:
    owner = Owner(window=NARROW)
    await owner.typed(10)
    for request, after in enumerate((7, 3, 11)):
        owner.actor.questions.composed(request, after, owner.reply)
    found, *refused = owner.take()
    assert isinstance(found, link.ComposedIs)
    assert (found.revision, found.epoch) == (10, 1)
    assert codes(list(refused)) == ["stale", "ahead"]


@virtual_time
async def test_the_last_accepted_operation() -> None:
    owner = Owner()
    await owner.typed(2)
    owner.actor.questions.acked(1, "client-ann", owner.reply)
    owner.actor.questions.acked(2, BOB, owner.reply)
    assert owner.take() == [link.AckedIs(1, 2, 2), link.AckedIs(2, 0, 0)]


@virtual_time
async def test_who_has_left_answers_no_question() -> None:
    owner = Owner()
    await owner.typed(2)
    owner.actor.leave("handed off")
    owner.actor.questions.entries(1, 0, owner.reply)
    owner.actor.questions.entries(2, 9, owner.reply)
    owner.actor.questions.composed(3, 0, owner.reply)
    owner.actor.questions.snapshot(4, True, owner.reply)
    owner.actor.questions.acked(5, BOB, owner.reply)
    said = owner.take()
    assert codes(said) == ["moved"] * 5
    assert [each.request for each in said] == [1, 2, 3, 4, 5]  # type: ignore[union-attr]


@virtual_time
async def test_nor_one_that_was_being_looked_up() -> None:
    owner = Owner(window=NARROW)
    await owner.typed(10)
    owner.actor.questions.entries(1, 3, owner.reply)
    owner.actor.questions.entries(2, 99, owner.reply)
    owner.actor.leave("handed off")
    await until_idle()
    assert codes(owner.take()) == ["moved"] * 2


@virtual_time
async def test_the_head_is_announced() -> None:
    owner = Owner()
    await owner.typed(2)
    await owner.actor.announce()
    header, body = decode_batch(owner.log.announced[-1])
    assert (header.first, header.last, header.epoch) == (3, 2, 1)
    assert decode_server_frame(body) == [Head("0", 2, 1)]
