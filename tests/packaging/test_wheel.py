"""Wheels: with the merge engine compiled, in plain Python, and what is said where it cannot be compiled."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

ENGINE = sorted(path.stem for path in (ROOT / "coscribe" / "ot").glob("*.py"))
TRY = """
import json
from coscribe import Delta
from coscribe.ot import build
print(json.dumps([build.ENGINE, build.__file__, Delta.replace(0, 0, "a").components]))
"""


def _build(folder: Path, engine: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "build", "--no-isolation", "--outdir", str(folder), *options, str(ROOT)],
        cwd=folder,
        env={**os.environ, **environment, "COSCRIBE_ENGINE": engine},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _only_wheel(folder: Path) -> Path:
    [wheel] = folder.glob("*.whl")
    return wheel


def _modules(wheel: Path, suffix: str) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        paths = [Path(name) for name in archive.namelist()]
    inside = [path for path in paths if path.parent == Path("coscribe", "ot")]
    return sorted(path.name.partition(".")[0] for path in inside if path.suffix == suffix)


def _run_installed(wheel: Path, folder: Path) -> str:
    """Which engine Python finds where the wheel was installed. Dependencies come from this environment."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder)]
    subprocess.run([*pip, str(wheel)], check=True)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", TRY], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    assert str(folder) in done.stdout
    return done.stdout


def test_pure(tmp_path: Path) -> None:
    done = _build(tmp_path, "pure", "--wheel")
    assert done.returncode == 0, done.stdout
    wheel = _only_wheel(tmp_path)
    assert wheel.name.endswith("-py3-none-any.whl")
    assert (_modules(wheel, ".py"), _modules(wheel, ".so")) == (ENGINE, [])
    assert '["pure", ' in _run_installed(wheel, tmp_path / "installed")


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("compiler")
def test_compiled_from_the_source_archive(tmp_path: Path) -> None:
    done = _build(tmp_path, "compiled")
    assert done.returncode == 0, done.stdout
    wheel = _only_wheel(tmp_path)
    assert not wheel.name.endswith("-any.whl")
    assert (_modules(wheel, ".py"), _modules(wheel, ".so")) == (ENGINE, ENGINE)
    assert '["compiled", ' in _run_installed(wheel, tmp_path / "installed")


def test_without_a_compiler_it_is_pure_and_says_so(tmp_path: Path) -> None:
    done = _build(tmp_path, "auto", "--wheel", CC="no-such-compiler")
    assert done.returncode == 0, done.stdout
    assert "plain Python, for it cannot be compiled: there is no C compiler (no-such-compiler)" in done.stdout
    assert _only_wheel(tmp_path).name.endswith("-py3-none-any.whl")


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("compiled", "COSCRIBE_ENGINE is compiled, and the merge engine cannot be: there is no C compiler"),
        ("fast", "COSCRIBE_ENGINE is 'fast'; it may be auto, compiled, pure."),
    ],
)
def test_refused(tmp_path: Path, engine: str, said: str) -> None:
    done = _build(tmp_path, engine, "--wheel", CC="no-such-compiler")
    assert done.returncode != 0
    assert said in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_editable_install_is_pure(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", f"import hatchling.build; hatchling.build.build_editable({str(tmp_path)!r})"],
        cwd=ROOT,
        env={**os.environ, "COSCRIBE_ENGINE": "compiled"},
        check=True,
    )
    assert _only_wheel(tmp_path).name.endswith("-py3-none-any.whl")


def test_nothing_is_compiled_into_the_tree() -> None:
    assert [*ROOT.glob("*.so"), *(ROOT / "coscribe").rglob("*.so"), *(ROOT / "coscribe").rglob("*.c")] == []
