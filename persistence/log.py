"""The log of every section, in Redis: one stream a section, written by scripts that check before they write.

What owners rely on: an answer OK means that the batch is in the log at the durability the server is set to, once, and
published. Unavailable means that nobody knows; the same batch is then sent again.

Where replicas are to have a batch before anyone is told, it is appended first and published once they have it. An owner
that dies between the two leaves entries which nobody has seen; the next activation waits for replicas, then lets them
be read.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from redis.asyncio import Redis

from coscribe.names import SectionKey
from persistence import keys
from persistence.live import decode_live, encode_live
from persistence.reader import RedisLogReader, decode_entries, encode_meta
from persistence.records import (
    MAX_BATCH_BYTES,
    MAX_BATCH_ENTRIES,
    Activation,
    Answer,
    Batch,
    DirtyMark,
    Durable,
    LiveSnapshot,
    LogState,
    Unavailable,
)
from persistence.redis_client import TIMEOUT_S, Argument, answering, execute, shared_client
from persistence.script import Script
from persistence.script_calls import ScriptCalls

SCAN_PAGE: Final = 1000
UNRELEASED_MOST: Final = 10_000
FOR_EVER: Final = -1  # what PTTL says of a key that does not expire
FIELD_SEPARATOR: Final = "|"  # no part of a section key contains it


class RedisLog(RedisLogReader):
    """Implements records.Log and records.LogReader."""

    def __init__(self, calls: ScriptCalls, client: Redis) -> None:
        super().__init__(client, replicated=calls.replicas > 0)
        self._calls = calls
        self._commit = Script("commit")
        self._publish = Script("publish")
        self._activate = Script("activate")
        self._keep_live = Script("keep_live")
        self._release = Script("release")
        self._clear_dirty = Script("clear_dirty")

    @classmethod
    def connect(cls, url: str, timeout_s: float = TIMEOUT_S, replicas: int = 0) -> "RedisLog":
        """`replicas`: how many must have an entry on disk before anyone is told."""
        return cls(ScriptCalls.connect(url, timeout_s, replicas), shared_client(url, timeout_s))

    @property
    def round_trips(self) -> int:
        """How many round trips all commits took so far."""
        return self._calls.round_trips

    async def activate(self, key: SectionKey, durable: Durable | None) -> Activation:
        arguments = ("", "") if durable is None else (durable.revision, durable.epoch)
        claimed = await self._claim(key, arguments)
        if claimed is None:
            raise Unavailable(f"section {key.section} of document {key.document} is not in the log as a whole")
        return claimed

    async def reclaim(self, key: SectionKey, durable: Durable, epoch: int, token: str) -> Activation | None:
        arguments = (durable.revision, durable.epoch, epoch, token)
        return await self._claim(key, arguments)

    async def _claim(self, key: SectionKey, arguments: Sequence[Argument]) -> Activation | None:
        names = _section_keys(key)
        if self._calls.replicas:
            found = await self._calls.call(self._activate, names, arguments, 0)
        else:
            found = await self._activate.run(self._client, names, arguments)
        if found is None:
            return None
        claimed = _activation(*found)
        if self._calls.replicas:  # they have all of it by now
            await self._publish.run(self._client, names[:1], (claimed.head, "", "", ""))
        return claimed

    async def commit(self, key: SectionKey, batch: Batch) -> Answer:
        size = batch_bytes(batch)
        assert batch.entries, "a batch has entries"
        assert len(batch.entries) <= MAX_BATCH_ENTRIES, "a script blocks the server for all"
        assert size <= MAX_BATCH_BYTES or len(batch.entries) == 1, "a script blocks the server for all"
        at_once = not self._calls.replicas
        arguments = tuple(commit_arguments(batch, keys.channel(key) if at_once else ""))
        reply: bytes = await self._calls.call(self._commit, (keys.meta(key), keys.stream(key)), arguments, size)
        answer = Answer(reply.decode())
        if not at_once and answer in (Answer.OK, Answer.DUP):
            published = (batch.last, batch.entries[-1].epoch, keys.channel(key), batch.published)
            await self._calls.call(self._publish, (keys.meta(key),), published, size, replicated=False)
        return answer

    async def announce(self, key: SectionKey, published: bytes) -> None:
        await execute(self._client, "PUBLISH", keys.channel(key), published)

    async def mark_dirty(self, key: SectionKey, token: str) -> None:
        await execute(self._client, "HSET", keys.DIRTY, _dirty_field(key), token)

    async def clear_dirty(self, mark: DirtyMark) -> bool:
        arguments = (_dirty_field(mark.key), mark.token)
        return bool(await self._clear_dirty.run(self._client, (keys.DIRTY,), arguments))

    async def dirty(self) -> Sequence[DirtyMark]:
        marks: dict[str, str] = {}  # a scan may name a field twice
        cursor = 0
        while True:
            cursor, page = await execute(self._client, "HSCAN", keys.DIRTY, cursor, "COUNT", SCAN_PAGE)
            marks.update((field.decode(), token.decode()) for field, token in zip(page[::2], page[1::2], strict=True))
            cursor = int(cursor)
            if cursor == 0:
                break
        return [DirtyMark(SectionKey(*field.split(FIELD_SEPARATOR)), token) for field, token in marks.items()]

    async def state(self, key: SectionKey) -> LogState | None:
        epoch, revision = await execute(self._client, "HMGET", keys.meta(key), "epoch", "rev")
        return None if epoch is None else LogState(int(epoch), int(revision))

    async def unreleased(self, limit: int = UNRELEASED_MOST) -> Sequence[SectionKey]:
        """Sections whose keys do not expire, whoever owns them, at most `limit`. Reads the name of every key."""
        found: set[SectionKey] = set()
        cursor = 0
        while True:
            cursor, page = await execute(self._client, "SCAN", cursor, "MATCH", keys.EVERY_META, "COUNT", SCAN_PAGE)
            async with answering(self._client), self._client.pipeline(transaction=False) as pipeline:
                for name in page:
                    pipeline.pttl(name)
                lifetimes = await pipeline.execute()
            found.update(
                keys.section_of_meta(name) for name, left_ms in zip(page, lifetimes, strict=True) if left_ms == FOR_EVER
            )
            cursor = int(cursor)
            if cursor == 0 or len(found) >= limit:
                return sorted(found)[:limit]

    async def keep_live(self, key: SectionKey, epoch: int, live: LiveSnapshot | None) -> bool:
        names = (keys.meta(key), keys.live(key))
        arguments = (epoch,) if live is None else (epoch, live.snapshot.revision, encode_live(live))
        return bool(await self._keep_live.run(self._client, names, arguments))

    async def trim(self, key: SectionKey, through: int) -> None:
        if through <= 0:
            return
        await execute(self._client, "XTRIM", keys.stream(key), "MINID", f"{through + 1}-0")

    async def release(self, key: SectionKey, state: LogState, idle_ms: int) -> bool:
        arguments = (state.epoch, state.revision, idle_ms)
        return bool(await self._release.run(self._client, _section_keys(key), arguments))

    async def aclose(self) -> None:
        """Send what is queued, then close the line and the client."""
        await self._calls.aclose()
        await super().aclose()


def batch_bytes(batch: Batch) -> int:
    """What MAX_BATCH_BYTES bounds."""
    return sum(len(entry.entry) for entry in batch.entries)


def _section_keys(key: SectionKey) -> tuple[str, str, str]:
    return keys.meta(key), keys.stream(key), keys.live(key)


def _activation(epoch: bytes, head: bytes, rows: Sequence[Any], live: bytes | None = None) -> Activation:
    return Activation(int(epoch), int(head), tuple(decode_entries(rows)), decode_live(live) if live else None)


def _dirty_field(key: SectionKey) -> str:
    return FIELD_SEPARATOR.join(key)


def commit_arguments(batch: Batch, channel: str) -> Iterator[Argument]:
    yield batch.epoch
    yield batch.id
    yield batch.base
    yield batch.last
    yield batch.entries[-1].epoch
    yield channel
    yield batch.published
    for entry in batch.entries:
        yield encode_meta(entry)
        yield entry.entry
