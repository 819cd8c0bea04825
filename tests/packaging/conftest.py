"""What compiling takes is a C compiler and Python's headers; where they are not, nothing compiled can be tested."""

import os

import pytest

from hatch_build import CannotCompile, check_machine


@pytest.fixture(scope="session")
def compiler() -> None:
    try:
        check_machine()
    except CannotCompile as reason:
        if "compiler" in os.environ.get("COSCRIBE_REQUIRE", ""):
            pytest.fail(f"the merge engine cannot be compiled: {reason}")
        pytest.skip(f"the merge engine cannot be compiled: {reason}")
