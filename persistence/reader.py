"""Reading sections' logs, as routers and owners do. An entry has the stream id `<revision>-0` and two fields: `e` the
wire entry, `m` its epoch, time and user in one text. All entries have the same fields, so a stream's nodes stay small.
"""

from collections.abc import Iterable, Sequence

from redis.asyncio import Redis

from coscribe.names import SectionKey
from persistence import keys
from persistence.records import LogEntry
from persistence.redis_client import TIMEOUT_S, answering, execute, shared_client


def encode_meta(entry: LogEntry) -> bytes:
    return b"%d %d %s" % (entry.epoch, entry.time_ms, entry.user.encode())


def decode_entries(rows: Iterable[tuple[bytes, Sequence[bytes]]]) -> list[LogEntry]:
    """From the reply of XRANGE."""
    return [_decode_entry(row_id, fields) for row_id, fields in rows]


def _decode_entry(row_id: bytes, fields: Sequence[bytes]) -> LogEntry:
    _, meta, _, entry, *_ = fields  # a later version may write more
    epoch, time_ms, user = meta.split(b" ", 2)
    return LogEntry(int(row_id[: row_id.index(b"-")]), int(epoch), int(time_ms), user.decode(), entry)


class RedisLogReader:
    """Implements records.LogReader. A client that is handed in stays its owner's to close. `replicated`: nothing is
    read that replicas may not have yet."""

    def __init__(self, client: Redis, replicated: bool = False) -> None:
        self._client, self._replicated = client, replicated

    @classmethod
    def connect(cls, url: str, timeout_s: float = TIMEOUT_S) -> "RedisLogReader":
        return cls(shared_client(url, timeout_s))

    async def read(self, key: SectionKey, after: int, limit: int) -> Sequence[LogEntry]:
        if limit <= 0:
            return []
        end = "+"
        if self._replicated:
            published = await execute(self._client, "HGET", keys.meta(key), "published")
            if published is not None and int(published) <= after:
                return []
            end = "+" if published is None else f"{int(published)}-0"
        # Not "(after-0": a first record under 0-1 is no entry.
        rows = await execute(self._client, "XRANGE", keys.stream(key), f"{after + 1}-0", end, "COUNT", limit)
        return decode_entries(rows)

    async def heads(self, sections: Sequence[SectionKey]) -> Sequence[tuple[int, int] | None]:
        if not sections:
            return []
        async with answering(self._client), self._client.pipeline(transaction=False) as pipeline:
            for key in sections:
                pipeline.execute_command("HMGET", keys.meta(key), "rev", "tip", "published", "published_epoch")
            replies = await pipeline.execute()
        return [self._head(*reply) for reply in replies]

    def _head(
        self, revision: bytes | None, tip: bytes | None, published: bytes | None, epoch: bytes | None
    ) -> tuple[int, int] | None:
        if self._replicated and published is not None:
            revision, tip = published, epoch
        return None if revision is None else (int(revision), int(tip or 0))

    async def aclose(self) -> None:
        await self._client.aclose()
