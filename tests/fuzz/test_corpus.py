"""Every seed goes through its target, with and without atheris, on either build of the engine."""

from pathlib import Path

import pytest

from tests.fuzz.__main__ import SEEDS
from tests.fuzz.targets import TARGETS

FILES = sorted(path for target in TARGETS for path in (SEEDS / target).iterdir())


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}: {path.name}")
def test_seed(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


def test_the_corpus_is_small() -> None:
    assert sum(path.stat().st_size for path in FILES) < 100_000
    assert {path.parent.name for path in FILES} == set(TARGETS)
