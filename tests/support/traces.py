"""Real editing histories. They are no part of the repository: COSCRIBE_TRACES, or the folder `traces` beside it."""

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("COSCRIBE_TRACES") or Path(__file__).parents[3] / "shared" / "traces")


def trace_path(name: str) -> Path:
    """The file of a history. Without it the test is skipped, or fails where COSCRIBE_REQUIRE names traces."""
    path = FOLDER / f"{name}.json.gz"
    if not path.exists():
        reason = f"no trace {name} in {FOLDER} (COSCRIBE_TRACES names another folder)"
        if "traces" in os.environ.get("COSCRIBE_REQUIRE", ""):
            pytest.fail(reason)
        pytest.skip(reason)
    return path
