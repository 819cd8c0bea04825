"""Measures pycrdt and loro; a process of its own, started by `benchmarks.engine`.

Each is given what its server is given: the update of every single edit, made beforehand by a document that typed it.
"""

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import loro
import pycrdt

from benchmarks.engine.workloads import TRACES, read_lines
from coscribe.ot import decode

COPIES: Final = 20
PLAIN: Final = "automerge-paper"


def changes(path: Path) -> list[tuple[int, int, str]]:
    """(position, units deleted, text inserted) of each line; every one is plain, and of characters of one unit."""
    found = []
    for raw in read_lines(path):
        delta = decode(raw)
        at = deleted = 0
        text = ""
        for component in delta.components:
            if isinstance(component, str):
                text = component
            else:
                assert isinstance(component, int), "these histories have no formats"
                if component > 0:
                    at = component
                else:
                    deleted = -component
        found.append((at, deleted, text))
    return found


def pycrdt_updates(edits: list[tuple[int, int, str]]) -> list[bytes]:
    document: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    text = document.get("text", type=pycrdt.Text)
    updates: list[bytes] = []
    subscription = document.observe(lambda event: updates.append(event.update))
    for at, deleted, inserted in edits:
        with document.transaction():
            if deleted:
                del text[at : at + deleted]
            if inserted:
                text.insert(at, inserted)
    document.unobserve(subscription)
    return updates


def loro_updates(edits: list[tuple[int, int, str]]) -> list[bytes]:
    document = loro.LoroDoc()  # type: ignore[no-untyped-call]
    text = document.get_text("text")
    updates: list[bytes] = []

    def keep(update: bytes) -> bool:
        updates.append(update)
        return True

    subscription = document.subscribe_local_update(keep)
    for at, deleted, inserted in edits:
        if deleted:
            text.delete(at, deleted)
        if inserted:
            text.insert(at, inserted)
        document.commit()
    subscription.unsubscribe()
    return updates


def give(apply: Callable[[bytes], object], updates: list[bytes]) -> None:
    for update in updates:
        apply(update)


def timed(run: Callable[[], object]) -> float:
    gc.collect()
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def speeds(folder: Path) -> dict[str, float]:
    edits = changes(folder / f"{PLAIN}.ops")
    end = decode((folder / f"{PLAIN}.end").read_bytes()).text()
    updates = pycrdt_updates(edits)
    first: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    text = first.get("text", type=pycrdt.Text)
    pycrdt_s = timed(lambda: give(first.apply_update, updates))
    assert str(text) == end, "pycrdt"
    updates = loro_updates(edits)
    second = loro.LoroDoc()  # type: ignore[no-untyped-call]
    loro_s = timed(lambda: give(second.import_, updates))
    assert second.get_text("text").to_string() == end, "loro"
    return {"pycrdt": pycrdt_s / len(edits), "loro": loro_s / len(edits)}


def memory(folder: Path) -> dict[str, float]:
    """Resident bytes that a document takes after all its edits, as if their updates had come in one; pycrdt's memory is
    outside Python's allocator. The rich one is typed with its formats."""
    found = {}
    for name in TRACES:
        rich = name.startswith("rich")
        source: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
        text = source.get("text", type=pycrdt.Text)
        if rich:
            for raw in read_lines(folder / f"{name}.ops"):
                _apply_rich(text, raw)
        else:
            for at, deleted, inserted in changes(folder / f"{name}.ops"):
                if deleted:
                    del text[at : at + deleted]
                if inserted:
                    text.insert(at, inserted)
        update = source.get_update()
        units = len(decode((folder / f"{name}.end").read_bytes()).text())
        gc.collect()
        before = _resident()
        copies = []
        for _ in range(COPIES):
            copy: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
            copy.get("text", type=pycrdt.Text)
            copy.apply_update(update)
            copies.append(copy)
        found[name] = (_resident() - before) / COPIES / units
    return found


def _apply_rich(text: "pycrdt.Text", raw: bytes) -> None:
    at = 0
    for operation in decode(raw).to_quill():
        attributes = operation.get("attributes")
        if "retain" in operation:
            if attributes:
                text.format(at, at + operation["retain"], attributes)
            at += operation["retain"]
        elif "delete" in operation:
            del text[at : at + operation["delete"]]
        else:
            text.insert(at, operation["insert"], attributes)
            at += len(operation["insert"])


def _resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise OSError("this system does not tell its resident memory")


def main() -> None:
    folder = Path(sys.argv[2])
    print(json.dumps({"memory": memory(folder)} if sys.argv[1] == "memory" else {"seconds": speeds(folder)}))


if __name__ == "__main__":
    main()
