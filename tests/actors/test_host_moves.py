"""A host lets go: of what a new map gives to others, of everything when its lease is over or it stops, and of sections
that nobody uses."""

import asyncio

import pytest

from coscribe import link
from coscribe.names import SectionKey
from persistence.records import Durable, LogState
from tests.actors.maps import Bench, cluster_map, op
from tests.actors.owners import BOB, KEY, codes, moved
from tests.support.virtual_time import until_idle, virtual_time

OTHER = SectionKey("letters", "life1", "0")


@virtual_time
async def test_a_new_map_hands_off_what_it_gives_to_others() -> None:
    bench = Bench()
    await bench.receive(op(1), op(1, key=OTHER))
    await until_idle()
    bench.log.hold()
    await bench.receive(op(2))
    await until_idle()
    bench.present = cluster_map(2, "us", "them", notes="them", letters="us")
    handing_off = asyncio.create_task(bench.host.apply_map())
    await until_idle()
    await bench.receive(op(1, BOB))
    bench.log.release_held()
    await handing_off
    assert bench.take() == [moved(op(1, BOB))]
    assert len(bench.log.committed(KEY)) == 2
    assert set(bench.host.sections) == {OTHER}


@virtual_time
async def test_a_hand_off_does_not_wait_for_ever() -> None:
    bench = Bench()
    await bench.receive(op(1))
    await until_idle()
    bench.log.hold()
    await bench.receive(op(2))
    await until_idle()
    bench.present = cluster_map(2, "us", "them", notes="them")
    await bench.host.apply_map()
    assert bench.take() == [moved(op(2))]
    assert bench.host.sections == {}


@virtual_time
async def test_suspended_it_owns_nothing_until_it_resumes() -> None:
    bench = Bench()
    await bench.receive(op(1))
    await until_idle()
    bench.log.hold()
    await bench.receive(op(2))
    await until_idle()
    bench.host.suspend()
    assert bench.take() == [moved(op(2))]
    await bench.receive(op(3), link.FetchSnapshot(KEY, 11))
    first, second = bench.take()
    assert first == moved(op(3))
    assert codes([second]) == ["moved"]
    bench.log.release_held()
    bench.host.resume()
    await bench.receive(op(2))
    await until_idle()
    assert bench.host.activations == 2
    assert [type(each) for each in bench.take()] == [link.Duplicate]


@pytest.mark.parametrize("resumes", [False, True])
@virtual_time
async def test_what_was_being_loaded_when_it_was_suspended_is_not_served(resumes: bool) -> None:
    """Somebody else may have owned it meanwhile."""
    bench = Bench()
    await bench.receive(op(1))
    await bench.log.activating.wait()
    bench.host.suspend()
    if resumes:
        bench.host.resume()
    await until_idle()
    assert bench.take() == [moved(op(1))]
    assert bench.host.sections == {}


@virtual_time
async def test_stopping_commits_what_is_prepared_and_answers_the_rest() -> None:
    bench = Bench()
    await bench.receive(op(1))
    await until_idle()
    bench.log.hold()
    await bench.receive(op(2))
    await until_idle()
    await bench.receive(op(1, key=OTHER))  # still being loaded
    stopping = asyncio.create_task(bench.host.stop())
    await until_idle()
    await bench.receive(op(3), op(2, key=OTHER))
    bench.log.release_held()
    await stopping
    assert len(bench.log.committed(KEY)) == 2
    assert sorted(bench.take(), key=repr) == sorted(
        [moved(op(1, key=OTHER)), moved(op(3)), moved(op(2, key=OTHER))], key=repr
    )
    assert bench.host.sections == {}


# --- Idle sections ---


@virtual_time
async def test_who_is_idle_and_durable_is_let_go() -> None:
    bench = Bench()
    await bench.receive(op(1), op(1, key=OTHER))
    await until_idle()
    for key in (KEY, OTHER):
        bench.host.sections[key].durable = Durable(1, 1)
    bench.host.sections[KEY].snapshot_revision = 1
    bench.time.ms += bench.limits.idle_ms + 1
    await bench.host.passivate_idle()
    assert set(bench.host.sections) == {OTHER}  # has no snapshot yet
    assert "trim 1" in bench.log.calls
    assert await bench.log.state(KEY) == LogState(2, 1)  # released: the epoch is stepped


@virtual_time
async def test_who_is_used_or_not_durable_stays() -> None:
    bench = Bench()
    await bench.receive(op(1))
    await until_idle()
    actor = bench.host.sections[KEY]
    actor.durable, actor.snapshot_revision = Durable(1, 1), 1
    bench.time.ms += bench.limits.idle_ms
    await bench.host.passivate_idle()
    bench.time.ms += 1
    bench.log.hold()
    await bench.receive(op(2))
    bench.time.ms += bench.limits.idle_ms + 1
    await bench.host.passivate_idle()
    assert set(bench.host.sections) == {KEY}
