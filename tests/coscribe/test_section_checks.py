"""What an owner says to an operation, check by check, in the order of the rules. Whatever is not accepted has changed
nothing."""

from typing import Any

import pytest

from coscribe.ot import Limits
from coscribe.protocol import NackCode
from coscribe.section import Doubt, Known, Later, Outcome, Prepared, Section, Submission, WindowLimits
from tests.coscribe.sections import (
    ANN,
    BOB,
    EPOCH,
    accept,
    code,
    commit,
    committed,
    deltas,
    entry,
    fingerprint,
    op,
    prepared,
    section,
)

TIGHT = Limits(op_bytes=60, components=5, text_units=20, document_units=30)


def unchanged(of: Section, submission: Submission) -> Outcome:
    """The outcome of an operation that changes nothing."""
    before = fingerprint(of)
    outcome = of.submit(submission, 5_000)
    assert not isinstance(outcome, Prepared), outcome
    assert fingerprint(of) == before
    return outcome


def grown() -> Section:
    """Ann and Bob have typed: the log is at revision 12, the window begins after revision 10."""
    recent = (entry(11, ["a"], 4), entry(12, ["b"], 9, BOB))
    return section("ba\n", 12, limits=TIGHT, recent=recent)


# --- One check each ---

FORMS: list[tuple[bytes, NackCode]] = [
    (b"", NackCode.INVALID),
    (b"{}", NackCode.INVALID),
    (b"nonsense", NackCode.INVALID),
    (b'[3,"a"', NackCode.INVALID),
    (b"[0]", NackCode.INVALID),
    (b"[1.5]", NackCode.INVALID),
    (b"[true]", NackCode.INVALID),
    (b'[""]', NackCode.INVALID),
    (b'["\\u0000"]', NackCode.INVALID),
    (b'["\\ud83d"]', NackCode.INVALID),
    (b'["\xff"]', NackCode.INVALID),
    (b'[{"insert":"a","attributes":{"b":' + b"[" * 9 + b"]" * 9 + b"}}]", NackCode.INVALID),
    (b'[{"retain":1,"insert":"a"}]', NackCode.INVALID),
    (b"[" * 50, NackCode.INVALID),
    (b"[31]", NackCode.INVALID),
    (b"[1,-1,1,-1,1,-1]", NackCode.TOO_LARGE),
    (b'["' + b"a" * 21 + b'"]', NackCode.TOO_LARGE),
    (b'["' + b"a" * 60 + b'"]', NackCode.TOO_LARGE),
]


@pytest.mark.parametrize(("delta", "expected"), FORMS)
def test_a_delta_of_another_form_is_refused(delta: bytes, expected: NackCode) -> None:
    limits = Limits(op_bytes=60, components=5, text_units=20, document_units=30, depth=8)
    assert code(unchanged(section(limits=limits), op(delta))) is expected


def test_a_reader_may_not_write() -> None:
    assert code(unchanged(grown(), op(["x"], 12, role="reader"))) is NackCode.FORBIDDEN


@pytest.mark.parametrize("role", ["writer", "owner"])
def test_writers_and_owners_may(role: Any) -> None:
    assert grown().submit(op(["x"], 12, 5, role=role), 0) == Prepared(13)


def test_a_base_beyond_the_log_is_doubted() -> None:
    assert unchanged(grown(), op(["x"], 13, 5)) == Doubt()
    of = grown()
    accept(of, op(["x"], 12, 5))
    assert unchanged(of, op(["y"], 13, 10, BOB)) == Doubt()  # prepared, but on no way into the log yet


def test_a_base_beyond_the_log_waits_for_an_unanswered_batch() -> None:
    of = grown()
    accept(of, op(["x"], 12, 5))
    of.freeze("b")
    assert unchanged(of, op(["y"], 13, 10, BOB)) == Later()
    assert unchanged(of, op(["y"], 99, 10, BOB)) == Later()
    of.committed()
    accept(of, op(["y"], 13, 10, BOB))
    assert unchanged(of, op(["y"], 99, 10, ANN)) == Doubt()


def test_a_sealed_section_takes_nothing() -> None:
    of = section("ba\n", 12, sealed="0", limits=TIGHT)
    assert code(unchanged(of, op(["x"], 12))) is NackCode.SEALED


def test_a_base_before_the_window_is_stale() -> None:
    of = grown()
    assert code(unchanged(of, op(["x"], 9, 5))) is NackCode.STALE
    accept(of, op(["x"], 10, 5))


def test_a_large_operation_far_behind_is_left_to_its_client() -> None:
    recent = tuple(entry(number, ["x"], number) for number in (11, 12, 13))
    of = section("xxxba\n", 13, window=WindowLimits(work=6), recent=recent)
    large: list[Any] = ["y", 1, "z"]
    assert code(unchanged(of, op(large, 10, 1, BOB))) is NackCode.STALE
    accept(of, op([1, "z"], 10, 1, "cy"))  # a plain one costs little, however far behind
    accept(of, op(large, 12, 1, BOB))  # three components past two entries


def test_so_is_any_operation_behind_large_entries() -> None:
    large = [1, "a"] * 9
    recent = (entry(11, ["x"], 11), entry(12, large, 12), entry(13, ["x"], 13))
    of = section("b" * 20 + "\n", 13, window=WindowLimits(work=10), recent=recent)
    assert code(unchanged(of, op([1, "z"], 11, 1, BOB))) is NackCode.STALE
    accept(of, op([1, "z"], 12, 1, BOB))


@pytest.mark.parametrize("cseq", [4, 3, 1])
def test_what_the_client_has_in_the_log_is_a_duplicate(cseq: int) -> None:
    assert unchanged(grown(), op(["a"], 10, cseq)) == Known(11)


def test_so_is_what_is_not_committed_yet() -> None:
    of = grown()
    accept(of, op(["x"], 11, 5))
    assert unchanged(of, op(["x"], 11, 5)) == Known(13)
    of.freeze("b")
    assert unchanged(of, op(["x"], 12, 5)) == Known(13)
    of.committed()
    assert unchanged(of, op(["x"], 12, 5)) == Known(13)


def test_only_entries_after_the_base_make_a_duplicate() -> None:
    """Who has read the entry knows what it sends now."""
    assert unchanged(grown(), op(["a"], 11, 9, BOB)) == Known(12)
    accept(grown(), op(["a"], 12, 9, BOB))


def test_nobody_is_taken_for_another() -> None:
    of = grown()
    accept(of, op(["x"], 10, 4, "client-dan"), op(["y"], 11, 5))
    assert prepared(of) == "yxba\n"


def test_a_document_does_not_grow_over_its_limit() -> None:
    of = section("a" * 25 + "\n", limits=TIGHT)
    assert code(unchanged(of, op(["b" * 5]))) is NackCode.TOO_LARGE
    accept(of, op(["b" * 4]))
    assert code(unchanged(of, op(["b"], 0, 2))) is NackCode.TOO_LARGE
    accept(of, op([-3], 0, 2))


def test_a_document_over_its_limit_can_still_shrink() -> None:
    of = section("a" * 50 + "\n", limits=TIGHT)
    assert code(unchanged(of, op(["b"]))) is NackCode.TOO_LARGE
    accept(of, op([-10]))


def test_formats_count_too() -> None:
    of = section("a\n" * 100, limits=Limits(document_bytes=300))
    assert code(unchanged(of, op([{"retain": 200, "attributes": {"font": "x" * 50}}]))) is NackCode.TOO_LARGE


def test_an_operation_that_runs_past_the_end_is_refused() -> None:
    assert code(unchanged(section("ab\n", limits=TIGHT), op([4, "x"]))) is NackCode.INVALID
    assert code(unchanged(section("ab\n", limits=TIGHT), op([-5]))) is NackCode.INVALID


@pytest.mark.parametrize("delta", [[1, "x"], [1, -1], [1, -2], [{"retain": 1, "attributes": {"bold": True}}]])
def test_a_surrogate_pair_is_not_cut(delta: list[Any]) -> None:
    of = section("\U0001f600ab\n", limits=TIGHT)
    assert code(unchanged(of, op(delta))) is NackCode.INVALID


# --- Their order: what fails two checks is answered by the first ---

ORDER: list[tuple[str, Submission, NackCode]] = [
    ("role before size", op(b"[" + b"1," * 60 + b"1]", 12, role="reader"), NackCode.FORBIDDEN),
    ("size before form", op(b"{" * 61, 12), NackCode.TOO_LARGE),
    ("form before base", op(b"{}", 99), NackCode.INVALID),
    ("form before window", op(b"{}", 1), NackCode.INVALID),
    ("form before duplicate", op(b"{}", 10, 4), NackCode.INVALID),
    ("window before duplicate", op(["a"], 9, 4), NackCode.STALE),
]


@pytest.mark.parametrize(
    ("what", "submission", "expected"), ORDER, ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_first_check_answers(what: str, submission: Submission, expected: NackCode) -> None:
    assert code(unchanged(grown(), submission)) is expected


def test_a_base_beyond_the_log_is_looked_at_before_the_seal() -> None:
    of = section("ba\n", 12, sealed="0")
    assert unchanged(of, op(["x"], 13)) == Doubt()
    assert code(unchanged(of, op(["x"], 3))) is NackCode.SEALED  # and the seal before the window


def test_a_duplicate_is_one_even_where_it_would_not_fit_any_more() -> None:
    of = section("ab\n", limits=TIGHT)
    accept(of, op(["a" * 19]), op([-2], client=BOB))
    assert unchanged(of, op(["a" * 19])) == Known(1)
    assert unchanged(of, op([-2], client=BOB)) == Known(2)


# --- What is accepted ---


def test_an_operation_is_transformed_numbered_and_logged() -> None:
    of = section("ab\n")
    assert of.submit(op([2, "X"], 0, 1, ANN), 1_000) == Prepared(1)
    assert of.submit(op([-1], 0, 1, BOB), 1_001) == Prepared(2)
    assert of.submit(op([1, "Y"], 0, 2, BOB), 1_002) == Prepared(3)  # after its own deletion: base 0 still knows it
    batch = commit(of)
    assert [(each.revision, each.epoch, each.time_ms, each.user) for each in batch.entries] == [
        (1, EPOCH, 1_000, f"user of {ANN}"),
        (2, EPOCH, 1_001, f"user of {BOB}"),
        (3, EPOCH, 1_002, f"user of {BOB}"),
    ]
    assert committed(of) == (3, EPOCH, b'["YbX\\n"]')


def test_of_two_inserts_at_one_place_the_later_goes_left() -> None:
    of = section("ab\n")
    accept(of, op([1, "first"], 0, 1, ANN), op([1, "second"], 0, 1, BOB))
    assert prepared(of) == "asecondfirstb\n"


def test_an_operation_with_nothing_left_to_do_is_still_an_entry() -> None:
    of = section("ab\n")
    accept(of, op([-1], 0, 1, ANN), op([-1], 0, 1, BOB))
    batch = commit(of)
    assert [bool(delta) for delta in deltas(list(batch.entries))] == [True, False]
    assert of.last_accepted(BOB) == (1, 2)


def test_times_never_fall() -> None:
    of = section()
    for cseq, now_ms in enumerate([50, 40, 60, 10], start=1):
        accept(of, op(["x"], 0, cseq, f"client-{cseq}"), now_ms=now_ms)
    assert [each.time_ms for each in commit(of).entries] == [50, 50, 60, 60]


def test_not_even_over_a_change_of_owners() -> None:
    of = grown()
    accept(of, op(["x"], 12, 5), now_ms=7)
    assert commit(of).entries[0].time_ms == 1_012
