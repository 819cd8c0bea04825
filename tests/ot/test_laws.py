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
def test_the_inverse_of_the_inverse_does_what_the_change_did(rng: random.Random) -> None:
    """It need not be the change itself: of that, only what had an effect comes back."""
    cases = Cases(rng)
    document = cases.document()
    base = document_delta(document)
    change = Delta.from_quill(cases.change(document)[0])
    changed = base.compose(change)
    again = change.invert(base).invert(changed)
    assert base.compose(again) == changed
    assert again.invert(base) == change.invert(base)


@given(randoms)
def test_the_change_that_does_nothing_is_neutral(rng: random.Random) -> None:
    cases = Cases(rng)
    document = cases.document()
    base = document_delta(document)
    change = Delta.from_quill(cases.change(document)[0])
    nothing = Delta()
    assert change.compose(nothing) == change == nothing.compose(change)
    assert nothing.transform(change, True) == change == nothing.transform(change, False)
    assert change.transform(nothing, True) == nothing == change.transform(nothing, False)
    assert nothing.invert(base) == nothing
    assert change.concat(nothing) == change == nothing.concat(change)


@given(randoms)
def test_the_parts_of_a_document_are_the_document(rng: random.Random) -> None:
    document = Cases(rng).document()
    whole = document_delta(document)
    first, last = sorted(units_of(document[: rng.randint(0, len(document))]) for _ in range(2))
    before, middle, after = whole.slice(0, first), whole.slice(first, last), whole.slice(last)
    assert before.concat(middle).concat(after) == whole == before.concat(middle.concat(after))
    assert (before.length, middle.length) == (first, last - first)
    # A slice is what deleting the rest leaves.
    assert whole.compose(Delta.replace(last, whole.length - last, "")).compose(Delta.replace(0, first, "")) == middle


@given(randoms)
def test_built_step_by_step_it_is_the_same(rng: random.Random) -> None:
    cases = Cases(rng)
    document = cases.document()
    operations = cases.change(document)[0]
    built = Delta()
    for operation in operations:
        attributes = operation.get("attributes")
        if "insert" in operation:
            built = built.insert(operation["insert"], attributes)
        elif "retain" in operation:
            built = built.retain(operation["retain"], attributes)
        else:
            built = built.delete(operation["delete"])
    assert built == Delta.from_quill(operations)
    assert encode(built) == encode(Delta.from_quill(operations))


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
    base, other = document_delta(document), document_delta(middle)
    here = units_of(middle[:2]), units_of(middle[:5])
    results += [b.shifted(3), base.concat(other), other.slice(*here), base.diff(other), compose_all([base, a, c])]
    for result in results:
        assert Delta.from_quill(result.to_quill()).components == result.components
