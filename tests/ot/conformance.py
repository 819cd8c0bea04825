"""Random cases, put to the engine and to npm's quill-delta: the answers must be the same, operation for operation.

python -m tests.ot.conformance --cases 1000000 --seed 7
"""

import argparse
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import msgspec

from coscribe import Delta
from tests.ot.cases import Cases, Document, to_operations, units_of
from tests.support.quill import Question, ask_quill

AT_ONCE: Final = 100_000  # for one Node process
SHOWN: Final = 5

_canonical: Final = msgspec.json.Encoder(order="sorted").encode


class Case(NamedTuple):
    question: Question
    ours: Any


class Report(NamedTuple):
    cases: Counter[str]
    different: list[tuple[Case, Any]]

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.cases.items()))
        lines = [f"{self.cases.total()} cases ({kinds}), {len(self.different)} different"]
        for case, answer in self.different[:SHOWN]:
            lines += [f"  asked {case.question}", f"  ours  {case.ours}", f"  npm's {answer}"]
        return "\n".join(lines)


def compare(cases: int, seed: int) -> Report:
    report = Report(Counter(), [])
    source = generate(seed)
    while left := cases - report.cases.total():
        asked = [next(source) for _ in range(min(left, AT_ONCE))]
        for case, answer in zip(asked, ask_quill([case.question for case in asked]), strict=True):
            report.cases[case.question[0]] += 1
            if case.ours != answer or _canonical(case.ours) != _canonical(answer):
                report.different.append((case, answer))
    return report


def generate(seed: int) -> Iterator[Case]:
    """Every kind of question in turn, without end."""
    rng = random.Random(seed)
    cases = Cases(rng, long=0.02)
    while True:
        for make in KINDS:
            yield make(cases, rng)


def _change(cases: Cases, rng: random.Random, document: Document) -> tuple[Delta, Document]:
    """One that changes something."""
    while True:
        operations, result = cases.change(document, rest=rng.choice([0.1, 0.3]))
        if delta := Delta.from_quill(operations):
            return delta, result


def _document(cases: Cases) -> tuple[Delta, Document]:
    while not (document := cases.document()):
        pass
    return Delta.from_quill(to_operations(document)), document


def _compose_changes(cases: Cases, rng: random.Random) -> Case:
    first, middle = _change(cases, rng, cases.document())
    return _compose(first, _change(cases, rng, middle)[0])


def _compose_to_a_document(cases: Cases, rng: random.Random) -> Case:
    base, document = _document(cases)
    return _compose(base, _change(cases, rng, document)[0])


def _compose(a: Delta, b: Delta) -> Case:
    return Case(("compose", a.to_quill(), b.to_quill()), a.compose(b).to_quill())


def _transform(cases: Cases, rng: random.Random) -> Case:
    document = cases.document()
    a, b = _change(cases, rng, document)[0], _change(cases, rng, document)[0]
    priority = rng.random() < 0.5
    return Case(("transform", a.to_quill(), b.to_quill(), priority), a.transform(b, priority).to_quill())


def _transform_position(cases: Cases, rng: random.Random) -> Case:
    document = cases.document()
    delta = _change(cases, rng, document)[0]
    position, priority = rng.randint(0, units_of(document)), rng.random() < 0.5
    question = ("transformPosition", delta.to_quill(), position, priority)
    return Case(question, delta.transform_position(position, priority))


def _invert(cases: Cases, rng: random.Random) -> Case:
    base, document = _document(cases)
    delta = _change(cases, rng, document)[0]
    return Case(("invertByValue", delta.to_quill(), base.to_quill()), delta.invert(base).to_quill())


# Ten in turn: of each twenty, four are compose, eight transform, four transformPosition, four invert.
KINDS: Final[list[Callable[[Cases, random.Random], Case]]] = [
    _compose_changes,
    _transform,
    _transform_position,
    _invert,
    _transform,
    _compose_to_a_document,
    _transform,
    _transform_position,
    _invert,
    _transform,
]


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.ot.conformance", description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="for other cases (default: %(default)s)")
    given = parser.parse_args()
    report = compare(given.cases, given.seed)
    print(report)
    raise SystemExit(bool(report.different))


if __name__ == "__main__":
    main()
