"""Compiles the merge engine, coscribe/ot, with mypyc: one typed source, and plain Python where it cannot be compiled.

* A wheel gets the extension modules beside the .py files, which stay: tracebacks and type checkers read them. Python
  prefers the extension module of the two.
* An editable install is plain Python, and nothing is ever compiled into the source tree: an extension module there
  would hide every later change of its source.
* `python hatch_build.py FOLDER` puts a compiled copy of the package `coscribe` there, for tests and measurements.

hatch-mypyc would do the first, but it leaves extension modules in the tree, moves pyproject.toml away meanwhile, and
has no fallback.
"""

import fcntl
import hashlib
import importlib.metadata
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT: Final = Path(__file__).resolve().parent
ENGINE: Final = Path("coscribe", "ot")
# auto: compiled if this machine can. compiled: or no wheel at all. pure: never.
SETTING: Final = "COSCRIBE_ENGINE"
SETTINGS: Final = ("auto", "compiled", "pure")
# How the command line says that this machine cannot compile.
CANNOT: Final = 3

# Runs in a folder of its own: mypyc and setuptools write into the working directory and end the process on an error.
_COMPILE: Final = """
import pathlib, setuptools
from mypyc.build import mypycify
sources = sorted(str(path) for path in pathlib.Path("coscribe/ot").glob("*.py"))
modules = mypycify(["--config-file=", *sources], group_name="coscribe_ot", opt_level="3", debug_level="0")
setuptools.setup(name="coscribe", packages=[], ext_modules=modules)
"""


class CannotCompile(Exception):
    """The text says why, for people."""


class CustomBuildHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="coscribe-engine-")
        engine = os.environ.get(SETTING, "") or "auto"
        if engine not in SETTINGS:
            self.app.abort(f"{SETTING} is {engine!r}; it may be {', '.join(SETTINGS)}.")
        if version == "editable" or engine == "pure":
            return
        try:
            check_machine()
            self.app.display_info("Compiling the merge engine: about half a minute.")
            folder = Path(self._folder.name)
            _copy_package(Path(self.root), folder)
            modules = compile_engine(folder)
        except CannotCompile as reason:
            if engine == "compiled":
                self.app.abort(f"{SETTING} is compiled, and the merge engine cannot be: {reason}")
            self.app.display_warning(f"This wheel's merge engine is plain Python, for it cannot be compiled: {reason}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"].update({str(folder / module): str(module) for module in modules})

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        self._folder.cleanup()


def check_machine() -> None:
    """Raises CannotCompile if what compiling takes is not here."""
    for package in ("mypy", "setuptools"):
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            raise CannotCompile(f"{package} is not installed.") from None
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder, "probe.c")
        probe.write_text("#include <Python.h>\n")
        include = sysconfig.get_path("include")
        try:
            subprocess.run(
                [*compiler, f"-I{include}", "-c", probe.name], cwd=folder, check=True, capture_output=True, text=True
            )
        except FileNotFoundError:
            raise CannotCompile(f"there is no C compiler ({compiler[0]}).") from None
        except subprocess.CalledProcessError as error:
            raise CannotCompile(f"the C compiler cannot use Python's headers in {include}:\n{error.stderr}") from None


def compile_engine(folder: Path) -> list[Path]:
    """Compiles the copy of the package `coscribe` in `folder`, for the Python that runs this. The extension modules, as
    paths within `folder`."""
    done = subprocess.run(
        [sys.executable, "-c", _COMPILE, "-q", "build_ext", "--inplace"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise CannotCompile(f"mypyc or the C compiler refuses it:\n{done.stdout[-5000:]}")
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    return sorted(path.relative_to(folder) for place in (folder, folder / ENGINE) for path in place.glob(f"*{suffix}"))


def compile_copy(root: Path, folder: Path) -> None:
    """Makes `folder`/coscribe a compiled copy of the package. The sources are always copied; it is compiled if they,
    this file or the tools changed. What runs on an earlier copy is not disturbed: files are replaced, never rewritten.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock, tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as name:
        fcntl.flock(lock, fcntl.LOCK_EX)
        building = Path(name)
        _copy_package(root, building)
        sources = [path.relative_to(building) for path in building.glob("coscribe/**/*.py")]
        modules: list[Path] = []
        stamp = folder / ".compiled"
        key = _key(building)
        if not stamp.exists() or stamp.read_text() != key:
            check_machine()
            print("Compiling the merge engine: about half a minute.", flush=True)
            modules = compile_engine(building)
            stamp.unlink(missing_ok=True)
            for old in (*folder.glob("*.so"), *folder.glob("coscribe/**/*.so")):
                old.unlink()
        for old in folder.glob("coscribe/**/*.py"):
            if old.relative_to(folder) not in sources:
                old.unlink()
        for path in (*sources, *modules):
            (folder / path.parent).mkdir(parents=True, exist_ok=True)
            (building / path).replace(folder / path)
        stamp.write_text(key)


def _copy_package(root: Path, folder: Path) -> None:
    shutil.copytree(root / "coscribe", folder / "coscribe", ignore=shutil.ignore_patterns("__pycache__", "*.so"))


def _key(root: Path) -> str:
    """Stands for all that the compiled engine is made from."""
    key = hashlib.sha256(f"{sys.version} {sys.prefix} {importlib.metadata.version('mypy')}".encode())
    for path in (Path(__file__), *sorted((root / ENGINE).glob("*.py"))):
        key.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return key.hexdigest()


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("Usage: python hatch_build.py FOLDER", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    try:
        compile_copy(ROOT, folder)
    except CannotCompile as reason:
        print(f"The merge engine cannot be compiled: {reason}", file=sys.stderr)
        return CANNOT
    # Without -P, `python -m` looks in the working directory first, and finds the sources of a checkout there.
    print(f"The compiled engine is in {folder}. To use it: PYTHONPATH={folder} python -P …")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
