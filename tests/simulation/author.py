"""What somebody types: random edits, in which every typed character is another one, so that each can be followed."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from coscribe.ot import Delta
from tests.simulation.texts import collapse, units

UNITS = 80  # about so long are documents: short, so that people get in each other's way
FORMATS = ({"bold": True}, {"bold": None}, {"color": "red"}, {"italic": True, "bold": True}, {"color": None})


def new_alphabet() -> Iterator[str]:
    """Characters that are never given twice: most in the basic plane, every fifth astral."""
    basic, astral = map(chr, itertools.count(0x4E00)), map(chr, itertools.count(0x20000))
    for number in itertools.count():
        yield next(astral) if number % 5 == 4 else next(basic)


@dataclass(frozen=True, slots=True)
class Edit:
    """`spoilt`: the server must refuse it."""

    delta: Delta
    typed: str = ""
    deleted: str = ""
    spoilt: bool = False


class Author:
    def __init__(self, rng: random.Random, alphabet: Iterator[str]) -> None:
        self._rng, self._alphabet = rng, alphabet

    def think(self, document: Delta) -> Edit:
        """The next edit of the document as it is shown."""
        text = units(document)
        luck = self._rng.random()
        if not text:
            new = next(self._alphabet)
            return Edit(Delta.replace(0, 0, new), new)
        if luck < 0.02:
            return self._spoilt(text)
        if luck < 0.12:
            return self._format(text)
        if luck < 0.16:
            embed = {"image": "a"}
            at = self._place(text)
            return Edit(Delta.from_quill([*([{"retain": at}] if at else []), {"insert": embed}]))
        return self._replace(text)

    def _replace(self, text: str) -> Edit:
        """Type, delete or replace; sometimes a paste."""
        rng = self._rng
        at = rng.choice((self._place(text), self._place(text[: min(6, len(text))])))
        long = len(text) > UNITS
        most = max(0, min(rng.choice((1, 3, 30 if long else 10)), len(text) - 1 - at))
        gone = rng.randint(0, most) if long else rng.choice((0, 0, rng.randint(0, most)))
        if at + gone < len(text) and is_low(text[at + gone]):
            gone += 1
        count = rng.choice((0, 1, 1, 2, 4)) if rng.random() > 0.05 else rng.randint(10, 40)
        if long:
            count //= 2
        new = "".join(itertools.islice(self._alphabet, count or (0 if gone else 1)))
        attributes = rng.choice((None, None, None, {"bold": True}))
        deleted = collapse(text[at : at + gone]).replace("\ufffc", "")
        return Edit(Delta.replace(at, gone, new, attributes), new, deleted)

    def _format(self, text: str) -> Edit:
        at = self._place(text)
        length = self._rng.randint(1, min(20, len(text) - at))
        if at + length < len(text) and is_low(text[at + length]):
            length += 1
        return Edit(Delta.format(at, length, self._rng.choice(FORMATS)))

    def _spoilt(self, text: str) -> Edit:
        """The final newline is deleted, or something is typed behind it."""
        if self._rng.random() < 0.5 and (end := text.rfind("\n")) >= 0:
            return Edit(Delta.replace(end, 1, ""), spoilt=True)
        new = next(self._alphabet)
        return Edit(Delta.replace(len(text), 0, new), new, spoilt=True)

    def _place(self, text: str) -> int:
        """A position before the final newline that parts no surrogate pair."""
        at = self._rng.randrange(len(text))
        return at - 1 if at and is_low(text[at]) else at


def is_low(unit: str) -> bool:
    return 0xDC00 <= ord(unit) <= 0xDFFF
