"""What a test needs of the machine: a laptop may lack it, and the test is skipped there; CI says what it must have."""

import os
from typing import NoReturn

import pytest


def cannot_run(without: str, reason: str) -> NoReturn:
    """Skips the test, or fails it if COSCRIBE_REQUIRE names what is not there."""
    if without in os.environ.get("COSCRIBE_REQUIRE", "").split():
        pytest.fail(reason)
    pytest.skip(reason)
