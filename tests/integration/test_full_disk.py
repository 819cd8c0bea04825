"""The disk of the data folder fills up while people type: edits are refused in time, and nothing is lost or torn.

The whole product on a file system of a few megabytes, with a file that fills it.
"""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from coscribe.client import DocumentClient
from tests.integration.typing import typing
from tests.support.served import raw
from tests.support.services import short_folder
from tests.support.small_disk import MIB, SmallDisk, small_disk
from tests.support.system import System

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

RESERVE = 48 * MIB


@pytest.fixture(scope="module")
def small() -> Iterator[tuple[System, SmallDisk]]:
    with short_folder() as folder, small_disk(folder / "data", 320) as disk, pytest.MonkeyPatch.context() as patch:
        patch.setenv("COSCRIBE_LIMIT_DISK_FREE_BYTES", str(RESERVE))
        system = System(folder)
        try:
            system.start()
            system.wait_for(system.all_known)
            yield system, disk
            system.stop()
        finally:
            system.abandon()


@asynccontextmanager
async def clients(system: System, documents: list[str]) -> AsyncIterator[list[DocumentClient]]:
    async with aiohttp.ClientSession() as http:
        names = [(document, name) for document in documents for name in ("ann", "bob")]
        yield [DocumentClient(http, system.url, document, token=system.guest(name)) for document, name in names]


def verified(system: System) -> dict[str, object]:
    command = [str(Path(sys.executable).with_name("coscribe")), "docs", "verify", "--all", "--json"]
    done = subprocess.run([*command, "--data", str(system.data)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


async def test_edits_are_refused_before_the_disk_is_full(small: tuple[System, SmallDisk]) -> None:
    system, disk = small
    documents = ["notes", "minutes"]
    pids = {part: system.pid(part) for part in ("Valkey", "Postgres", "host-0", "host-1")}
    async with clients(system, documents) as people, typing(people):
        disk.fill(but=RESERVE // 2)
        for document in documents:
            async with raw(system.url, document, headers={"Authorization": f"Bearer {system.guest('cat')}"}) as cat:
                head = await cat.join("client-of-cat")
                cseq = 0
                while True:  # a host looks now and then
                    cseq += 1
                    answer = await cat.write(cseq, head["rev"], [{"retain": 1, "attributes": {"bold": True}}])
                    if answer.get("t") == "nack":
                        break
                assert answer["code"] == "unavailable"
                assert "disk" in answer["message"]
                assert answer["retry_after_s"] > 0
            found = system.get(f"/v1/documents/{document}", system.guest("dan"))
            assert found
            assert found["text"]
        system.wait_for(lambda: "Edits are refused until then" in system.output)
        ready = system.get("/readyz")
        assert ready
        assert ready["disk"] == "short"
        assert disk.free > RESERVE // 4, "people could go on reading for long"
        disk.empty()
        system.wait_for(lambda: "Edits are taken again" in system.output)
    assert {part: system.pid(part) for part in pids} == pids, "nothing ended"
    assert verified(system)["documents"] == len(documents)


async def test_a_disk_that_fills_faster_than_anyone_looks_loses_nothing(small: tuple[System, SmallDisk]) -> None:
    """To the last byte at once: Valkey ends, and cannot be started again until there is room."""
    system, disk = small
    async with clients(system, ["plans"]) as people, typing(people):
        valkey = system.pid("Valkey")
        disk.fill()
        system.wait_for(lambda: "Valkey ended with exit code" in system.output)
        system.wait_for(lambda: "Valkey did not start: [Errno 28]" in system.output)
        disk.empty()
        system.wait_for(lambda: system.pid("Valkey") != valkey)
    assert verified(system)["whole"]
    assert "Traceback" not in system.output
