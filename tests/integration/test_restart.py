"""A rolling restart of the whole product while people type: nothing is lost or doubled, and all copies are equal."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coscribe.client import DocumentClient
from tests.integration.typing import typing
from tests.support.services import short_folder
from tests.support.system import System, running_system

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

DOCUMENTS = ["notes", "minutes", "plans"]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed() -> Iterator[Path]:
    """The product's packages, to change while they run."""
    with short_folder() as folder, pytest.MonkeyPatch.context() as patch:
        for name in ("coscribe", "cluster", "router", "actors", "persistence"):
            shutil.copytree(ROOT / name, folder / name, symlinks=True)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
        patch.chdir(folder)  # which `python -m` looks into first
        yield folder


@pytest.fixture(scope="module")
def restarted(installed: Path) -> Iterator[System]:
    with running_system(hosts=2, routers=2) as system:
        system.wait_for(system.all_known)
        yield system


def upgrade(installed: Path) -> None:
    """Another version that says other things in its logs."""
    for file, event in (("actors/host_server.py", '"host joined"'), ("router/app.py", '"serving"')):
        text = (installed / file).read_text("utf-8")
        assert event in text
        (installed / file).write_text(text.replace(event, event[:-1] + ' anew"'), "utf-8")


def coscribe(*arguments: str, code: int = 0) -> Any:
    command = [str(Path(sys.executable).with_name("coscribe")), *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


async def test_all_are_restarted_one_after_the_other_while_people_type(restarted: System, installed: Path) -> None:
    system = restarted
    before = coscribe("status", "--data", str(system.data))["parts"]
    async with aiohttp.ClientSession() as http:
        people = [
            DocumentClient(http, system.url, document, token=system.guest(name))
            for document in DOCUMENTS
            for name in ("ann", "bob")
        ]
        async with typing(people):
            upgrade(installed)
            found = await asyncio.to_thread(coscribe, "restart", "--data", str(system.data))
    assert found["problem"] is None
    names = ["controller", "host-0", "host-1", "router-0", "router-1"]
    assert [each["part"] for each in found["restarted"]] == names
    after = coscribe("status", "--data", str(system.data))["parts"]
    assert {name: after[name] for name in names} == {each["part"]: each["after"] for each in found["restarted"]}
    assert {name for name in before if before[name] != after[name]} == set(names), "the rest went on"
    assert "did not stop by itself" not in system.output
    for host in ("host-0", "host-1"):
        assert system.log(host).count("] stopped ") == 1
        assert "host joined anew" in system.log(host)
    for router in ("router-0", "router-1"):
        assert "serving anew" in system.log(router)
    assert coscribe("docs", "verify", "--all", "--data", str(system.data))["whole"]


def test_a_restart_of_what_does_not_run_says_so(tmp_path: Path) -> None:
    assert "Nothing runs" in coscribe("restart", "--data", str(tmp_path), code=3)["problem"]
