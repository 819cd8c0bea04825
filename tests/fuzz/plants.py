"""Bugs to plant, each of a kind that only a fuzzer that is alive finds: tests/fuzz/test_fuzzer.py has it find them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from unittest import mock

from coscribe.ot import Delta, DeltaTooLarge, History, InvalidDelta, quill
from coscribe.ot.mainline import Mainline


@dataclass(frozen=True)
class Plant:
    target: str
    owner: Any
    name: str
    instead: Callable[..., Any]


def _length_of_a_boolean(value: object, limits: Any, *, _read: Any = quill.read_units) -> Any:
    return 1 if value is True else _read(value, limits)


def _accept_or_spoil(self: Any, *arguments: Any, _accept: Any = Mainline.accept) -> Any:
    try:
        return _accept(self, *arguments)
    except (InvalidDelta, DeltaTooLarge):
        self.content.apply(Delta().insert("spoilt"))
        raise


def _rebase_to_the_right(self: Any, delta: Delta, base: int) -> Delta:
    for entry in self.between(base, self.revision):
        delta = entry.transform(delta, priority=True)
    return delta


PLANTS: Final = {
    "a boolean is taken for a length": Plant("decode", quill, "read_units", _length_of_a_boolean),
    "a refusal changes the content": Plant("submit", Mainline, "accept", _accept_or_spoil),
    "an insert goes to the wrong side": Plant("submit", History, "rebase", _rebase_to_the_right),
}


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    if name is None:
        yield
        return
    plant = PLANTS[name]
    with mock.patch.object(plant.owner, plant.name, plant.instead):
        yield
