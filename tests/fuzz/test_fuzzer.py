"""A short fuzz of each target, and a fuzzer that finds what was planted. `python -m tests.fuzz` runs as long as told.

Without atheris, `python -m tests.fuzz` runs the corpus alone: then that is what the first test does."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.__main__ import SEEDS, replay
from tests.fuzz.plants import PLANTS
from tests.support.required import cannot_run

ROOT = Path(__file__).parents[2]
RUNS = {"decode": 20_000, "submit": 5_000}


def fuzz(target: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz", target, "--folder", str(folder), "--seed", "1", *options]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


@pytest.mark.parametrize("target", RUNS)
def test_nothing_is_found(target: str, tmp_path: Path) -> None:
    done = fuzz(target, tmp_path, "--runs", str(RUNS[target]))
    assert done.returncode == 0, done.stdout[-5_000:]
    assert f"stat::number_of_executed_units: {RUNS[target]}" in done.stdout or "only runs the corpus" in done.stdout


@pytest.mark.parametrize("plant", PLANTS)
def test_what_was_planted_is_found(plant: str, tmp_path: Path) -> None:
    """Beginning with those seeds that do not show it."""
    if importlib.util.find_spec("atheris") is None:
        cannot_run("atheris", "atheris cannot be imported")
    target = PLANTS[plant].target
    seeds = tmp_path / "seeds"
    shutil.copytree(SEEDS / target, seeds)
    for shows in replay(target, [seeds], plant):
        shows.unlink()
    done = fuzz(target, tmp_path, "--seeds", str(seeds), "--plant", plant, "--runs", "200000")
    (crash,) = (tmp_path / target / "crashes").iterdir()
    assert done.returncode == 1
    assert f"python -m tests.fuzz {target} --replay {crash}" in done.stdout
    assert replay(target, [crash], plant) == [crash]
    assert replay(target, [crash]) == []


def test_a_file_that_fails_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "boolean"
    path.write_bytes(b'[{"retain":true},"x"]')
    plant = ["--plant", "a boolean is taken for a length"]
    done = fuzz("decode", tmp_path, *plant, "--replay", str(path))
    assert done.returncode == 1
    assert "accepted, and must not be" in done.stdout
    assert fuzz("decode", tmp_path, "--replay", str(path)).returncode == 0
