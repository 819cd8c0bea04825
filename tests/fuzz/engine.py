"""Runs a target under atheris, with arguments of libFuzzer's. That ends the process itself: start it as one by itself.

python -m tests.fuzz.engine TARGET PLANT [ARGUMENT OF LIBFUZZER]…
"""

import random
import sys

import atheris

from tests.fuzz.mutate import mutated


def main() -> None:
    target, plant, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=["coscribe"]):
        from tests.fuzz.plants import planted
        from tests.fuzz.targets import TARGETS

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        return mutated(target, data, most, random.Random(seed), lambda data: atheris.Mutate(data, most))

    atheris.Setup([sys.argv[0], *arguments], TARGETS[target], custom_mutator=mutate)
    with planted(plant or None):
        atheris.Fuzz()


if __name__ == "__main__":
    main()
