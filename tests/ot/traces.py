"""Recorded histories as the engine's tests read them."""

import gzip
import json
from typing import Any

from coscribe.ot import Delta, compose_all
from tests.support.traces import trace_path


def load(name: str) -> dict[str, Any]:
    with gzip.open(trace_path(name)) as opened:
        trace: dict[str, Any] = json.load(opened)
    return trace


def delta_of(patches: list[list[Any]]) -> Delta:
    """One transaction: its patches, each relative to what the one before left."""
    deltas = [Delta.replace(position, deleted, text) for position, deleted, text in patches]
    return deltas[0] if len(deltas) == 1 else compose_all(deltas)
