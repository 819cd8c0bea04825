"""A host activates what its refreshed map gives it, once, in the order of the link; everybody gets an answer."""

from typing import Any

import msgspec
import pytest

from actors import host as host_module
from coscribe import link
from coscribe.names import SectionKey
from coscribe.section import Section
from persistence.records import LogFork, Unavailable
from tests.actors.maps import Bench, cluster_map, op
from tests.actors.owners import ANN, KEY, codes, moved
from tests.support.virtual_time import until_idle, virtual_time

OTHER = SectionKey("letters", "life1", "0")

QUESTIONS: list[link.ToHost] = [
    link.FetchSnapshot(KEY, 11),
    link.FetchEntries(KEY, 12, 0),
    link.FetchComposed(KEY, 13, 0),
    link.FetchAcked(KEY, 14, ANN),
]


# --- Activation ---


@virtual_time
async def test_the_first_message_activates_and_all_keep_their_order() -> None:
    bench = Bench()
    await bench.receive(op(1))
    assert bench.host.has(KEY)
    await bench.receive(op(2), op(3), link.FetchAcked(KEY, 9, ANN))
    await bench.receive(link.FetchEntries(KEY, 10, 0))
    await until_idle()
    assert bench.host.activations == 1
    assert [entry.entry for entry in bench.log.committed(KEY)] == [
        b'["client-ann",1,["1"]]', b'["client-ann",2,["2"]]', b'["client-ann",3,["3"]]',
    ]  # fmt: skip
    acked, entries = bench.take()
    assert acked == link.AckedIs(9, 0, 0)
    assert isinstance(entries, link.EntriesAre)
    assert entries.head == 0
    assert len(bench.log.announced) == 1


@virtual_time
async def test_every_question_is_answered() -> None:
    bench = Bench()
    await bench.receive(*QUESTIONS)
    await until_idle()
    assert [type(each) for each in bench.take()] == [
        link.SnapshotIs, link.EntriesAre, link.ComposedIs, link.AckedIs,
    ]  # fmt: skip


@virtual_time
async def test_sections_do_not_wait_for_each_other() -> None:
    bench = Bench()
    await bench.receive(op(1), op(1, key=OTHER))
    await until_idle()
    assert set(bench.host.sections) == {KEY, OTHER}
    assert bench.host.activations == 2


@virtual_time
async def test_who_is_not_the_owner_says_so() -> None:
    bench = Bench(present=cluster_map(3, "us", "them", notes="them"))
    await bench.receive(op(1), *QUESTIONS)
    first, *rest = bench.take()
    assert first == moved(op(1))
    assert codes(rest) == ["moved"] * 4
    assert bench.log.calls == []


@virtual_time
async def test_a_newer_view_is_read_before_anything_is_done() -> None:
    bench = Bench(newest=cluster_map(4, "us", "them", notes="them"))
    await bench.receive(op(1), view=4)
    assert bench.refreshes == [4]
    assert bench.take() == [moved(op(1))]
    assert bench.log.calls == []


@virtual_time
async def test_an_older_view_is_not() -> None:
    bench = Bench(present=cluster_map(4, "us"))
    await bench.receive(op(1), view=3)
    assert bench.refreshes == []


@virtual_time
async def test_the_map_is_read_again_before_an_epoch_is_taken() -> None:
    """A host that does not know of a change yet must not take the section from its owner."""
    bench = Bench(newest=cluster_map(4, "us", "them", notes="them"))
    await bench.receive(op(1))
    await until_idle()
    assert bench.take() == [moved(op(1))]
    assert bench.log.calls == []
    assert not bench.host.has(KEY)


@virtual_time
async def test_what_the_map_takes_away_meanwhile_is_not_kept() -> None:
    bench = Bench()
    await bench.receive(op(1), QUESTIONS[0])
    await bench.log.activating.wait()
    bench.present = cluster_map(2, "us", "them", notes="them")
    await until_idle()
    first, second = bench.take()
    assert first == moved(op(1))
    assert codes([second]) == ["moved"]
    assert bench.host.sections == {}


@pytest.mark.parametrize("broken", ["log", "store", "map", "fork", "fault"])
@virtual_time
async def test_a_failed_activation_answers_everybody_and_is_tried_again(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench()
    bench.log.down, bench.store.down, bench.map_down = broken == "log", broken == "store", broken == "map"

    async def fails(*_: Any) -> Any:
        raise LogFork("two histories") if broken == "fork" else LookupError("a mistake of ours")

    if broken in ("fork", "fault"):
        monkeypatch.setattr(host_module, "activate", fails)
    await bench.receive(op(1), *QUESTIONS)
    await until_idle()
    assert codes(bench.take()) == ["unavailable"] * 5
    assert not bench.host.has(KEY)
    monkeypatch.undo()
    bench.log.down = bench.store.down = bench.map_down = False
    await bench.receive(op(1))
    await until_idle()
    assert len(bench.log.committed(KEY)) == 1


@virtual_time
async def test_what_waits_for_an_activation_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "LOADING_MOST", 3)
    bench = Bench()
    await bench.receive(*(op(cseq) for cseq in range(1, 5)), QUESTIONS[0])
    assert codes(bench.take()) == ["unavailable"] * 2
    await until_idle()
    assert len(bench.log.committed(KEY)) == 3


@virtual_time
async def test_a_head_that_cannot_be_announced_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()

    async def fails(*_: Any) -> None:
        raise Unavailable("just now")

    monkeypatch.setattr(bench.log, "announce", fails)
    await bench.receive(op(1))
    await until_idle()
    assert len(bench.log.committed(KEY)) == 1


@virtual_time
async def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        await Bench().host.receive(b"nonsense", lambda answer: None)


# --- Faults of our own ---


@virtual_time
async def test_a_fault_in_one_section_ends_that_section_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    await bench.receive(op(1), op(1, key=OTHER))
    await until_idle()
    submit = Section.submit

    def fault(self: Section, *given: Any) -> Any:
        if self.key == KEY:
            raise LookupError("a mistake of ours")
        return submit(self, *given)

    monkeypatch.setattr(Section, "submit", fault)
    await bench.receive(op(2), op(2, key=OTHER))
    assert codes(bench.take()) == ["unavailable"]
    assert set(bench.host.sections) == {OTHER}
    monkeypatch.setattr(Section, "submit", submit)
    await bench.receive(op(2))
    await until_idle()
    assert [len(bench.log.committed(key)) for key in (KEY, OTHER)] == [2, 2]
    assert bench.host.activations == 3
