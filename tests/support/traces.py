"""Real editing histories. They are no part of the repository: COSCRIBE_TRACES, or the folder `traces` beside it."""

import os
from pathlib import Path

import pytest

from tests.support.required import cannot_run

GIVEN = os.environ.get("COSCRIBE_TRACES")
FOLDER = Path(GIVEN or Path(__file__).parents[3] / "shared" / "traces")


def trace_path(name: str) -> Path:
    """The file of a history. Without the folder the test is skipped; a folder must have them all."""
    path = FOLDER / f"{name}.json.gz"
    if not path.exists():
        reason = f"no trace {name} in {FOLDER} (COSCRIBE_TRACES names another folder)"
        if GIVEN or FOLDER.is_dir():
            pytest.fail(reason)
        cannot_run("traces", reason)
    return path
