"""The history window: bounded by entries and bytes, but nothing young is dropped below a hard bound, and nothing that
is not committed at all. What leaves it is no duplicate any more, but stale."""

from coscribe.protocol import NackCode
from coscribe.section import Known, Section, WindowLimits
from tests.coscribe.sections import ANN, BOB, accept, code, commit, entry, op, section


def typed(count: int, window: WindowLimits, every_ms: int = 1, commits: bool = True) -> Section:
    """A section with `count` entries, one every so many milliseconds."""
    of = section(window=window)
    for number in range(1, count + 1):
        accept(of, op(["x"], of.committed_revision, number), now_ms=number * every_ms)
        if commits:
            commit(of)
    return of


def test_it_is_bounded_by_entries() -> None:
    of = typed(10, WindowLimits(entries=4, min_age_ms=0))
    assert of.window_start == 6
    assert code(of.submit(op(["y"], 5, 1, BOB), 11)) is NackCode.STALE
    accept(of, op(["y"], 6, 1, BOB), now_ms=11)


def test_it_is_bounded_by_bytes() -> None:
    each = len(b'["client-ann",1,["x"]]')
    of = typed(9, WindowLimits(bytes=3 * each, min_age_ms=0))
    assert of.window_start == 6


def test_one_entry_stays_however_long() -> None:
    of = typed(3, WindowLimits(bytes=1, entries=0, min_age_ms=0))
    assert of.window_start == 2


def test_what_is_young_stays() -> None:
    of = typed(10, WindowLimits(entries=4, min_age_ms=7))
    assert of.window_start == 3  # entry 4 is 6 ms old
    accept(of, op(["x"], 10, 11), now_ms=15)
    assert of.window_start == 7  # down to the four


def test_but_not_beyond_the_hard_bound() -> None:
    of = typed(10, WindowLimits(entries=4, min_age_ms=1_000_000, hard_entries=6))
    assert of.window_start == 4


def test_what_is_old_stays_below_the_bounds() -> None:
    assert typed(10, WindowLimits(min_age_ms=0), every_ms=1_000_000).window_start == 0


def test_what_is_not_committed_stays() -> None:
    of = typed(10, WindowLimits(entries=4, min_age_ms=0, hard_entries=5), commits=False)
    assert (of.window_start, of.revision) == (0, 10)
    commit(of)
    assert of.window_start == 6


def test_only_what_is_committed_goes() -> None:
    window = WindowLimits(entries=2, min_age_ms=0, hard_entries=3)
    of = typed(2, window)
    for cseq in range(3, 8):
        accept(of, op(["x"], 2, cseq), now_ms=cseq)
    assert of.window_start == 2
    assert [each.revision for each in of.entries_after(2, 9) or []] == []
    commit(of)
    assert of.window_start == 5


def test_the_last_operation_of_a_client_goes_with_its_entry() -> None:
    of = section(window=WindowLimits(entries=3, min_age_ms=0))
    accept(of, op(["a"], 0, 1, ANN), op(["b"], 0, 1, BOB), op(["c"], 0, 2, BOB))
    commit(of)
    assert of.submit(op(["a"], 0, 1, ANN), 1) == Known(1)
    accept(of, op(["d"], 3, 3, BOB), now_ms=1)
    commit(of)
    assert of.window_start == 1
    assert of.last_accepted(ANN) == (0, 0)
    assert of.last_accepted(BOB) == (3, 4)
    assert code(of.submit(op(["a"], 0, 1, ANN), 2)) is NackCode.STALE


def test_a_client_whose_later_entry_stays_is_still_known() -> None:
    of = section(window=WindowLimits(entries=2, min_age_ms=0))
    accept(of, op(["a"], 0, 1, ANN), op(["b"], 0, 1, BOB), op(["c"], 0, 2, ANN))
    commit(of)
    assert of.window_start == 1
    assert of.last_accepted(ANN) == (2, 3)
    assert of.submit(op(["a"], 1, 1, ANN), 1) == Known(3)


def test_an_owner_starts_with_what_its_predecessor_knew() -> None:
    recent = tuple(entry(revision, ["x"], revision) for revision in range(5, 11))
    of = section("x" * 10 + "\n", 10, recent=recent, window=WindowLimits(entries=4, min_age_ms=0))
    assert of.window_start == 6
    assert of.submit(op(["x"], 6, 9), 0) == Known(10)
    assert section("\n", 10).window_start == 10
