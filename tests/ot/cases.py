"""Random documents and changes of them, with a model of a document that is too simple to be wrong: a list of atoms.

An atom is one character, one embed or a long run of text, with its attributes. Everything is written as Quill
operations; places are chosen between atoms, so that no change cuts a surrogate pair.
"""

import random
from typing import Any, NamedTuple

Operation = dict[str, Any]
Operations = list[Operation]

LETTERS = "abc \né漢😀𝔘"
# Values that Python takes for one another (True, 1), that JavaScript takes for nothing, and nested ones.
FORMATS: dict[str, list[Any]] = {
    "bold": [True, 1, "1"],
    "color": ["red", "blue😀", ""],
    "size": [0, 1.5, -1e21],
    "list": [{"kind": "ordered", "start": 1}, {"kind": "bullet", "of": [None, {"😀": []}]}, False],
}
EMBEDS: list[dict[str, Any]] = [{"image": "a.png"}, {"formula": {"tex": "😀"}}, {"divider": True}, {"divider": None}]


class Atom(NamedTuple):
    insert: str | dict[str, Any]
    attributes: dict[str, Any]

    @property
    def units(self) -> int:
        text = self.insert
        return len(text) + sum(letter > "\uffff" for letter in text) if isinstance(text, str) else 1


Document = list[Atom]


class Cases:
    """Chooses by one seeded generator, a `random.Random` or Hypothesis's stand-in for it. `long` is the chance of a
    long run of text where there would be some letters."""

    def __init__(self, rng: random.Random, long: float = 0.0) -> None:
        self.rng = rng
        self.long = long

    def document(self, most: int = 12) -> Document:
        return [atom for _ in range(self.rng.randint(0, most // 3)) for atom in self.atoms()]

    def atoms(self) -> Document:
        """A few atoms of one format."""
        attributes = self.attributes(0.0) if self.rng.random() < 0.4 else {}
        if self.rng.random() < 0.15:
            return [Atom(self.rng.choice(EMBEDS), attributes)]
        if self.long and self.rng.random() < self.long:
            return [Atom(self.rng.choice(LETTERS) * self.rng.randint(100, 500), attributes)]
        return [Atom(self.rng.choice(LETTERS), attributes) for _ in range(self.rng.randint(1, 5))]

    def attributes(self, nulls: float) -> dict[str, Any]:
        names = self.rng.sample(sorted(FORMATS), self.rng.randint(1, 2))
        return {name: None if nulls and self.rng.random() < nulls else self.rng.choice(FORMATS[name]) for name in names}

    def change(self, document: Document, rest: float = 0.3) -> tuple[Operations, Document]:
        """A change of `document`, and what it leads to. `rest` is the chance to leave the rest alone at each step."""
        operations: Operations = []
        result: Document = []
        at = 0
        while self.rng.random() >= rest:
            kind = self.rng.random()
            here = document[at : at + self.rng.randint(1, 4)]
            if kind < 0.35 or not here:
                new = self.atoms()
                operations += to_operations(new)
                result += new
                continue
            units = sum(atom.units for atom in here)
            if kind < 0.6:
                operations.append({"retain": units})
                result += here
            elif kind < 0.8:
                attributes = self.attributes(0.4)
                operations.append({"retain": units, "attributes": attributes})
                result += [format_atom(atom, attributes) for atom in here]
            else:
                operations.append({"delete": units})
            at += len(here)
        return operations, result + document[at:]

    def plain_change(self, length: int) -> Operations:
        """One plain insert or delete in a document of `length` units: the form of nearly every real operation."""
        at = self.rng.randint(0, length)
        head = [{"retain": at}] if at else []
        if at == length or self.rng.random() < 0.5:
            return [*head, {"insert": "".join(self.rng.choices("xyz", k=self.rng.randint(1, 3)))}]
        return [*head, {"delete": self.rng.randint(1, min(4, length - at))}]


def format_atom(atom: Atom, attributes: dict[str, Any]) -> Atom:
    merged = {**atom.attributes, **attributes}
    return Atom(atom.insert, {name: value for name, value in merged.items() if value is not None})


def to_operations(document: Document) -> Operations:
    return [
        {"insert": atom.insert, "attributes": atom.attributes} if atom.attributes else {"insert": atom.insert}
        for atom in document
    ]


def units_of(document: Document) -> int:
    return sum(atom.units for atom in document)


def text_of(document: Document) -> str:
    return "".join(atom.insert for atom in document if isinstance(atom.insert, str))
