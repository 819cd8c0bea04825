"""The tests of the engine, and of what is built right on it, on the compiled one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hatch_build import compile_copy
from tests.docs.pages import ROOT

COPY = ROOT / "build" / "compiled"
SUITES = {
    "tests/ot": [],
    "tests/fuzz": ["test_fuzzer.py"],
    # These look at copies of a section, and the compiled parts of one cannot be copied.
    "tests/coscribe": ["test_section_checks.py", "test_section_laws.py", "test_section_newline.py"],
}


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("suite", SUITES)
def test_suite(suite: str) -> None:
    compile_copy(ROOT, COPY)
    left_out = [f"--ignore={suite}/{name}" for name in SUITES[suite]]
    # The copy must come before the sources, which pytest and `python -m` would both put first.
    found = {"PYTHONPATH": f"{COPY}{os.pathsep}{ROOT}", "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--import-mode=append", "-p", "no:cacheprovider", suite, *left_out],
        cwd=ROOT,
        env={**os.environ, **found, "COSCRIBE_EXPECT_ENGINE": "compiled"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(done.stdout)
    assert done.returncode == 0


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("compiler")
def test_a_copy_follows_its_sources(tmp_path: Path) -> None:
    """A module that changed is compiled, one that went away is gone, and others are copied without compiling."""
    shutil.copytree(ROOT / "coscribe", tmp_path / "coscribe", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (tmp_path / "coscribe" / "ot").glob("*.py"):
        if path.name not in ("__init__.py", "build.py"):
            path.unlink()
    engine, other = tmp_path / "coscribe" / "ot" / "build.py", tmp_path / "coscribe" / "names.py"
    (tmp_path / "coscribe" / "__init__.py").write_text("")
    (tmp_path / "coscribe" / "ot" / "__init__.py").write_text("")
    gone = tmp_path / "coscribe" / "ot" / "gone.py"
    gone.write_text("")
    copy = tmp_path / "copy"

    def modules() -> dict[str, int]:
        compile_copy(tmp_path, copy)
        return {path.name.partition(".")[0]: path.stat().st_ino for path in copy.glob("coscribe/ot/*.so")}

    first = modules()
    assert set(first) == {"__init__", "build", "gone"}
    other.write_text("LATER = 1\n")
    assert modules() == first
    assert (copy / "coscribe" / "names.py").read_text() == "LATER = 1\n"
    engine.write_text(engine.read_text() + "LATER = 1\n")
    gone.unlink()
    second = modules()
    assert set(second) == {"__init__", "build"}
    assert second["build"] != first["build"]
    assert not (copy / "coscribe" / "ot" / "gone.py").exists()
