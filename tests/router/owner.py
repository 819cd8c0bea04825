"""The other side of the router in memory: the log of each section, and the host that owns it, at the end of links."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from coscribe import link
from coscribe.batch import Author, BatchHeader, LogEntry, encode_batch, entries_message
from coscribe.names import SectionKey
from coscribe.protocol import CaughtUp, Head, Snapshot, encode, object_bytes, op_entry
from persistence import keys
from persistence.records import Unavailable
from router.link import LinkClosed, NoCommonVersion
from tests.router.ports import MemoryBus

PAGE = 3


class SectionLog:
    """Entries of a section. `trimmed`: the stream has none up to this revision, the owner still does."""

    def __init__(self, key: SectionKey) -> None:
        self.key = key
        self.epoch = 1
        self.entries: list[LogEntry] = []
        self.trimmed = 0

    @property
    def head(self) -> int:
        return len(self.entries)

    def epoch_of(self, revision: int) -> int:
        return self.entries[revision - 1].epoch if revision else 0

    def append(self, client: str = "somebody", cseq: int = 0, delta: bytes = b'["x"]') -> LogEntry:
        wire = op_entry(client, cseq or self.head + 1, delta)
        self.entries.append(LogEntry(self.head + 1, self.epoch, 0, "user", wire))
        return self.entries[-1]

    def lose(self, through: int) -> None:
        """The log lost its tail; what comes now is of a new epoch."""
        del self.entries[through:]
        self.epoch += 1

    def batch(self, first: int, last: int) -> bytes:
        """The published form of a run of entries."""
        run = self.entries[first - 1 : last]
        epoch = run[0].epoch
        authors = tuple(Author("somebody", entry.revision) for entry in run)
        new = epoch if first == 1 or self.epoch_of(first - 1) != epoch else None
        body = entries_message(self.key.section, first, (entry.entry for entry in run), new)
        return encode_batch(BatchHeader(first, last, epoch, False, authors), body)

    def announcement(self, revision: int) -> bytes:
        body = encode(Head(self.key.section, revision, self.epoch))
        return encode_batch(BatchHeader(revision + 1, revision, self.epoch, False, ()), body)


class MemoryReader:
    """Implements records.LogReader on the logs."""

    def __init__(self) -> None:
        self.logs: dict[SectionKey, SectionLog] = {}
        self.refusing = False
        self.reads: list[int] = []  # `after` of each
        self.gate: asyncio.Event | None = None

    def log(self, key: SectionKey) -> SectionLog:
        return self.logs.setdefault(key, SectionLog(key))

    async def read(self, key: SectionKey, after: int, limit: int) -> Sequence[LogEntry]:
        self.reads.append(after)
        await asyncio.sleep(0)
        if self.refusing:
            raise Unavailable("no Redis")
        log = self.log(key)
        found = [entry for entry in log.entries if entry.revision > max(after, log.trimmed)][:limit]
        if self.gate is not None:
            await self.gate.wait()
        return found

    async def heads(self, sections: Sequence[SectionKey]) -> Sequence[tuple[int, int] | None]:
        await asyncio.sleep(0)
        if self.refusing:
            raise Unavailable("no Redis")
        return [(self.log(key).head, self.log(key).epoch_of(self.log(key).head)) for key in sections]


class Pipe:
    """Implements router.link.Transport: one open link to the host."""

    version = link.LINK_VERSION

    def __init__(self, host: "MemoryHost", address: str) -> None:
        self.address = address
        self.stalled: asyncio.Event | None = None
        self._host = host
        self._down: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.open = True

    async def send(self, frame: bytes) -> None:
        if self.stalled is not None:
            await self.stalled.wait()
        if not self.open:
            raise LinkClosed("broken")
        decoded = link.decode_host_frame(frame)
        self._host.views.append(decoded.view)
        for message in decoded.messages:
            self._host.take(self, message)

    async def receive(self) -> bytes:
        frame = await self._down.get()
        if frame is None:
            raise LinkClosed("broken")
        return frame

    def reply(self, *messages: link.ToRouter) -> None:
        self._down.put_nowait(link.encode(link.RouterFrame(1, list(messages))))

    def reply_bytes(self, frame: bytes) -> None:
        self._down.put_nowait(frame)

    def cut(self) -> None:
        self.open = False
        self._down.put_nowait(None)

    async def close(self) -> None:
        self.cut()


class MemoryHost:
    """Owns every section. `silent` kinds of messages get no answer; `refuse` gives another one."""

    def __init__(self, reader: MemoryReader, bus: MemoryBus) -> None:
        self.down = False
        self.hanging = False  # connecting takes for ever
        self.version: int | None = link.LINK_VERSION  # None: it speaks none that the router speaks
        self.connects: list[tuple[float, str]] = []
        self.links: list[Pipe] = []
        self.received: list[link.ToHost] = []
        self.views: list[int] = []
        self.silent: tuple[type, ...] = ()
        self.refuse: Callable[[link.ToHost], link.ToRouter | None] = lambda message: None
        self.snapshot_lag = 0
        self._reader, self._bus = reader, bus

    async def connect(self, address: str) -> Pipe:
        self.connects.append((asyncio.get_running_loop().time(), address))
        await asyncio.sleep(0)
        if self.hanging:
            await asyncio.Event().wait()
        if self.down:
            raise LinkClosed("refused")
        if self.version is None:
            raise NoCommonVersion("they speak another one")
        pipe = Pipe(self, address)
        self.links.append(pipe)
        return pipe

    @property
    def submitted(self) -> list[tuple[str, int]]:
        """(client, cseq) of the operations that came, in order."""
        return [(message.client, message.cseq) for message in self.received if isinstance(message, link.Submit)]

    def asked(self, kind: type[link.ToHost]) -> int:
        return sum(isinstance(message, kind) for message in self.received)

    def take(self, pipe: Pipe, message: link.ToHost) -> None:
        self.received.append(message)
        if isinstance(message, self.silent):
            return
        refusal = self.refuse(message)
        if refusal is not None:
            pipe.reply(refusal)
        else:
            pipe.reply(*self.answers(message))

    def answers(self, message: link.ToHost) -> Iterable[link.ToRouter]:
        log = self._reader.log(message.key)
        match message:
            case link.Submit(client=client, cseq=cseq, ref=ref, delta=delta):
                for entry in log.entries:
                    if entry.entry.startswith(b'["%s",%d,' % (client.encode(), cseq)):
                        return [link.Duplicate(log.key, ref, client, cseq, entry.revision)]
                self.accept(log, client, cseq, delta)
                return []
            case link.FetchSnapshot(request=request):
                revision = max(0, log.head - self.snapshot_lag)
                epoch = log.epoch_of(revision)
                wire = encode(Snapshot(log.key.section, revision, epoch, None, None, object_bytes(["\n"])))
                return [link.SnapshotIs(request, revision, epoch, log.head, wire)]
            case link.FetchEntries(request=request, after=after):
                if after > log.head:
                    return [link.Refused(request, "ahead", "no such revision")]
                last = min(after + PAGE, log.head)
                return [
                    link.EntriesAre(
                        request, last, log.head, log.epoch_of(log.head), log.epoch_of(after), messages(log, after, last)
                    )
                ]
            case link.FetchComposed(request=request, after=after):
                epoch = log.epoch_of(log.head)
                wire = encode(CaughtUp(log.key.section, after, log.head, epoch, object_bytes(["composed"])))
                return [link.ComposedIs(request, log.head, epoch, wire)]
            case link.FetchAcked(request=request, client=client):
                mine = [entry for entry in log.entries if entry.entry.startswith(b'["%s",' % client.encode())]
                last_cseq = int(mine[-1].entry.split(b",")[1]) if mine else 0
                return [link.AckedIs(request, last_cseq, mine[-1].revision if mine else 0)]

    def accept(self, log: SectionLog, client: str, cseq: int, delta: bytes = b'["x"]') -> None:
        """Log an operation and publish it."""
        entry = log.append(client, cseq, delta)
        header = BatchHeader(entry.revision, entry.revision, entry.epoch, False, (Author(client, cseq),))
        new = entry.epoch if entry.epoch != log.epoch_of(entry.revision - 1) else None
        body = entries_message(log.key.section, entry.revision, [entry.entry], new)
        self._bus.push(keys.channel(log.key), encode_batch(header, body))


def messages(log: SectionLog, after: int, last: int) -> list[bytes]:
    """Wire messages of entries after + 1 … last, one for each epoch."""
    found: list[bytes] = []
    run = log.entries[after:last]
    for epoch in sorted({entry.epoch for entry in run}):
        part = [entry for entry in run if entry.epoch == epoch]
        wires = (entry.entry for entry in part)
        found.append(entries_message(log.key.section, part[0].revision, wires, epoch))
    return found
