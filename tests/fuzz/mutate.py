"""Mutations that keep JSON JSON, and steps steps: bytes that are flipped at random seldom get past the parser."""

import json
import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final

VALUES: Final[list[Any]] = [
    0, 1, -1, 2, 3, -3, 7, 40, 10_000_000, 10_000_001, 2**53, 10**30, 1.0, -0.0, 1.5, 1e21, True, False, None,
    "", "x", "ab", "\n", "x\n", "é", "😀", "a😀b", "\ud83d", "\ude00", "\0", "\x7f", "x" * 20,
    [], {}, [[1]], {"a": {"a": 1}}, {"image": "a.png"}, {"formula": {"tex": None}}, {"bold": True}, {"bold": None},
    {"bold": 1, "list": {"kind": "bullet"}}, {"retain": 1}, {"delete": 1}, {"insert": "y"},
    {"retain": 2, "attributes": {"bold": True}}, {"retain": 1, "attributes": {"bold": None, "color": "red"}},
    {"insert": "z", "attributes": {"bold": True}}, {"insert": {"image": "a"}, "attributes": {"alt": "b"}},
]  # fmt: skip
NAMES: Final = [
    "insert", "retain", "delete", "attributes", "bold", "list", "image", "a", "extra", "__proto__", "constructor", "é",
    "\0", "\ud83d",
]  # fmt: skip
STEPS: Final = [b"f", b"c", b"f\nc", b"k", b"d0", b"d3", b"t9", b"v0", b"v9", b"f\nc\nk", b'sA0+[1,"x"]', b"sB2+[-1]"]


def mutated(target: str, data: bytes, most: int, rng: random.Random, otherwise: Callable[[bytes], bytes]) -> bytes:
    """`otherwise` mutates bytes as bytes."""
    if rng.random() < 0.4:
        return otherwise(data)
    changed = _delta(data, rng) if target == "decode" else _steps(data, rng)
    return otherwise(data) if changed is None or len(changed) > most else changed


def _delta(data: bytes, rng: random.Random) -> bytes | None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        value = _changed(value, rng)
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


def _changed(value: Any, rng: random.Random) -> Any:
    """With one thing in it another one."""
    if not isinstance(value, (list, dict)) or not value or rng.random() < 0.15:
        return _new(rng) if not isinstance(value, str) or rng.random() < 0.5 else value + rng.choice("a\n😀")
    keys = list(range(len(value))) if isinstance(value, list) else list(value)
    key = rng.choice(keys)
    kind = rng.random()
    if kind < 0.5:
        value[key] = _changed(value[key], rng)
    elif kind < 0.65:
        del value[key]
    elif isinstance(value, list):
        value.insert(key, _new(rng) if rng.random() < 0.7 else deepcopy(value[rng.choice(keys)]))
    else:
        value[rng.choice(NAMES)] = _new(rng) if rng.random() < 0.5 else deepcopy(value[key])
    return value


def _new(rng: random.Random) -> Any:
    return deepcopy(rng.choice(VALUES))


def _steps(data: bytes, rng: random.Random) -> bytes:
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    line = lines[at]
    kind = rng.random()
    if kind < 0.45 and line[:1] in (b"s", b"r"):
        changed = _delta(line[4:], rng)
        lines[at] = line[:4] + (line[4:] if changed is None else changed)
    elif kind < 0.55 and line[:1] in (b"s", b"r"):
        lines[at] = line[:1] + rng.choice([b"A", b"B", b"C"]) + rng.choice(list("/0123459!")).encode() + b"+" + line[4:]
    elif kind < 0.75:
        lines.insert(at + 1, rng.choice(STEPS))
    elif kind < 0.85:
        lines.insert(at, rng.choice(lines))
    elif len(lines) > 1:
        del lines[at]
    return b"\n".join(lines)
