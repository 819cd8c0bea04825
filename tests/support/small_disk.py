"""A file system of a few megabytes, and a file that fills it: a disk that is full, for real."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.required import cannot_run

MIB = 1 << 20


class SmallDisk:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    @property
    def free(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, but: int = 0) -> None:
        """Leave so many bytes free, or fewer: others write too. 0: fill it to the last byte."""
        with self._ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while self.free > but or not but:
                file.write(bytes(min(max(self.free - but, 1), MIB)))

    def empty(self) -> None:
        self._ballast.unlink()


@contextlib.contextmanager
def small_disk(path: Path, mib: int) -> Iterator[SmallDisk]:
    """Mounted at `path`. Skips the test where it cannot be."""
    path.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=700", "small-disk", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:
        cannot_run("mount", "there is no `mount` on the PATH")
    if done.returncode:
        cannot_run("mount", f"a small file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True, timeout=10)
