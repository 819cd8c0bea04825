"""The backup that docs/operations.md describes, made and restored by the commands that stand there."""

import asyncio
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from coscribe.client import DocumentClient
from coscribe.ot import Delta
from tests.docs.pages import DOCS
from tests.support.system import System, running_system

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

STORED = "$BIN/psql -h $RUN/pg -U coscribe -Atc 'SELECT durable_rev, document FROM sections' coscribe"


def _commands(containing: str) -> str:
    return next(block.text for block in DOCS["operations"].blocks if containing in block.text)


def _run(commands: str) -> str:
    done = subprocess.run(["bash", "-e", "-c", commands], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def _edit(system: System, token: str) -> None:
    async with (
        aiohttp.ClientSession() as http,
        DocumentClient(http, system.url, "kept", token=token) as document,
    ):
        await document.joined()
        document.edit(Delta.replace(0, 0, "Keep this."))
        await document.settled()


def test_a_dump_of_a_running_system_is_restored_on_a_new_data_folder(system: System, tmp_path: Path) -> None:
    dump = str(tmp_path / "coscribe.dump")
    asyncio.run(_edit(system, system.guest()))
    saving = _commands("pg_dump").replace(".venv/bin/python", sys.executable)
    saving = saving.replace(".coscribe/", f"{system.data}/").replace("coscribe.dump", dump)
    variables, _, command = saving.strip().rpartition("\n")
    system.wait_for(lambda: "1|kept" in _run(f"{variables}\n{STORED}"))
    program = _run(f"{variables}\n{command}\necho $BIN").strip()
    with running_system(hosts=1) as other:
        restoring = _commands("pg_restore").replace(".venv/bin/python", sys.executable)
        _run(f"BIN={program}\n" + restoring.replace("new/", f"{other.data}/").replace("coscribe.dump", dump))
        saved, restored = (each.get("/v1/documents/kept", each.guest()) for each in (system, other))
        assert saved is not None
        assert saved["text"] == "Keep this.\n"
        assert saved == restored
