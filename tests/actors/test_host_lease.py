"""What a host does in each stage of its lease, with each kind of event."""

import pytest

from actors.lease import Stage
from coscribe import link
from coscribe.protocol import NackCode
from tests.actors.maps import Bench, op
from tests.actors.owners import KEY, moved
from tests.support.virtual_time import until_idle, virtual_time


async def active() -> Bench:
    """A host with a section of one entry."""
    bench = Bench()
    await bench.receive(op(1))
    await until_idle()
    bench.take()
    return bench


def words(bench: Bench) -> list[str]:
    """What was answered, each in a word."""
    found: list[str] = []
    for said in bench.take():
        match said:
            case link.Refusal(code=NackCode.UNAVAILABLE, retry_after_s=float()):
                found.append("later")
            case link.Refused(code=code):
                found.append(code)
            case _:
                found.append(type(said).__name__)
    return found


@pytest.mark.parametrize(
    ("stage", "message", "answers"),
    [
        (Stage.HELD, op(2), []),
        (Stage.SOFT, op(2), ["later"]),
        (Stage.HARD, op(2), ["Moved"]),
        (Stage.HELD, link.FetchSnapshot(KEY, 7), ["SnapshotIs"]),
        (Stage.SOFT, link.FetchSnapshot(KEY, 7), ["SnapshotIs"]),
        (Stage.HARD, link.FetchSnapshot(KEY, 7), ["moved"]),
        (Stage.HELD, link.FetchEntries(KEY, 7, 0), ["EntriesAre"]),
        (Stage.SOFT, link.FetchEntries(KEY, 7, 0), ["EntriesAre"]),
        (Stage.HARD, link.FetchEntries(KEY, 7, 0), ["moved"]),
    ],
)
@virtual_time
async def test_with_an_active_section(stage: Stage, message: link.ToHost, answers: list[str]) -> None:
    bench = await active()
    bench.stage = stage
    await bench.receive(message)
    await until_idle()
    assert words(bench) == answers
    assert len(bench.log.committed(KEY)) == (2 if stage is Stage.HELD and isinstance(message, link.Submit) else 1)
    assert bool(bench.host.sections) is (stage is not Stage.HARD)


@pytest.mark.parametrize(
    ("stage", "answers"), [(Stage.HELD, ["SnapshotIs"]), (Stage.SOFT, ["unavailable"]), (Stage.HARD, ["moved"])]
)
@virtual_time
async def test_with_a_section_that_is_not_active(stage: Stage, answers: list[str]) -> None:
    bench = Bench(stage=stage)
    await bench.receive(link.FetchSnapshot(KEY, 7))
    await until_idle()
    assert words(bench) == answers
    assert bench.host.activations == (1 if stage is Stage.HELD else 0)


@pytest.mark.parametrize(("stage", "answers"), [(Stage.HELD, []), (Stage.SOFT, ["later"]), (Stage.HARD, ["later"])])
@virtual_time
async def test_with_a_section_that_is_being_activated(stage: Stage, answers: list[str]) -> None:
    bench = Bench()
    await bench.receive(op(1))
    await bench.log.activating.wait()
    bench.stage = stage
    await until_idle()
    assert words(bench) == answers
    assert bool(bench.host.sections) is (stage is Stage.HELD)


@pytest.mark.parametrize("stage", [Stage.SOFT, Stage.HARD])
@virtual_time
async def test_one_whose_map_is_being_read_is_not_activated(stage: Stage) -> None:
    bench = Bench()
    await bench.receive(op(1))
    bench.stage = stage
    await until_idle()
    assert words(bench) == ["later"]
    assert "activate 0" not in bench.log.calls


@pytest.mark.parametrize(
    ("stage", "revisions", "answers"), [(Stage.HELD, 2, []), (Stage.SOFT, 2, []), (Stage.HARD, 2, ["Moved"])]
)
@virtual_time
async def test_with_a_commit_on_its_way(stage: Stage, revisions: int, answers: list[str]) -> None:
    """What the log has taken it has; after the hard stop its next owner says so."""
    bench = await active()
    bench.log.hold()
    await bench.receive(op(2))
    await until_idle()
    bench.stage = stage
    bench.log.release_held()
    bench.host.heed_lease()
    await until_idle()
    assert words(bench) == answers
    assert len(bench.log.committed(KEY)) == revisions


@virtual_time
async def test_what_is_prepared_commits_after_the_soft_stop_and_not_after_the_hard_one() -> None:
    for stage, revisions in ((Stage.SOFT, 3), (Stage.HARD, 2)):
        bench = await active()
        bench.log.hold()
        await bench.receive(op(2))
        await until_idle()
        await bench.receive(op(1, client="client-bob"))  # prepared while the first is on its way
        bench.stage = stage
        bench.log.release_held()
        await until_idle()
        assert len(bench.log.committed(KEY)) == revisions


@virtual_time
async def test_after_a_renewal_it_takes_up_again() -> None:
    bench = await active()
    bench.stage = Stage.SOFT
    await bench.receive(op(2))
    bench.stage = Stage.HELD
    await bench.receive(op(2))
    await until_idle()
    assert words(bench) == ["later"]
    assert bench.host.activations == 1
    bench.stage = Stage.HARD
    await bench.receive(op(3))
    assert bench.take() == [moved(op(3))]
    bench.stage = Stage.HELD
    bench.host.resume()
    await bench.receive(op(3, base=2))
    await until_idle()
    assert bench.host.activations == 2
    assert len(bench.log.committed(KEY)) == 3
