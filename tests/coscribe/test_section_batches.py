"""Freeze and commit: a batch is frozen and bounded, one is unanswered at a time; committing moves what others see."""

from copy import deepcopy

import msgspec
import pytest

import coscribe.section as section_module
from coscribe.batch import Author, BatchHeader, decode_batch
from coscribe.protocol import Entries, decode_server_frame
from coscribe.section import BATCH_BYTES, BATCH_ENTRIES
from persistence.records import MAX_BATCH_BYTES, MAX_BATCH_ENTRIES
from tests.coscribe.sections import (
    ANN,
    BOB,
    EPOCH,
    KEY,
    accept,
    commit,
    entry,
    op,
    section,
)


def test_nothing_waits_at_first() -> None:
    of = section()
    assert of.freeze("b") is None
    assert of.unanswered is None
    with pytest.raises(AssertionError):
        of.committed()


def test_a_batch_has_what_waits() -> None:
    of = section("ab\n", 12)
    accept(of, op(["x"], 12, 3), op(["y"], 12, 1, BOB))
    batch = of.freeze("b1")
    assert batch is not None
    assert (batch.id, batch.base, batch.last, batch.epoch) == ("b1", 12, 14, EPOCH)
    assert of.unanswered is batch
    header, body = decode_batch(batch.published)
    assert header == BatchHeader(13, 14, EPOCH, False, (Author(ANN, 3), Author(BOB, 1)))
    assert decode_server_frame(body) == [
        Entries(KEY.section, 13, [msgspec.Raw(each.entry) for each in batch.entries], EPOCH)
    ]


def test_it_is_frozen_and_the_next_one_gathers_behind_it() -> None:
    of = section()
    accept(of, op(["x"]))
    batch = of.freeze("b1")
    was = deepcopy(batch)
    accept(of, op(["y"], 0, 2))
    assert of.freeze("b2") is None
    assert of.unanswered == was
    of.committed()
    following = of.freeze("b2")
    assert following is not None
    assert [each.revision for each in following.entries] == [2]
    assert following.base == 1


def test_committing_moves_what_others_see() -> None:
    of = section("ab\n", 12)
    accept(of, op(["x"], 12, 3), op(["y"], 12, 1, BOB))
    of.freeze("b")
    assert (of.revision, of.committed_revision, of.committed_epoch) == (14, 12, EPOCH - 1)
    of.committed()
    assert (of.revision, of.committed_revision, of.committed_epoch) == (14, 14, EPOCH)
    assert of.unanswered is None
    assert of.freeze("c") is None


def test_the_epoch_is_told_once() -> None:
    of = section("ab\n", recent=(entry(1, ["ab"], 1),), revision=1)
    epochs = []
    for cseq in (2, 3, 4):
        accept(of, op(["x"], 1, cseq))
        _, body = decode_batch(commit(of).published)
        (message,) = decode_server_frame(body)
        assert isinstance(message, Entries)
        epochs.append(message.epoch)
    assert epochs == [EPOCH, None, None]


def test_a_batch_is_bounded_in_entries() -> None:
    assert BATCH_ENTRIES <= MAX_BATCH_ENTRIES
    of = section()
    accept(of, *(op(["x"], 0, 1, f"client-{number}") for number in range(BATCH_ENTRIES + 3)))
    assert [len(commit(of).entries), len(commit(of).entries)] == [BATCH_ENTRIES, 3]
    assert of.committed_revision == BATCH_ENTRIES + 3


def test_a_batch_is_bounded_in_bytes_but_for_one_entry() -> None:
    assert BATCH_BYTES <= MAX_BATCH_BYTES
    of = section()
    large = "x" * 200_000
    accept(of, *(op([large], 0, 1, f"client-{number}") for number in range(5)))
    assert [len(commit(of).entries) for _ in range(3)] == [2, 2, 1]


def test_an_entry_longer_than_a_batch_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(section_module, "BATCH_BYTES", 50)
    of = section()
    accept(of, op(["x" * 80]), op(["y"], 0, 2), op(["z"], 0, 3), op(["x" * 80], 0, 4))
    assert [len(commit(of).entries) for _ in range(3)] == [1, 2, 1]
