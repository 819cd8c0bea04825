"""`coscribe docs verify` on real stores: nothing is found while people type and after; then every kind of damage is."""

import asyncio
import contextlib
import json
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner

from actors.upkeep import UpkeepSettings
from cluster.cli import app
from coscribe.client import DocumentClient
from coscribe.names import SectionKey
from coscribe.ot import Delta
from coscribe.protocol import decode_op_entry, op_entry
from persistence import keys
from persistence.chunks import pack, unpack
from persistence.records import LogEntry
from persistence.redis_client import shared_client
from tests.integration.typing import typing
from tests.support.cluster import Cluster, cluster
from tests.support.system import System

BUSY = UpkeepSettings(look_every_s=0.05, flush_rest_ms=0, snapshot_entries=20)
DOCUMENTS = [f"notes-{number}" for number in range(3)]


async def verify(*arguments: str, **environment: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, what --json said, and what it said to people."""
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("coscribe")), "docs", "verify", "--json", *arguments,
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, json.loads(output or b"{}"), errors.decode()


def urls(system: Cluster) -> dict[str, str]:
    return {"COSCRIBE_REDIS_URL": system.redis_url, "COSCRIBE_POSTGRES_URL": system.postgres_url}


@pytest.mark.services
async def test_whole_while_people_type_and_after(redis_url: str, postgres_url: str, tmp_path: Path) -> None:
    """Flushes, snapshots and changes of owners go on meanwhile."""
    async with cluster(redis_url, postgres_url, tmp_path, hosts=0, routers=0) as system:
        await system.start_host("host-0", BUSY)
        await system.start_router()
        people = [system.client(document, user) for user in ("ann", "bob") for document in DOCUMENTS]
        async with typing(people):
            counts = []
            for number in range(3):
                code, said, errors = await verify("--all", **urls(system))
                assert (code, said["findings"], errors) == (0, [], "")
                counts.append(said["entries"])
                await system.start_host(f"other-{number}", BUSY)
                await system.hosts.pop(next(iter(system.hosts))).stop()
            assert counts == sorted(set(counts)), "nobody typed meanwhile"
        revisions = {client.document: client.session.revision() for client in people}
        code, said, _ = await verify("--all", **urls(system))
        assert (code, said["whole"], said["documents"], said["sections"]) == (0, True, 3, 3)
        assert said["entries"] == sum(revisions.values())
        assert said["snapshots"] > 0
        code, said, _ = await verify(DOCUMENTS[0], **urls(system))
        assert (code, said["entries"]) == (0, revisions[DOCUMENTS[0]])
        code, said, errors = await verify("nobody", DOCUMENTS[0], **urls(system))
        assert (code, said, errors) == (2, {}, "There is no document nobody.\n")


# --- Damage ---


class Stored:
    """One document at rest: chunks up to `durable`, and the whole stream, which ends with some more entries."""

    def __init__(self, postgres: Any, redis: Redis, key: SectionKey, durable: int, head: int) -> None:
        self.postgres, self.redis, self.key, self.durable, self.head = postgres, redis, key, durable, head

    async def execute(self, statement: str, *arguments: Any) -> None:
        done = await self.postgres.execute(statement, *arguments)
        assert not done.endswith(" 0"), "nothing was damaged"

    async def replace_in_chunk(self, change: Callable[[list[LogEntry]], list[LogEntry]]) -> None:
        """Of the last chunk."""
        row = await self.postgres.fetchrow("SELECT first_rev, entries FROM chunks ORDER BY first_rev DESC LIMIT 1")
        changed = pack(change(unpack(row["entries"], row["first_rev"])))
        await self.execute("UPDATE chunks SET entries = $1 WHERE first_rev = $2", changed, row["first_rev"])

    async def replace_in_stream(self, last: dict[bytes, bytes]) -> None:
        """The last entry by another one."""
        name = keys.stream(self.key)
        rows = await self.redis.xrange(name)
        await self.redis.delete(name)
        for entry_id, fields in [*rows[:-1], (rows[-1][0], last)]:
            await self.redis.xadd(name, {b"m": fields[b"m"], b"e": fields[b"e"]}, id=entry_id)

    async def last(self) -> tuple[bytes, bytes]:
        [(_, fields)] = await self.redis.xrevrange(keys.stream(self.key), count=1)
        return fields[b"m"], fields[b"e"]


async def chunk_lost(at: Stored) -> None:
    await at.execute("DELETE FROM chunks WHERE first_rev = (SELECT max(first_rev) FROM chunks) AND first_rev > 1")
    await at.redis.xtrim(keys.stream(at.key), minid=f"{at.durable + 1}-0", approximate=False)


async def stream_trimmed_too_far(at: Stored) -> None:
    await at.redis.xtrim(keys.stream(at.key), minid=f"{at.durable + 2}-0", approximate=False)


async def chunk_twice(at: Stored) -> None:
    await at.execute(
        "INSERT INTO chunks SELECT incarnation, section, first_rev + 1, last_rev + 1, document, first_time, last_time, "
        "authors, count, entries FROM chunks ORDER BY first_rev LIMIT 1"
    )


async def other_entry_in_a_chunk(at: Stored) -> None:
    def change(run: list[LogEntry]) -> list[LogEntry]:
        op = decode_op_entry(run[-1].entry)
        return [*run[:-1], replace(run[-1], entry=op_entry(op.client, op.cseq, b'["?"]'))]

    await at.replace_in_chunk(change)


async def chunk_damaged(at: Stored) -> None:
    await at.execute("UPDATE chunks SET entries = set_byte(entries, 9, get_byte(entries, 9) # 1)")


async def epoch_falls(at: Stored) -> None:
    meta, entry = await at.last()
    _, time, user = meta.split(b" ", 2)
    await at.replace_in_stream({b"m": b"1 %s %s" % (time, user), b"e": entry})


async def cseq_doubled(at: Stored) -> None:
    meta, entry = await at.last()
    op = decode_op_entry(entry)
    await at.replace_in_stream({b"m": meta, b"e": op_entry(op.client, op.cseq - 1, bytes(op.delta))})


async def entry_that_does_not_fit(at: Stored) -> None:
    meta, entry = await at.last()
    op = decode_op_entry(entry)
    await at.replace_in_stream({b"m": meta, b"e": op_entry(op.client, op.cseq, b"[100000,-1]")})


async def newline_deleted(at: Stored) -> None:
    meta, entry = await at.last()
    op = decode_op_entry(entry)
    await at.replace_in_stream({b"m": meta, b"e": op_entry(op.client, op.cseq, b"[%d,-1]" % (at.head - 1))})


async def durable_revision_too_high(at: Stored) -> None:
    await at.execute("UPDATE sections SET durable_rev = durable_rev + 1")


async def head_too_low(at: Stored) -> None:
    await at.redis.hset(keys.meta(at.key), "rev", str(at.head - 1))


async def snapshot_is_not_the_replay(at: Stored) -> None:
    row = await at.postgres.fetchrow("SELECT rev, content FROM snapshots ORDER BY rev LIMIT 1")
    content = zlib.compress(zlib.decompress(row["content"]).replace(b"x", b"y", 1))
    await at.execute("UPDATE snapshots SET content = $1 WHERE rev = $2", content, row["rev"])


async def live_snapshot_is_not_the_replay(at: Stored) -> None:
    state = await at.redis.hget(keys.live(at.key), "state")
    assert b'["x' in state
    await at.redis.hset(keys.live(at.key), "state", state.replace(b'["x', b'["y', 1))


async def live_snapshot_damaged(at: Stored) -> None:
    await at.redis.hset(keys.live(at.key), "state", b"?")


async def next_section_missing(at: Stored) -> None:
    await at.execute("UPDATE snapshots SET next = '7' WHERE rev = (SELECT max(rev) FROM snapshots)")


DAMAGES: dict[Callable[[Stored], Awaitable[None]], set[str]] = {
    chunk_lost: {"gap", "durable"},
    stream_trimmed_too_far: {"gap"},
    chunk_twice: {"overlap", "differs"},
    other_entry_in_a_chunk: {"differs"},
    chunk_damaged: {"damaged"},
    epoch_falls: {"epoch"},
    cseq_doubled: {"doubled"},
    entry_that_does_not_fit: {"entry"},
    newline_deleted: {"newline"},
    durable_revision_too_high: {"durable"},
    head_too_low: {"head"},
    snapshot_is_not_the_replay: {"snapshot"},
    live_snapshot_is_not_the_replay: {"snapshot"},
    live_snapshot_damaged: {"damaged"},
    next_section_missing: {"chain"},
}


class Stores:
    """What the stores hold, to damage it more than once."""

    TABLES = ("sections", "chunks", "snapshots")

    def __init__(self, at: Stored) -> None:
        self.at = at
        self.names = (keys.meta(at.key), keys.stream(at.key), keys.live(at.key))
        self.dumps: list[Any] = []

    async def save(self) -> None:
        for table in self.TABLES:
            await self.at.postgres.execute(f"CREATE TABLE saved_{table} AS TABLE {table}")
        self.dumps = [await self.at.redis.dump(name) for name in self.names]

    async def restore(self) -> None:
        for table in self.TABLES:
            await self.at.postgres.execute(f"TRUNCATE {table}; INSERT INTO {table} SELECT * FROM saved_{table}")
        for name, dumped in zip(self.names, self.dumps, strict=True):
            await self.at.redis.restore(name, 0, dumped, replace=True)


async def write(system: Cluster, letters: int) -> int:
    """One at a time; returns the revision."""
    async with system.client("notes") as ann:
        await ann.joined()
        for _ in range(letters):
            ann.edit(Delta.replace(0, 0, "x"))
            await ann.settled()
        return ann.session.revision()


@pytest.mark.services
async def test_every_damage_is_found(redis_url: str, postgres_url: str, tmp_path: Path) -> None:
    def verified() -> tuple[int, set[str], str]:
        said = CliRunner().invoke(app, ["docs", "verify", "notes", "--json"], env=urls(system))
        assert "Traceback" not in said.output
        return said.exit_code, {finding["code"] for finding in json.loads(said.stdout)["findings"]}, said.output

    async with cluster(redis_url, postgres_url, tmp_path, hosts=0, routers=0) as system:
        flushes = await system.start_host("flushes", UpkeepSettings(look_every_s=1e6, snapshot_entries=5))
        await system.start_router()
        await write(system, 6)
        await flushes._upkeep.flush_all()
        await write(system, 6)
        await system.start_host("does-not", UpkeepSettings(look_every_s=1e6))
        await system.hosts.pop("flushes").stop()
        head = await write(system, 6)
        async with connected(system) as (postgres, redis):
            row = await postgres.fetchrow("SELECT incarnation, durable_rev FROM sections")
            assert (row["durable_rev"], head) == (12, 18)
            at = Stored(postgres, redis, SectionKey("notes", row["incarnation"], "0"), row["durable_rev"], head)
            stores = Stores(at)
            await stores.save()
            assert (await asyncio.to_thread(verified))[:2] == (0, set())
            for damage, expected in DAMAGES.items():
                await damage(at)
                code, found, output = await asyncio.to_thread(verified)
                assert code == 1, f"{damage.__name__}: {output}"
                assert expected <= found, f"{damage.__name__}: {output}"
                await stores.restore()
            assert (await asyncio.to_thread(verified))[:2] == (0, set())


@contextlib.asynccontextmanager
async def connected(system: Cluster) -> AsyncIterator[tuple[Any, Redis]]:
    postgres = await asyncpg.connect(system.postgres_url)
    redis = shared_client(system.redis_url)
    try:
        yield postgres, redis
    finally:
        await redis.aclose()
        await postgres.close()


# --- What it says ---


@pytest.mark.services
async def test_stores_that_cannot_be_read(redis_url: str, postgres_url: str, tmp_path: Path) -> None:
    data = str(tmp_path)
    code, _, errors = await verify("--all", "--data", data)
    assert (code, "Nothing runs on" in errors, "COSCRIBE_POSTGRES_URL" in errors) == (2, True, True)
    given = {"COSCRIBE_REDIS_URL": redis_url, "COSCRIBE_POSTGRES_URL": postgres_url}
    code, _, errors = await verify("--all", **given)
    assert (code, errors.count("\n"), "no tables" in errors) == (2, 1, True)
    nowhere = f"unix://{tmp_path}/nowhere.sock"
    code, _, errors = await verify("--all", **given | {"COSCRIBE_REDIS_URL": nowhere})
    assert (code, errors.count("\n"), errors[:6]) == (2, 1, "Redis:")
    code, _, errors = await verify("--all", **given | {"COSCRIBE_POSTGRES_URL": "postgresql://127.0.0.1:9/x"})
    assert (code, errors.count("\n"), errors[:9]) == (2, 1, "Postgres:")
    assert (await verify())[0] == (await verify("notes", "--all"))[0] == 2


@pytest.mark.system
@pytest.mark.timeout(300)
def test_on_a_data_folder_where_coscribe_runs(system: System) -> None:
    async def edit() -> None:
        async with (
            aiohttp.ClientSession() as http,
            DocumentClient(http, system.url, "verified", token=system.guest()) as document,
        ):
            await document.joined()
            document.edit(Delta.replace(0, 0, "All of it."))
            await document.settled()

    asyncio.run(edit())
    said = CliRunner().invoke(app, ["docs", "verify", "verified", "--data", str(system.data)], env={"COLUMNS": "80"})
    assert (said.exit_code, said.stderr) == (0, "")
    assert "Whole after" in said.stdout
    assert max(len(line) for line in said.stdout.splitlines()) <= 80
