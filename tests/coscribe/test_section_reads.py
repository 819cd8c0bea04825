"""What an owner shows is what is in the log: nothing prepared shows in a snapshot, in entries, in a composed change, or
in the last accepted operation."""

import msgspec
import pytest

import coscribe.section as section_module
from coscribe.ot import Delta, decode
from coscribe.protocol import CaughtUp, Snapshot, decode_server_frame
from coscribe.section import ContentAt, Section
from tests.coscribe.sections import ANN, BOB, CAT, EPOCH, accept, commit, deltas, entry, op, section


def busy() -> Section:
    """Committed up to revision 13, revision 14 in the unanswered batch, 15 waits."""
    of = section("ba\n", 12, recent=(entry(11, ["a"], 4), entry(12, ["b"], 9, BOB)))
    accept(of, op(["c"], 12, 5))
    commit(of)
    accept(of, op(["d"], 13, 6))
    of.freeze("b")
    accept(of, op(["e"], 13, 1, CAT))
    return of


def test_entries() -> None:
    of = busy()
    assert [each.revision for each in of.entries_after(10, 99) or []] == [11, 12, 13]
    assert [each.revision for each in of.entries_after(11, 1) or []] == [12]
    assert of.entries_after(13, 99) == []
    assert of.entries_after(14, 99) == []
    assert of.entries_after(10, 0) == []
    assert of.entries_after(9, 99) is None


def test_composed() -> None:
    of = busy()
    found = of.composed_after(10)
    assert found is not None
    revision, epoch, raw = found
    assert (revision, epoch) == (13, EPOCH)
    assert decode_server_frame(raw) == [CaughtUp("0", 10, 13, EPOCH, msgspec.Raw(b'["cba"]'))]
    assert of.composed_after(9) is None
    assert of.composed_after(14) is None
    level = of.composed_after(13)
    assert level is not None
    assert decode_server_frame(level[2]) == [CaughtUp("0", 13, 13, EPOCH, msgspec.Raw(b"[]"))]


def test_the_last_accepted_operation_of_a_client() -> None:
    of = busy()
    assert of.last_accepted(ANN) == (5, 13)  # 6 is on its way
    assert of.last_accepted(BOB) == (9, 12)
    assert of.last_accepted(CAT) == (0, 0)
    assert of.last_accepted("client-dan") == (0, 0)
    of.committed()
    assert of.last_accepted(ANN) == (6, 14)


def test_epochs() -> None:
    of = busy()
    assert [of.epoch_at(revision) for revision in (9, 10, 11, 12, 13)] == [None, None, EPOCH - 1, EPOCH - 1, EPOCH]


@pytest.mark.parametrize("revision", [14, 15, 16])
def test_what_is_not_committed_has_no_epoch_yet(revision: int) -> None:
    assert busy().epoch_at(revision) is None


# --- Snapshots ---


def test_a_snapshot_of_a_quiet_section() -> None:
    of = section("ba\n", 12, recent=(entry(12, ["b"], 9),))
    assert of.snapshot(12) == ContentAt(12, EPOCH - 1, b'["ba\\n"]')


def test_a_snapshot_asked_for_while_a_batch_is_on_its_way_is_served_at_its_commit() -> None:
    of = section("a\n", 5)
    accept(of, op(["b"], 5))
    of.freeze("b")
    assert of.snapshot(5) is None
    of.committed()
    assert of.snapshot(5) == ContentAt(6, EPOCH, b'["ba\\n"]')


def test_when_more_gathered_meanwhile_it_is_served_at_the_commit_of_that() -> None:
    of = section("a\n", 5)
    accept(of, op(["b"], 5))
    of.freeze("b")
    assert of.snapshot(5) is None
    accept(of, op(["c"], 5, 1, BOB))
    of.committed()
    assert of.snapshot(5) is None
    of.freeze("c")
    accept(of, op(["d"], 5, 1, CAT))
    of.committed()
    assert of.snapshot(5) == ContentAt(7, EPOCH, b'["cba\\n"]')


def test_it_is_never_ahead_of_the_batch_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(section_module, "BATCH_ENTRIES", 1)
    of = section("a\n", 5)
    accept(of, op(["b"], 5), op(["c"], 5, 1, BOB))
    assert of.snapshot(5) is None
    commit(of)
    assert of.snapshot(5) is None
    commit(of)
    assert of.snapshot(5) == ContentAt(7, EPOCH, b'["cba\\n"]')


def test_a_cached_one_is_handed_out_while_it_is_new_enough() -> None:
    of = section("a\n", 5)
    assert of.snapshot(5) == ContentAt(5, EPOCH - 1, b'["a\\n"]')
    accept(of, op(["b"], 5))
    assert of.snapshot(5) == ContentAt(5, EPOCH - 1, b'["a\\n"]')
    assert of.snapshot(6) is None


def test_its_message_says_where_the_section_stands() -> None:
    of = section("ba\n", 12, right="3", recent=(entry(12, ["b"], 9),))
    found = of.snapshot(12)
    assert found is not None
    (message,) = decode_server_frame(of.snapshot_message(found))
    assert message == Snapshot("0", 12, EPOCH - 1, "3", None, msgspec.Raw(b'["ba\\n"]'))


def test_an_old_owners_content_is_not_an_alias_of_what_it_shows() -> None:
    of = section("a\n")
    first = of.snapshot(0)
    accept(of, op(["b"]))
    commit(of)
    assert first is not None
    assert decode(first.content).text() == "a\n"
    assert of.entries_after(0, 9) == of.entries_after(0, 9)
    assert deltas(of.entries_after(0, 9)) == [Delta.replace(0, 0, "b")]
