"""What compiling takes is a C compiler and Python's headers; where they are not, nothing compiled can be tested."""

import pytest

from hatch_build import CannotCompile, check_machine
from tests.support.required import cannot_run


@pytest.fixture(scope="session")
def compiler() -> None:
    try:
        check_machine()
    except CannotCompile as reason:
        cannot_run("compiler", f"the merge engine cannot be compiled: {reason}")
