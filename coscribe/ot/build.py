"""Which build of this package runs: one source, compiled by hatch_build.py or read by Python."""

from typing import Final, Literal

COMPILED: Final[bool] = not __file__.endswith(".py")

ENGINE: Final[Literal["compiled", "pure"]] = "compiled" if COMPILED else "pure"
