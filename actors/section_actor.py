"""One active section: the shell around `coscribe.section.Section` that talks to the log and answers routers.

Operations are prepared as they arrive, in the order of the link. One task commits: while a batch is on its way the
next one gathers. A batch whose outcome is unknown is sent again unchanged. When this owner is fenced or leaves, every
operation that it has prepared or held is answered `moved`, so that routers send it to the next owner.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Final

import structlog

from coscribe import link
from coscribe.batch import Batch, BatchHeader, LogEntry, encode_batch, entries_message
from coscribe.names import SectionKey
from coscribe.protocol import Head, NackCode
from coscribe.protocol import encode as encode_message
from coscribe.section import Doubt, Known, Later, Prepared, Refused, Section, Submission
from persistence.records import Answer, DirtyMark, Durable, Log, Store, Unavailable

PAGE_ENTRIES: Final = 500
SNAPSHOT_LAG: Final = 64  # a cached snapshot so many entries old will do for a joiner: routers hold those entries
HELD_MOST: Final = 1_000  # operations that wait for an answer of the log
UNCOMMITTED_MOST: Final = 5_000  # prepared entries while the log does not answer; more are refused as `unavailable`
RETRY_FIRST_S: Final = 0.05
RETRY_CAP_S: Final = 1.0

log_event = structlog.get_logger("section")
Reply = Callable[[link.ToRouter], None]


@dataclass(frozen=True, slots=True)
class Clock:
    """Time as the shell sees it; the simulator has its own."""

    now_ms: Callable[[], int]
    draw: Callable[[], float]
    new_id: Callable[[], str]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An operation at `revision`, to be answered when that is durable (`duplicate`), or if it never will be."""

    revision: int
    message: link.Submit
    reply: Reply
    duplicate: bool


class SectionActor:
    """Owner of one section in one epoch. `on_gone` is called once, when it may answer no more."""

    def __init__(
        self,
        section: Section,
        durable: Durable,
        snapshot_revision: int,
        log: Log,
        store: Store,
        clock: Clock,
        on_gone: Callable[["SectionActor"], None],
    ) -> None:
        self.section, self.durable, self.snapshot_revision = section, durable, snapshot_revision
        self.closed = False
        self.used_ms = clock.now_ms()
        self.operations = 0
        self._log, self._store, self._clock, self._on_gone = log, store, clock, on_gone
        self._closing = False
        self._mark: DirtyMark | None = None
        self._pump: asyncio.Task[None] | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._waiting: deque[_Waiting] = deque()
        self._held: deque[tuple[link.Submit, Reply]] = deque()
        self._snapshot_asks: list[tuple[int, int, Reply]] = []  # request, least revision, reply

    @property
    def key(self) -> SectionKey:
        return self.section.key

    # --- Operations ---

    def submit(self, message: link.Submit, reply: Reply) -> None:
        self.used_ms = self._clock.now_ms()
        if self.closed:
            self._move(message, reply)
            return
        if self._closing:
            self._hold(message, reply)
            return
        if self.section.revision - self.section.committed_revision >= UNCOMMITTED_MOST:
            self._refuse(message, reply, NackCode.UNAVAILABLE, "the log does not answer", 1.0)
            return
        op = Submission(message.client, message.cseq, message.base, message.user, message.role, message.delta)
        match self.section.submit(op, self.used_ms):
            case Prepared(revision):
                self.operations += 1
                self._waiting.append(_Waiting(revision, message, reply, duplicate=False))
                self._commit_soon()
            case Known(revision) if revision <= self.section.committed_revision:
                reply(link.Duplicate(self.key, message.ref, message.client, message.cseq, revision))
            case Known(revision):
                self._waiting.append(_Waiting(revision, message, reply, duplicate=True))
            case Refused(code, text):
                self._refuse(message, reply, code, text)
            case Later():
                self._hold(message, reply)
            case Doubt():
                self._start(self._verify(message, reply))

    def _hold(self, message: link.Submit, reply: Reply) -> None:
        if len(self._held) >= HELD_MOST:
            self._refuse(message, reply, NackCode.UNAVAILABLE, "too many operations wait for the log", 0.5)
        else:
            self._held.append((message, reply))

    def _refuse(
        self, message: link.Submit, reply: Reply, code: NackCode, text: str, retry_after_s: float | None = None
    ) -> None:
        reply(link.Refusal(self.key, message.ref, message.client, message.cseq, code, text, retry_after_s))

    def _move(self, message: link.Submit, reply: Reply) -> None:
        reply(link.Moved(self.key, message.ref, message.client, message.cseq))

    async def _verify(self, message: link.Submit, reply: Reply) -> None:
        """An operation from beyond our log: ask the log whether we still own the section."""
        try:
            found = await self._log.state(self.key)
        except Unavailable:
            self._refuse(message, reply, NackCode.UNAVAILABLE, "the log does not answer", 1.0)
            return
        if found is None or found.epoch > self.section.epoch:
            self.leave("a newer owner exists")
            self._move(message, reply)
        elif message.base > found.revision:
            self._refuse(message, reply, NackCode.AHEAD, f"revision {message.base} does not exist")
        else:
            self.submit(message, reply)

    # --- Commit ---

    def _commit_soon(self) -> None:
        if self._pump is None or self._pump.done():
            self._pump = self._start(self._commit_all())

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A fault in our own code must not leave a section that looks alive: the next owner starts from the log."""
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()):
            log_event.error("section failed", **self._names(), exc_info=error)
            self.leave("failed")

    async def _commit_all(self) -> None:
        delay_s = RETRY_FIRST_S
        while batch := self._next_batch():
            try:
                await self._ensure_dirty(batch)
                answer = await self._log.commit(self.key, batch)
            except Unavailable as error:
                log_event.warning("commit unanswered", **self._names(), batch=batch.id, error=str(error))
                await asyncio.sleep(delay_s * (0.5 + self._clock.draw()))
                delay_s = min(delay_s * 2, RETRY_CAP_S)
                continue
            delay_s = RETRY_FIRST_S
            if self.closed:
                return
            match answer:
                case Answer.OK | Answer.DUP:
                    self._committed()
                case Answer.FENCED:
                    self.leave("fenced")
                case Answer.AHEAD:
                    self.leave("the log is ahead of this owner")
                case Answer.LOST:
                    log_event.error("the log lost entries", **self._names(), batch=batch.id)
                    self.leave("the log lost entries")

    def _next_batch(self) -> Batch | None:
        if self.closed:
            return None
        return self.section.unanswered or self.section.freeze(self._clock.new_id())

    async def _ensure_dirty(self, batch: Batch) -> None:
        """Before the first append after a flush the section is marked, so that a sweeper finds it if we die."""
        if self._mark is None:
            mark = DirtyMark(self.key, f"{batch.epoch}:{batch.base}")
            await self._log.mark_dirty(self.key, mark.token)
            self._mark = mark

    def _committed(self) -> None:
        self.section.committed()
        revision = self.section.committed_revision
        while self._waiting and self._waiting[0].revision <= revision:
            done = self._waiting.popleft()
            if done.duplicate:
                message = done.message
                done.reply(link.Duplicate(self.key, message.ref, message.client, message.cseq, done.revision))
        self._answer_snapshots()
        if self._held and not self._closing:
            held, self._held = self._held, deque()
            for message, reply in held:
                self.submit(message, reply)

    # --- Questions ---

    def fetch_snapshot(self, request: int, fresh: bool, reply: Reply) -> None:
        self.used_ms = self._clock.now_ms()
        least = self.section.committed_revision - (0 if fresh else SNAPSHOT_LAG)
        self._snapshot_asks.append((request, least, reply))
        self._answer_snapshots()

    def _answer_snapshots(self) -> None:
        if not self._snapshot_asks:
            return
        found = self.section.snapshot(max(least for _, least, _ in self._snapshot_asks))
        if found is None:
            return
        message = self.section.snapshot_message(found)
        asks, self._snapshot_asks = self._snapshot_asks, []
        for request, _, reply in asks:
            reply(link.SnapshotIs(request, found.revision, found.epoch, self.section.committed_revision, message))

    def fetch_composed(self, request: int, after: int, reply: Reply) -> None:
        found = self.section.composed_after(after)
        if found is None:
            code = "ahead" if after > self.section.committed_revision else "stale"
            reply(link.Refused(request, code, f"revision {after} is not in the history window"))
        else:
            reply(link.ComposedIs(request, *found))

    def fetch_acked(self, request: int, client: str, reply: Reply) -> None:
        reply(link.AckedIs(request, *self.section.last_accepted(client)))

    def fetch_entries(self, request: int, after: int, reply: Reply) -> None:
        """Plain entries after a revision: from the window, or from the stores for who was away for long."""
        if after > self.section.committed_revision:
            self._start(self._verify_revision(request, after, reply))
        elif (base_epoch := self.section.epoch_at(after)) is not None:
            entries = self.section.entries_after(after, PAGE_ENTRIES)
            assert entries is not None, "the window has the revision but not what follows it"
            reply(self._page(request, after, base_epoch, entries))
        else:
            self._start(self._read_entries(request, after, reply))

    async def _verify_revision(self, request: int, after: int, reply: Reply) -> None:
        """A revision from beyond what we know to be in the log. Who asks may have read a batch of ours whose answer
        was lost, or one of a newer owner: only the log can say that it never was."""
        try:
            found = await self._log.state(self.key)
        except Unavailable as error:
            reply(link.Refused(request, "unavailable", str(error)))
            return
        if found is None or found.epoch > self.section.epoch:
            self.leave("a newer owner exists")
            reply(link.Refused(request, "moved", "another host owns the section"))
        elif after > found.revision:
            reply(link.Refused(request, "ahead", f"revision {after} does not exist"))
        else:
            reply(link.Refused(request, "unavailable", f"revision {after} is not confirmed yet"))

    async def _read_entries(self, request: int, after: int, reply: Reply) -> None:
        from_ = max(after - 1, 0)  # the entry that led to `after` has its epoch
        try:
            entries = list(await self._log.read(self.key, from_, PAGE_ENTRIES + 1))
            if not entries or entries[0].revision != from_ + 1:
                entries = list(await self._store.entries(self.key, from_, from_ + PAGE_ENTRIES + 1))
        except Unavailable as error:
            reply(link.Refused(request, "unavailable", str(error)))
            return
        entries = [entry for entry in entries if entry.revision <= self.section.committed_revision]
        if not entries or entries[0].revision != from_ + 1:
            reply(link.Refused(request, "unavailable", f"entries after revision {after} cannot be read now"))
            return
        base_epoch = entries.pop(0).epoch if after else 0
        reply(self._page(request, after, base_epoch, entries[:PAGE_ENTRIES]))

    def _page(self, request: int, after: int, base_epoch: int, entries: list[LogEntry]) -> link.EntriesAre:
        last = entries[-1].revision if entries else after
        head, epoch = self.section.committed_revision, self.section.committed_epoch
        messages = messages_of(self.key.section, entries)
        return link.EntriesAre(request, last, head, epoch, base_epoch, messages)

    # --- Life ---

    async def announce(self) -> None:
        """Publish the head: a router that missed something sees it."""
        revision, epoch = self.section.committed_revision, self.section.committed_epoch
        header = BatchHeader(revision + 1, revision, epoch, False, ())
        body = encode_message(Head(self.key.section, revision, epoch))
        await self._log.announce(self.key, encode_batch(header, body))

    async def drain(self) -> None:
        """Take nothing more and commit what is prepared; then leave. What came meanwhile is answered `moved`."""
        self._closing = True
        if self._pump is not None:
            await asyncio.wait({self._pump})
        self.leave("handed off")

    def leave(self, reason: str) -> None:
        """Stop being the owner, at once. Everything that is not durable goes back to the routers."""
        if self.closed:
            return
        self.closed = True
        log_event.info("section left", **self._names(), reason=reason, revision=self.section.committed_revision)
        for waiting in self._waiting:
            self._move(waiting.message, waiting.reply)
        for message, reply in self._held:
            self._move(message, reply)
        for request, _, reply in self._snapshot_asks:
            reply(link.Refused(request, "moved", reason))
        self._waiting.clear()
        self._held.clear()
        self._snapshot_asks.clear()
        self._on_gone(self)

    async def flushed(self, durable: Durable) -> None:
        """Postgres has entries up to durable.revision: forget the dirty mark if that is all there is."""
        self.durable = durable
        mark = self._mark
        if mark and durable.revision == self.section.revision and self.section.unanswered is None:
            self._mark = None  # before the await: an append from here on marks anew, with another token
            await self._log.clear_dirty(mark)

    def _names(self) -> dict[str, object]:
        return {"document": self.key.document, "section": self.key.section, "epoch": self.section.epoch}


def messages_of(section: str, entries: list[LogEntry]) -> list[bytes]:
    """Wire messages of a run of entries, one for each epoch in it, each with its epoch."""
    messages: list[bytes] = []
    start = 0
    for index in range(1, len(entries) + 1):
        if index == len(entries) or entries[index].epoch != entries[start].epoch:
            run = entries[start:index]
            messages.append(entries_message(section, run[0].revision, (entry.entry for entry in run), run[0].epoch))
            start = index
    return messages
