"""What waits for Postgres is bounded: beyond that nothing more is taken, and nothing that was taken is lost."""

from actors.backlog import ENTRY_BYTES, Backlog
from coscribe import link
from coscribe.protocol import NackCode
from persistence.records import Durable
from tests.actors.owners import BOB, Owner, codes
from tests.support.virtual_time import until_idle, virtual_time


def test_it_is_the_sum_of_all_shares() -> None:
    backlog = Backlog(1_000)
    one, two = backlog.open(), backlog.open()
    one.add(3, 3, 30)
    two.add(2, 2, 500)
    one.add(5, 2, 8)
    assert backlog.bytes == 538 + 7 * ENTRY_BYTES
    assert one.refusal
    assert two.refusal
    one.flushed(4)  # in the middle of what was added at once: that waits still
    assert backlog.bytes == 508 + 4 * ENTRY_BYTES
    two.close()
    assert not one.refusal
    one.flushed(5)
    assert backlog.bytes == 0


@virtual_time
async def test_a_full_backlog_refuses_until_postgres_has_caught_up() -> None:
    owner = Owner(backlog=Backlog(3 * ENTRY_BYTES))
    await owner.typed(3)
    assert owner.take() == []
    owner.submit(["y"], 3, 1, BOB)
    await until_idle()
    assert codes(owner.take()) == ["unavailable"]
    assert owner.actor.section.revision == 3
    await owner.actor.flushed(Durable(3, owner.actor.section.epoch))
    owner.submit(["y"], 3, 1, BOB)
    await until_idle()
    assert owner.take() == []
    assert len(owner.logged) == 4


@virtual_time
async def test_a_disk_that_is_nearly_full_refuses_and_what_is_prepared_commits() -> None:
    owner = Owner()
    owner.log.hold()
    owner.submit(["x"])
    owner.backlog.disk_short = True
    owner.submit(["y"], 0, 1, BOB)
    await until_idle()
    (refused,) = owner.take()
    assert isinstance(refused, link.Refusal)
    assert (refused.code, refused.message) == (NackCode.UNAVAILABLE, "the server's disk is nearly full")
    assert refused.retry_after_s
    owner.log.release_held()
    await until_idle()
    assert [entry.revision for entry in owner.logged] == [1]
    owner.actor.questions.snapshot(owner.ask(), True, owner.reply)
    await until_idle()
    assert isinstance(owner.take()[-1], link.SnapshotIs)
    owner.backlog.disk_short = False
    owner.submit(["y"], 0, 1, BOB)
    await until_idle()
    assert len(owner.logged) == 2


@virtual_time
async def test_what_another_owner_left_unflushed_counts() -> None:
    owner = Owner(backlog=Backlog(3 * ENTRY_BYTES))
    await owner.typed(3)
    owner.actor.leave("handed on")
    assert owner.backlog.bytes == 0
    owner.actor = owner.activate()
    owner.submit(["y"], 3, 1, BOB)
    assert codes(owner.take()) == ["unavailable"]
