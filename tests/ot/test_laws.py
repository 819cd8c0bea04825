"""What must hold for every delta and every document."""

import random

from hypothesis import given
from hypothesis import strategies as st

from coscribe.ot import Delta, compose_all, decode, encode
from tests.ot.cases import Cases, Document, text_of, to_operations, units_of

randoms = st.randoms(use_true_random=False)


def document_delta(document: Document) -> Delta:
    return Delta.from_quill(to_operations(document))


@given(randoms)
def test_composing_a_document_with_a_change_applies_it(rng: random.Random) -> None:
    cases = Cases(rng)
    document = cases.document()
    change, result = cases.change(document)
    composed = document_delta(document).compose(Delta.from_quill(change))
    assert composed == document_delta(result)
    assert composed.length == units_of(result)
    assert composed.text() == text_of(result)


@given(randoms, st.booleans())
def test_both_orders_of_two_changes_lead_to_the_same_document(rng: random.Random, priority: bool) -> None:
    cases = Cases(rng)
    document = cases.document()
    base = document_delta(document)
    a, b = (Delta.from_quill(cases.change(document)[0]) for _ in range(2))
    over_a = base.compose(a).compose(a.transform(b, priority))
    over_b = base.compose(b).compose(b.transform(a, not priority))
    assert over_a == over_b


@given(randoms)
def test_the_inverse_undoes(rng: random.Random) -> None:
    cases = Cases(rng)
    document = cases.document()
    base = document_delta(document)
    change = Delta.from_quill(cases.change(document)[0])
    assert base.compose(change).compose(change.invert(base)) == base


@given(randoms)
def test_composition_is_associative(rng: random.Random) -> None:
    cases = Cases(rng)
    document = cases.document()
    changes = []
    for _ in range(3):
        change, document = cases.change(document)
        changes.append(Delta.from_quill(change))
    a, b, c = changes
    assert a.compose(b).compose(c) == a.compose(b.compose(c))


@given(randoms, st.integers(0, 9))
def test_composing_as_a_tree_is_composing_in_a_row(rng: random.Random, count: int) -> None:
    cases = Cases(rng)
    document = cases.document()
    changes = []
    in_a_row = Delta()
    for _ in range(count):
        change, document = cases.change(document)
        changes.append(Delta.from_quill(change))
        in_a_row = in_a_row.compose(changes[-1])
    assert compose_all(changes) == in_a_row


@given(randoms)
def test_the_parts_of_a_cut_change_do_what_it_did(rng: random.Random) -> None:
    cases = Cases(rng)
    document = cases.document()
    base = document_delta(document)
    change = Delta.from_quill(cases.change(document)[0])
    at = rng.choice([units_of(document[:n]) for n in range(len(document) + 1)])
    left, right = change.cut(at)
    assert left.base_length <= at
    assert right.base_length <= base.length - at
    changed = base.slice(0, at).compose(left).concat(base.slice(at).compose(right))
    assert changed == base.compose(change)
    assert left.compose(right.shifted(at + left.length_change)) == change


@given(randoms)
def test_a_position_moves_like_an_insert_that_stands_there(rng: random.Random) -> None:
    cases = Cases(rng)
    document = cases.document()
    change = Delta.from_quill(cases.change(document)[0])
    for position in range(units_of(document) + 1):
        marker = Delta.replace(position, 0, "|")
        assert change.transform_position(position, priority=True) == change.transform(marker, priority=False).at
        assert change.transform_position(position, priority=False) == change.transform(marker, priority=True).at


@given(randoms)
def test_lengths_are_those_of_the_documents(rng: random.Random) -> None:
    cases = Cases(rng)
    document = cases.document()
    operations, result = cases.change(document)
    change = Delta.from_quill(operations)
    assert change.base_length <= units_of(document)
    assert change.length_change == units_of(result) - units_of(document)


@given(randoms)
def test_what_is_written_is_read_again(rng: random.Random) -> None:
    cases = Cases(rng)
    document = cases.document()
    for delta in (document_delta(document), Delta.from_quill(cases.change(document)[0])):
        assert decode(encode(delta)) == delta
        assert Delta.from_quill(delta.to_quill()) == delta
        assert hash(decode(encode(delta))) == hash(delta)


@given(randoms)
def test_results_are_in_normal_form(rng: random.Random) -> None:
    """Taking a result apart and putting it together again must find nothing to join, move or drop."""
    cases = Cases(rng)
    document = cases.document()
    first, middle = cases.change(document)
    a, c = Delta.from_quill(first), Delta.from_quill(cases.change(middle)[0])
    b = Delta.from_quill(cases.change(document)[0])
    results = [a.compose(c), a.transform(b, True), a.invert(document_delta(document)), *a.cut(units_of(document) // 2)]
    results += [b.shifted(3), document_delta(document).concat(document_delta(middle))]
    for result in results:
        assert Delta.from_quill(result.to_quill()).components == result.components
