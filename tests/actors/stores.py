"""A log and a store in memory, for tests of owners: they do what the real ones do, until a test scripts otherwise."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from coscribe.batch import Batch, LogEntry
from coscribe.names import SectionKey
from persistence.records import (
    Activation,
    Answer,
    DirtyMark,
    Document,
    Durable,
    LiveSnapshot,
    LogState,
    StoredSnapshot,
    Unavailable,
)

LOST_REPLY = "the batch is appended and the reply lost"
Script = Answer | Exception | str


@dataclass
class _Stream:
    epoch: int = 0
    revision: int = 0
    batch: str = ""
    claim: str = ""
    entries: list[LogEntry] = field(default_factory=list)
    live: LiveSnapshot | None = None


class MemoryLog:
    """Implements records.Log. `answers` are given by the next commits in place of the true ones. While `held`, commits
    wait; while `down`, everything is Unavailable. `calls` says what happened, in order."""

    def __init__(self) -> None:
        self.streams: dict[SectionKey, _Stream] = {}
        self.marks: dict[SectionKey, str] = {}
        self.calls: list[str] = []
        self.batches: list[Batch] = []
        self.announced: list[bytes] = []
        self.answers: deque[Script] = deque()
        self.down = False
        self.activating = asyncio.Event()
        self._go = asyncio.Event()
        self._go.set()

    def hold(self) -> None:
        self._go.clear()

    def release_held(self) -> None:
        self._go.set()

    def stream(self, key: SectionKey) -> _Stream:
        return self.streams.setdefault(key, _Stream())

    def committed(self, key: SectionKey) -> list[LogEntry]:
        return self.stream(key).entries

    async def _called(self, name: str) -> None:
        self.calls.append(name)
        await asyncio.sleep(0)
        if self.down:
            raise Unavailable("the log is down")

    async def activate(self, key: SectionKey, durable: Durable | None) -> Activation:
        self.activating.set()
        await self._called(f"activate {durable.revision if durable else 'alone'}")
        stream = self.stream(key)
        if durable is None:
            if stream.live is None:
                raise Unavailable("there is no live snapshot")
            durable = Durable(0, 0)
        if durable.revision > stream.revision:
            stream.entries, stream.revision = [], durable.revision
        stream.epoch = max(stream.epoch, durable.epoch) + 1
        stream.claim = ""
        return Activation(stream.epoch, stream.revision, tuple(stream.entries), stream.live)

    async def reclaim(self, key: SectionKey, durable: Durable, epoch: int, token: str) -> Activation | None:
        await self._called(f"reclaim {epoch}")
        stream = self.stream(key)
        if stream.epoch > epoch and stream.claim != token:
            return None
        stream.claim, stream.epoch = token, max(stream.epoch, epoch)
        if durable.revision > stream.revision:
            stream.entries, stream.revision = [], durable.revision
        stream.epoch = max(stream.epoch, durable.epoch) + 1
        return Activation(stream.epoch, stream.revision, tuple(stream.entries))

    async def commit(self, key: SectionKey, batch: Batch) -> Answer:
        await self._called("commit")
        self.batches.append(batch)
        await self._go.wait()
        script = self.answers.popleft() if self.answers else None
        if isinstance(script, Exception):
            raise script
        if isinstance(script, Answer) and script is not Answer.OK:
            return script
        answer = self._append(self.stream(key), batch)
        if script == LOST_REPLY:
            raise Unavailable(LOST_REPLY)
        return answer

    def _append(self, stream: _Stream, batch: Batch) -> Answer:
        if stream.epoch > batch.epoch:
            return Answer.FENCED
        if stream.batch == batch.id and stream.revision >= batch.last:
            return Answer.DUP
        if stream.epoch < batch.epoch or stream.revision < batch.base:
            return Answer.LOST
        if stream.revision > batch.base:
            return Answer.AHEAD
        stream.entries.extend(batch.entries)
        stream.revision, stream.batch = batch.last, batch.id
        return Answer.OK

    async def announce(self, key: SectionKey, published: bytes) -> None:
        await self._called("announce")
        self.announced.append(published)

    async def mark_dirty(self, key: SectionKey, token: str) -> None:
        await self._called(f"mark {token}")
        self.marks[key] = token

    async def clear_dirty(self, mark: DirtyMark) -> bool:
        await self._called(f"clear {mark.token}")
        if self.marks.get(mark.key) != mark.token:
            return False
        del self.marks[mark.key]
        return True

    async def dirty(self) -> Sequence[DirtyMark]:
        await self._called("dirty")
        return [DirtyMark(key, token) for key, token in self.marks.items()]

    async def unreleased(self) -> Sequence[SectionKey]:
        await self._called("unreleased")
        return list(self.streams)

    async def read(self, key: SectionKey, after: int, limit: int) -> Sequence[LogEntry]:
        await self._called(f"read {after}")
        return [entry for entry in self.stream(key).entries if entry.revision > after][:limit]

    async def state(self, key: SectionKey) -> LogState | None:
        await self._called("state")
        stream = self.streams.get(key)
        return LogState(stream.epoch, stream.revision) if stream else None

    async def keep_live(self, key: SectionKey, epoch: int, live: LiveSnapshot | None) -> bool:
        await self._called(f"live {live.snapshot.revision if live else 'none'}")
        stream = self.stream(key)
        if stream.epoch != epoch or (live and live.snapshot.revision > stream.revision):
            return False
        if live and stream.live and live.snapshot.revision < stream.live.snapshot.revision:
            return False
        stream.live = live
        return True

    async def trim(self, key: SectionKey, through: int) -> None:
        await self._called(f"trim {through}")
        stream = self.stream(key)
        stream.entries = [entry for entry in stream.entries if entry.revision > through]

    async def release(self, key: SectionKey, state: LogState, idle_ms: int) -> bool:
        await self._called(f"release {state.revision}")
        stream = self.stream(key)
        if (stream.epoch, stream.revision) != (state.epoch, state.revision):
            return False
        stream.epoch += 1
        return True


class MemoryStore:
    """Implements records.Store for sections. `before` is awaited by the next call of a name."""

    def __init__(self) -> None:
        self.stored: dict[SectionKey, list[LogEntry]] = {}
        self.snapshots: dict[SectionKey, StoredSnapshot] = {}
        self.calls: list[str] = []
        self.down = False
        self.failures: deque[Exception] = deque()

    async def _called(self, name: str) -> None:
        self.calls.append(name)
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.popleft()
        if self.down:
            raise Unavailable("Postgres is down")

    async def durable(self, key: SectionKey) -> Durable:
        await self._called("durable")
        stored = self.stored.get(key)
        return Durable(stored[-1].revision, stored[-1].epoch) if stored else Durable(0, 0)

    async def flush(self, key: SectionKey, entries: Sequence[LogEntry]) -> bool:
        await self._called(f"flush {entries[0].revision}-{entries[-1].revision}")
        stored = self.stored.setdefault(key, [])
        revision, epoch = (stored[-1].revision, stored[-1].epoch) if stored else (0, 0)
        if entries[0].revision != revision + 1 or entries[0].epoch < epoch:
            return False
        stored.extend(entries)
        return True

    async def entries(self, key: SectionKey, after: int, through: int) -> Sequence[LogEntry]:
        await self._called(f"entries {after}-{through}")
        return [entry for entry in self.stored.get(key, []) if after < entry.revision <= through]

    async def save_snapshot(self, key: SectionKey, snapshot: StoredSnapshot) -> None:
        await self._called(f"snapshot {snapshot.revision}")
        self.snapshots[key] = snapshot

    async def newest_snapshot(self, key: SectionKey) -> StoredSnapshot | None:
        await self._called("newest")
        return self.snapshots.get(key)

    async def create_document(self, document: Document) -> Document:
        raise NotImplementedError

    async def document(self, document_id: str) -> Document | None:
        raise NotImplementedError

    async def delete_document(self, document_id: str, now_ms: int) -> Document | None:
        raise NotImplementedError
