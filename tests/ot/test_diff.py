"""A diff leads from one document to the other, whatever time it has, and is small where it has enough."""

import math
import random
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coscribe import Delta, InvalidDelta
from coscribe.ot import decode, encode
from tests.ot.cases import Cases, to_operations
from tests.support.quill import Question, ask_quill

randoms = st.randoms(use_true_random=False)


def read(compact: str) -> Delta:
    return decode(compact.encode())


def bold(text: str) -> str:
    return f'{{"insert":"{text}","attributes":{{"bold":true}}}}'


def test_equal_documents_need_no_change() -> None:
    assert read('["a",{"insert":{"image":"a"}}]').diff(read('["a",{"insert":{"image":"a"}}]')) == Delta()
    assert Delta().diff(Delta()) == Delta()


TABLE = [
    ("[]", '["ab"]', '["ab"]'),
    ('["ab"]', "[]", "[-2]"),
    ('["ab\\n"]', '["axb\\n"]', '[1,"x"]'),
    ('["one\\ntwo\\nthree\\n"]', '["one\\nthree\\n"]', "[4,-4]"),
    ('["mouse\\n"]', '["sofas\\n"]', '["sofas",-5]'),
    ('["ab"]', f"[{bold('ab')}]", '[{"retain":2,"attributes":{"bold":true}}]'),
    (f"[{bold('ab')}]", '["ab"]', '[{"retain":2,"attributes":{"bold":null}}]'),
    (f'["a",{bold("b")}]', f'[{bold("a")},"xb"]', None),
    # Two emoji share their first unit. Cut there, either half would be no character.
    ('["a😀b"]', '["a😁b"]', '[1,"😁",-2]'),
    ('["😀😀"]', '["😀"]', "[2,-2]"),
    # An embed keeps its place if its value is the same.
    (
        '["a",{"insert":{"image":"a"}}]',
        '["ab",{"insert":{"image":"a"},"attributes":{"alt":"a"}}]',
        '[1,"b",{"retain":1,"attributes":{"alt":"a"}}]',
    ),
    ('[{"insert":{"image":"a"}}]', '[{"insert":{"image":"b"}}]', '[{"insert":{"image":"b"}},-1]'),
    ('[{"insert":{"n":1}}]', '[{"insert":{"n":true}}]', '[{"insert":{"n":true}},-1]'),
    ('[{"insert":{"n":1}}]', '[{"insert":{"n":1.0}}]', "[]"),
    ('[{"insert":{"image":"a"}}]', '["a"]', '["a",-1]'),
    # Only what differs between attributes is said.
    (
        '[{"insert":"a","attributes":{"a":1,"b":{"x":1,"y":2},"c":1}}]',
        '[{"insert":"a","attributes":{"a":true,"b":{"y":2,"x":1},"d":1}}]',
        '[{"retain":1,"attributes":{"a":true,"c":null,"d":1}}]',
    ),
]


@pytest.mark.parametrize(("before", "after", "change"), TABLE)
def test_diff(before: str, after: str, change: str | None) -> None:
    a, b = read(before), read(after)
    assert a.compose(a.diff(b)) == b
    if change is not None:
        assert encode(a.diff(b)).decode() == change


@pytest.mark.parametrize("change", ["[-1]", '[1,"x"]', '[{"retain":1,"attributes":{"b":1}}]', '["x",-1]'])
def test_only_documents_have_a_diff(change: str) -> None:
    delta = read(change)
    for a, b in ((delta, Delta()), (Delta(), delta)):
        with pytest.raises(InvalidDelta):
            a.diff(b)


@given(randoms, st.sampled_from([0.0, 1.0, math.inf]))
def test_a_diff_leads_to_the_other_document(rng: random.Random, timeout_s: float) -> None:
    cases = Cases(rng, long=0.1)
    atoms = cases.document(most=40)
    # A document made of the first one, or another one.
    other = cases.change(atoms, rest=0.05)[1] if rng.random() < 0.7 else cases.document(most=40)
    a, b = (Delta.from_quill(to_operations(document)) for document in (atoms, other))
    change = a.diff(b, timeout_s)
    assert a.compose(change) == b
    assert change.base_length <= a.length
    # No half of a pair stands in it, and it is in normal form.
    assert Delta.from_quill(change.to_quill()).components == change.components
    assert a.diff(a) == Delta()


@given(randoms)
def test_documents_cut_inside_a_pair_have_one_too(rng: random.Random) -> None:
    """No document is, but a delta put together by hand may be."""
    a, b = (read('["a😀b😁",{"insert":"😀","attributes":{"b":1}},"c"]').slice(rng.randint(0, 9)) for _ in range(2))
    assert a.compose(a.diff(b)) == b


def paragraphs(rng: random.Random, count: int) -> list[str]:
    words = ["some", "of", "these", "are", "said", "again", "and", "again", "in", "one", "order", "or", "another"]
    return [" ".join(rng.choices(words, k=rng.randint(1, 60))) + "\n" for _ in range(count)]


def test_a_long_document_with_few_changes_has_a_small_one() -> None:
    rng = random.Random(5)
    lines = paragraphs(rng, 3_000)
    other = [line + "new\n" if rng.random() < 0.02 else line.replace("again", "once more", rng.random() < 0.02)
             for line in lines]  # fmt: skip
    a, b = Delta().insert("".join(lines)), Delta().insert("".join(other))
    change = a.diff(b, timeout_s=60)
    assert a.compose(change) == b
    assert change.length - change.length_change + change.length < a.length / 100


HARD: dict[str, Callable[[random.Random], tuple[str, ...]]] = {
    "other words": lambda rng: ("".join(paragraphs(rng, 2_000)), "".join(paragraphs(rng, 2_000))),
    "one letter again and again": lambda rng: ("b" + "a" * 200_000 + "c", "d" + "a" * 199_000 + "e"),
    "one line again and again": lambda rng: ("b\n" + "a\n" * 100_000 + "c\n", "d\n" + "a\n" * 99_000 + "e\n"),
    "two letters": lambda rng: tuple("".join(rng.choices("ab", k=50_000)) for _ in range(2)),
}


@pytest.mark.parametrize("what", HARD)
def test_its_time_is_bounded(what: str) -> None:
    """By far more here than it takes, for other work may be going on; without a bound each would take minutes."""
    a, b = (Delta().insert(text) for text in HARD[what](random.Random(6)))
    started = time.monotonic()
    change = a.diff(b, timeout_s=0.2)
    assert time.monotonic() - started < 15
    assert a.compose(change) == b


def test_the_library_is_loaded_by_the_first_diff() -> None:
    code = """
import sys
from coscribe import Delta
assert "diff_match_patch" not in sys.modules
Delta().diff(Delta().insert("a"))
assert "diff_match_patch" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.node
def test_quill_delta_takes_it() -> None:
    """Composed by quill-delta it leads to the same document; and mostly it is the very diff that quill-delta finds."""
    rng = random.Random(7)
    cases = Cases(rng)
    questions: list[Question] = []
    documents, changes = [], []
    for _ in range(1_000):
        atoms = cases.document(most=30)
        a, b = (Delta.from_quill(to_operations(document)) for document in (atoms, cases.change(atoms)[1]))
        documents.append(b.to_quill())
        changes.append(a.diff(b).to_quill())
        questions.append(("compose", a.to_quill(), changes[-1]))
        questions.append(("diff", a.to_quill(), b.to_quill()))
    answers = ask_quill(questions)
    assert answers[::2] == documents
    same = sum(mine == theirs for mine, theirs in zip(changes, answers[1::2], strict=True))
    assert same > 800
