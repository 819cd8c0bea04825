"""Real editing histories. They are no part of the repository: COSCRIBE_TRACES, or the folder `traces` beside it."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from coscribe.ot import Delta, compose_all

FOLDER = Path(os.environ.get("COSCRIBE_TRACES") or Path(__file__).parents[3] / "shared" / "traces")


def load(name: str) -> dict[str, Any]:
    file = FOLDER / f"{name}.json.gz"
    if not file.exists():
        reason = f"no trace {name} in {FOLDER} (COSCRIBE_TRACES names another folder)"
        if "traces" in os.environ.get("COSCRIBE_REQUIRE", ""):
            pytest.fail(reason)
        pytest.skip(reason)
    with gzip.open(file) as opened:
        trace: dict[str, Any] = json.load(opened)
    return trace


def delta_of(patches: list[list[Any]]) -> Delta:
    """One transaction: its patches, each relative to what the one before left."""
    deltas = [Delta.replace(position, deleted, text) for position, deleted, text in patches]
    return deltas[0] if len(deltas) == 1 else compose_all(deltas)
