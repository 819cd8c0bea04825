"""Is there room on the disks where a Redis and a Postgres of our own keep what they have?

A Redis that fsyncs always ends itself when it cannot write its append-only file, and so does Postgres with its
write-ahead log. So edits are refused while less than a reserve is free. The reserve is for what is accepted already and
must still get to Postgres, and for the copy that Redis makes when it rewrites its file.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

LOOK_EVERY_S: Final = 1.0
# More than the reserve must be free again before edits are taken: else each flush and trim would turn it on and off.
ENOUGH_NUMERATOR, ENOUGH_DENOMINATOR = 9, 8
MIB: Final = 1 << 20


class DiskReserve:
    """`short`: at the last look one of the disks had too little free, and it has not had enough since."""

    def __init__(self, folders: Iterable[Path], least_bytes: int) -> None:
        self.short = False
        self._folders = tuple(folders)
        self._least = least_bytes
        self._enough = least_bytes * ENOUGH_NUMERATOR // ENOUGH_DENOMINATOR
        self._free: dict[Path, int] = {}

    def look(self) -> bool:
        """Look at the disks; whether `short` has changed by that."""
        before = self.short
        self._free = {folder: free for folder in self._folders if (free := _free_bytes(folder)) is not None}
        if self._free:  # else nothing is known, and it stays as it was
            self.short = min(self._free.values()) < (self._enough if self.short else self._least)
        return self.short is not before

    @property
    def words(self) -> str:
        """How it was at the last look."""
        if not self._free:
            return "nothing is known of the disks"
        folder, free = min(self._free.items(), key=lambda found: found[1])
        return f"{free // MIB} MiB are free on the disk of {folder}, and {self._enough // MIB} MiB are enough"


def _free_bytes(folder: Path) -> int | None:
    """What a user who is not root may still write there. None: there is no such folder yet, or it cannot be told."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
