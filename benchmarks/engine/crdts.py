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

from benchmarks.engine.workloads import read_lines
from coscribe.ot import OWN_LIMITS, decode

MEMORY_UNITS: Final = 4_000_000
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


def memory(folder: Path, name: str) -> float:
    """Resident bytes a unit that a document of pycrdt takes after all its edits, as if they had come in one update. Its
    memory is outside Python's allocator, so there are many copies, and a process for each document."""
    source: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    text = source.get("text", type=pycrdt.Text)
    for raw in read_lines(folder / f"{name}.ops"):
        _edit(text, raw)
    end = decode((folder / f"{name}.end").read_bytes(), OWN_LIMITS)
    assert len(str(text)) == len(end.text()), name
    update = source.get_update()
    del source, text
    copies = [pycrdt.Doc[pycrdt.Text]() for _ in range(1 + MEMORY_UNITS // end.length)]
    gc.collect()
    before = _resident()
    for copy in copies:
        copy.get("text", type=pycrdt.Text)
        copy.apply_update(update)
    return (_resident() - before) / len(copies) / end.length


def _edit(text: pycrdt.Text, raw: bytes) -> None:
    at = 0
    for operation in decode(raw, OWN_LIMITS).to_quill():
        attributes = operation.get("attributes")
        if "retain" in operation:
            if attributes:
                text.format(at, at + operation["retain"], attributes)
            at += operation["retain"]
        elif "delete" in operation:
            del text[at : at + operation["delete"]]
        else:
            # pycrdt counts bytes: of ASCII there are as many as there are units.
            inserted = operation["insert"].encode("ascii", "replace").decode()
            text.insert(at, inserted, attributes)
            at += len(inserted)


def _resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise OSError("this system does not tell its resident memory")


def main() -> None:
    folder = Path(sys.argv[2])
    memory_wanted = sys.argv[1] == "memory"
    print(json.dumps({"memory": memory(folder, sys.argv[3])} if memory_wanted else {"seconds": speeds(folder)}))


if __name__ == "__main__":
    main()
