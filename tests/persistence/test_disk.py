"""Whether there is room on a disk: too little, and then enough again."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from persistence.disk import MIB, DiskReserve

LEAST = 80 * MIB
A, B = Path("/a"), Path("/b")


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[Path, int]:
    """MiB free by folder; one that is not named is not there."""
    found: dict[Path, int] = {}

    def statvfs(folder: Path) -> SimpleNamespace:
        if folder not in found:
            raise FileNotFoundError(folder)
        return SimpleNamespace(f_bavail=found[folder] * 256, f_frsize=4096)

    monkeypatch.setattr(os, "statvfs", statvfs)
    return found


def test_it_is_short_from_the_reserve_on_until_clearly_more_is_free(free: dict[Path, int]) -> None:
    disk = DiskReserve([A], LEAST)
    looks = []
    for mib in (100, 80, 79, 80, 89, 90, 80, 10):
        free[A] = mib
        looks.append((disk.look(), disk.short))
    assert looks == [
        (False, False), (False, False), (True, True), (False, True), (False, True), (True, False), (False, False),
        (True, True),
    ]  # fmt: skip
    assert disk.words == "10 MiB are free on the disk of /a, and 90 MiB are enough"


def test_the_fullest_of_the_disks_counts(free: dict[Path, int]) -> None:
    disk = DiskReserve([A, B], LEAST)
    free.update({A: 10, B: 500})
    assert disk.look()
    assert "disk of /a" in disk.words
    free.update({A: 500, B: 85})
    disk.look()
    assert disk.short
    assert "85 MiB are free on the disk of /b" in disk.words


def test_a_disk_of_which_nothing_is_known_changes_nothing(free: dict[Path, int]) -> None:
    disk = DiskReserve([A], LEAST)
    assert (disk.look(), disk.short) == (False, False)
    free[A] = 1
    disk.look()
    del free[A]
    assert (disk.look(), disk.short) == (False, True)


def test_no_reserve_is_never_short(free: dict[Path, int]) -> None:
    free[A] = 0
    assert not DiskReserve([A], 0).look()
