"""Clients over real sockets, real Redis and real Postgres; hosts and routers in this process."""

from pathlib import Path

import pytest

from coscribe.ot import Delta
from tests.support.cluster import cluster

pytestmark = pytest.mark.services


async def test_two_clients_see_each_other_and_read_the_same(redis_url: str, postgres_url: str, tmp_path: Path) -> None:
    async with (
        cluster(redis_url, postgres_url, tmp_path) as system,
        system.client("notes") as ann,
        system.client("notes", "bob") as bob,
    ):
        await ann.joined()
        await bob.joined()
        ann.edit(Delta.replace(0, 0, "Hello"))
        await ann.settled()
        await bob.wait_for(lambda: bob.text == "Hello\n")
        bob.edit(Delta.replace(5, 0, ", world \U0001f600"))
        ann.edit(Delta.format(0, 5, {"bold": True}))
        await ann.settled()
        await bob.settled()
        await ann.wait_for(lambda: ann.content == bob.content)
        assert ann.text == "Hello, world \U0001f600\n"
        found = await system.read("notes")
        assert found["text"] == ann.text
        assert found["delta"] == ann.content.to_quill()
        assert found["sections"][0]["id"] == "0"


async def test_edits_on_two_routers_meet(redis_url: str, postgres_url: str, tmp_path: Path) -> None:
    async with (
        cluster(redis_url, postgres_url, tmp_path, hosts=2, routers=2) as system,
        system.client("notes") as ann,
        system.client("notes", "bob", router=1) as bob,
    ):
        await ann.joined()
        await bob.joined()
        for number in range(50):
            ann.edit(Delta.replace(0, 0, f"a{number} "))
            bob.edit(Delta.replace(bob.content.length - 1, 0, f"b{number} "))
        await ann.settled()
        await bob.settled()
        await ann.wait_for(lambda: ann.content == bob.content)
        assert all(ann.text.count(f"a{number} ") == 1 for number in range(50))
        assert all(ann.text.count(f"b{number} ") == 1 for number in range(50))


async def test_a_joiner_reads_what_came_after_the_snapshot_it_was_given(
    redis_url: str, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.router.POLL_HEADS_S", 3600.0)  # nothing else may tell the router of its head
    async with (
        cluster(redis_url, postgres_url, tmp_path, routers=2) as system,
        system.client("notes") as ann,
    ):
        await ann.joined()  # the owner keeps the snapshot of revision 0
        for word in ("one ", "two ", "three "):
            ann.edit(Delta.replace(0, 0, word))
            await ann.settled()
        async with system.client("notes", "bob", router=1) as bob:
            await bob.joined()
            await bob.wait_for(lambda: bob.text == "three two one \n")
