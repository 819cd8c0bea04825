"""A smaller run that fails as well: the same seed with fewer faults, fewer people and less time, tried a few times."""

from collections.abc import Iterator
from dataclasses import replace

from tests.simulation.plan import Plan
from tests.simulation.world import Outcome, play

TRIES_MOST = 40


def shrink(outcome: Outcome) -> Outcome:
    """The smallest run found that violates something, the given one if there is none. It may violate another rule:
    what goes wrong first in a smaller run is easier to read all the same."""
    tries = TRIES_MOST
    smaller = True
    while smaller:
        smaller = False
        for plan in _smaller(outcome.plan):
            if tries == 0:
                return outcome
            tries -= 1
            found = play(outcome.seed, plan)
            if found.violation:
                outcome, smaller = found, True
                break
    return outcome


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Each a step smaller, the longest steps first."""
    faults = plan.faults
    half = len(faults) // 2
    if half > 1:
        yield replace(plan, faults=faults[:half])
        yield replace(plan, faults=faults[half:])
    for index in range(len(faults)):
        yield replace(plan, faults=faults[:index] + faults[index + 1 :])
    if plan.documents > 1:
        yield replace(plan, documents=plan.documents - 1)
    if plan.clients > 1:
        yield replace(plan, clients=plan.clients - 1)
    if plan.chaos_s > 2.0:
        yield replace(plan, chaos_s=plan.chaos_s / 2)
