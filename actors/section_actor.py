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

from actors.activation import Stored
from actors.backlog import Backlog
from actors.questions import Questions, Reply
from coscribe import link
from coscribe.batch import Batch, BatchHeader, encode_batch
from coscribe.names import SectionKey
from coscribe.protocol import Head, NackCode
from coscribe.protocol import encode as encode_message
from coscribe.section import ContentAt, Doubt, Known, Later, Prepared, Refused, Section, Submission
from persistence.records import (
    Activation,
    Answer,
    DirtyMark,
    Durable,
    LiveSnapshot,
    Log,
    Store,
    StoredSnapshot,
    Unavailable,
)

HELD_MOST: Final = 1_000  # operations of one kind that wait for an answer of the log
UNCOMMITTED_MOST: Final = 5_000  # prepared entries while the log does not answer; more are refused as `unavailable`
RETRY_FIRST_S: Final = 0.05
RETRY_CAP_S: Final = 1.0

log_event = structlog.get_logger("section")
_Offer = tuple[link.Submit, Reply]


@dataclass(frozen=True, slots=True)
class Clock:
    """Time as the shell sees it; the simulator has its own."""

    now_ms: Callable[[], int]
    draw: Callable[[], float]
    new_id: Callable[[], str]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An operation at `revision`, which is not durable yet."""

    revision: int
    message: link.Submit
    reply: Reply


class SectionActor:
    """Owner of one section in one epoch. `on_gone` is called once, when it may answer no more."""

    def __init__(
        self,
        section: Section,
        stored: Stored,
        log: Log,
        store: Store,
        clock: Clock,
        on_gone: Callable[["SectionActor"], None],
        backlog: Backlog,
    ) -> None:
        self.section, self.durable = section, stored.durable
        self.snapshot_revision, self.live_revision = stored.snapshot_revision, stored.live_revision
        self.too_large_at: int | None = None  # the revision at which there was no room for a live snapshot
        self.closed = False
        self.used_ms = clock.now_ms()
        self.operations = 0
        self.committed_ms = self.unflushed_since_ms = self.used_ms  # the last commit, and the first that is not flushed
        self._log, self._store, self._clock, self._on_gone = log, store, clock, on_gone
        self._closing = False
        self.backlog = backlog.open()
        if unflushed := section.entries_after(stored.durable.revision, section.committed_revision):
            self.backlog.add(unflushed[-1].revision, len(unflushed), sum(len(entry.entry) for entry in unflushed))
        self._log_lost = False
        self._mark: DirtyMark | None = None
        self._token = clock.new_id()
        self._pump: asyncio.Task[None] | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._waiting: deque[_Waiting] = deque()  # what the commit publishes answers them
        self._duplicates: dict[str, _Waiting] = {}  # the last one of each client: answered at the commit
        self._held: list[_Offer] = []  # offered again after the commit
        self._doubted: list[_Offer] = []  # the log will be asked about these,
        self._asking: list[_Offer] = []  # and is asked about these now
        self.questions = Questions(self, log, store)

    @property
    def key(self) -> SectionKey:
        return self.section.key

    def touch(self) -> None:
        """Somebody uses it."""
        self.used_ms = self._clock.now_ms()

    # --- Operations ---

    def submit(self, message: link.Submit, reply: Reply) -> None:
        self.touch()
        if self.closed:
            self._move(message, reply)
            return
        if self._closing:
            self._hold(self._held, message, reply)
            return
        if self.section.revision - self.section.committed_revision >= UNCOMMITTED_MOST:
            self._refuse(message, reply, NackCode.UNAVAILABLE, "the log does not answer", 1.0)
            return
        if refusal := self.backlog.refusal:
            self._refuse(message, reply, NackCode.UNAVAILABLE, refusal, 2.0)
            return
        op = Submission(message.client, message.cseq, message.base, message.user, message.role, message.delta)
        match self.section.submit(op, self.used_ms):
            case Prepared(revision):
                self.operations += 1
                self._waiting.append(_Waiting(revision, message, reply))
                self._commit_soon()
            case Known(revision) if revision <= self.section.committed_revision:
                reply(link.Duplicate(self.key, message.ref, message.client, message.cseq, revision))
            case Known(revision):
                self._duplicates[message.client] = _Waiting(revision, message, reply)
            case Refused(code, text):
                self._refuse(message, reply, code, text)
            case Later():
                self._hold(self._held, message, reply)
            case Doubt():
                self._hold(self._doubted, message, reply)
                if not self._asking:
                    self.start(self._verify())

    def _hold(self, offers: list[_Offer], message: link.Submit, reply: Reply) -> None:
        if len(offers) >= HELD_MOST:
            self._refuse(message, reply, NackCode.UNAVAILABLE, "too many operations wait for the log", 0.5)
        else:
            offers.append((message, reply))

    def _refuse(
        self, message: link.Submit, reply: Reply, code: NackCode, text: str, retry_after_s: float | None = None
    ) -> None:
        reply(link.Refusal(self.key, message.ref, message.client, message.cseq, code, text, retry_after_s))

    def _move(self, message: link.Submit, reply: Reply) -> None:
        reply(link.Moved(self.key, message.ref, message.client, message.cseq))

    async def _verify(self) -> None:
        """Operations from beyond our log: ask the log whether we still own the section."""
        while self._doubted and not self._asking:
            self._asking, self._doubted = self._doubted, []
            try:
                end = await self.ask_end()
            except Unavailable:
                asked, self._asking = self._asking, []
                for message, reply in asked:
                    self._refuse(message, reply, NackCode.UNAVAILABLE, "the log does not answer", 1.0)
                continue
            asked, self._asking = self._asking, []
            for message, reply in asked:
                if message.base > end:
                    self._refuse(message, reply, NackCode.AHEAD, f"revision {message.base} does not exist")
                else:
                    self.submit(message, reply)

    async def ask_end(self) -> int:
        """The last revision in the log. Leaves if it shows that we are not its owner any more. Raises Unavailable."""
        found = await self._log.state(self.key)
        unanswered = self.section.unanswered
        if found is None or found.epoch > self.section.epoch:
            self.leave("a newer owner exists")
        elif found.revision > (unanswered.last if unanswered else self.section.committed_revision):
            self.leave("the log is ahead of this owner")
        return found.revision if found else 0

    # --- Commit ---

    def _commit_soon(self) -> None:
        if self._pump is None or self._pump.done():
            self._pump = self.start(self._commit_all())

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
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
        while not self.closed:
            try:
                if self._log_lost:
                    await self._append_lost()
                elif batch := self.section.unanswered or self.section.freeze(self._clock.new_id()):
                    await self._commit(batch)
                else:
                    return
            except Unavailable as error:
                self._mark = None  # if the log fails over, it may have lost it
                log_event.warning("commit unanswered", **self._names(), error=str(error))
                await asyncio.sleep(delay_s * (0.5 + self._clock.draw()))
                delay_s = min(delay_s * 2, RETRY_CAP_S)
            else:
                delay_s = RETRY_FIRST_S

    async def _commit(self, batch: Batch) -> None:
        await self._ensure_dirty(batch)
        answer = await self._log.commit(self.key, batch)
        if self.closed:
            return
        match answer:
            case Answer.OK | Answer.DUP:
                self._committed(batch)
            case Answer.FENCED:
                self.leave("fenced")
            case Answer.AHEAD:
                self.leave("the log is ahead of this owner")
            case Answer.LOST:  # the same batch again, once what it stands on is there
                self._log_lost = True

    async def look_for_lost(self) -> None:
        """The flusher misses entries in the log. If they are committed here, and the section is ours still, the log has
        lost them, and they are appended again before anybody finds them missing. Raises Unavailable."""
        committed = self.section.committed_revision
        if await self.ask_end() < committed and not self.closed:
            self._log_lost = True
            self._commit_soon()

    async def _append_lost(self) -> None:
        """A failover of the log lost its end, and with it what was acknowledged. While nobody else has become the
        owner, this one has it all: it appends again, under a new epoch, what the log lacks. Raises Unavailable; what
        is done by then need not be done again."""
        durable = await self._store.durable(self.key)
        claimed = await self._log.reclaim(self.key, durable, self.section.epoch, self._token)
        if self.closed:
            return
        lost = None if claimed is None else self.section.lost_after(claimed.head, _epoch_at_head(claimed, durable))
        if claimed is None or lost is None:
            log_event.error("the log lost entries that cannot be appended again", **self._names())
            self.leave("the log lost entries")
            return
        self.section.reclaim(claimed.epoch)
        log_event.error("the log lost entries; they are appended again", **self._names(), entries=len(lost))
        self._mark = self.live_revision = None  # they may be lost too
        while lost and not self.closed:
            batch = self.section.batch_again(self._clock.new_id(), lost)
            await self._ensure_dirty(batch)
            answer = await self._log.commit(self.key, batch)
            if answer is Answer.LOST:
                return  # once more, from the beginning
            if answer is not Answer.OK:
                self.leave("another owner appends")
                return
            del lost[: len(batch.entries)]
        self._log_lost = False

    async def _ensure_dirty(self, batch: Batch) -> None:
        """Before the first append after a flush the section is marked, so that a sweeper finds it if we die."""
        if self._mark is None:
            mark = DirtyMark(self.key, f"{batch.epoch}:{batch.base}")
            await self._log.mark_dirty(self.key, mark.token)
            self._mark = mark

    def _committed(self, batch: Batch) -> None:
        self.committed_ms = self.used_ms
        if self.durable.revision >= self.section.committed_revision:
            self.unflushed_since_ms = self.used_ms
        self.section.committed()
        self.backlog.add(batch.last, len(batch.entries), sum(len(entry.entry) for entry in batch.entries))
        revision = self.section.committed_revision
        while self._waiting and self._waiting[0].revision <= revision:
            self._waiting.popleft()
        for done in [each for each in self._duplicates.values() if each.revision <= revision]:
            message = self._duplicates.pop(done.message.client).message
            done.reply(link.Duplicate(self.key, message.ref, message.client, message.cseq, done.revision))
        self.questions.committed()
        if self._held and not self._closing:
            held, self._held = self._held, []
            for message, reply in held:
                self.submit(message, reply)

    # --- Life ---

    async def announce(self) -> None:
        """Publish the head: a router that missed something sees it."""
        revision, epoch = self.section.committed_revision, self.section.committed_epoch
        header = BatchHeader(revision + 1, revision, epoch, False, ())
        body = encode_message(Head(self.key.section, revision, epoch))
        await self._log.announce(self.key, encode_batch(header, body))

    async def drain(self) -> None:
        """Take nothing more and commit what is prepared; put the content where the next owner reads it together with
        the log; then leave. What came meanwhile is answered `moved`."""
        self._closing = True
        if self._pump is not None:
            await asyncio.wait({self._pump})
        if not self.closed and (found := self.section.snapshot(self.section.committed_revision)):
            try:
                await self.keep_live(found)
            except Unavailable as error:  # the next owner has the log, and needs Postgres
                log_event.warning("content not handed off", **self._names(), error=str(error))
        self.leave("handed off")

    async def keep_live(self, found: ContentAt) -> None:
        """Keep committed content in the log as the live snapshot. Raises Unavailable."""
        section = self.section
        if found.revision == self.live_revision:
            return
        snapshot = StoredSnapshot(found.revision, found.epoch, section.next, section.sealed, found.content)
        live = LiveSnapshot(snapshot, self.durable, self.snapshot_revision)
        if await self._log.keep_live(self.key, section.epoch, live):
            self.live_revision = found.revision

    async def drop_live(self, revision: int) -> None:
        """Keep no live snapshot: the content is too large at this revision. Raises Unavailable."""
        self.too_large_at = revision
        if self.live_revision is not None:
            await self._log.keep_live(self.key, self.section.epoch, None)
            self.live_revision = None

    def leave(self, reason: str) -> None:
        """Stop being the owner, at once. Everything that is not durable goes back to the routers."""
        if self.closed:
            return
        self.closed = True
        self.backlog.close()
        log_event.info("section left", **self._names(), reason=reason, revision=self.section.committed_revision)
        undone = [(each.message, each.reply) for each in (*self._waiting, *self._duplicates.values())]
        for message, reply in (*undone, *self._held, *self._asking, *self._doubted):
            self._move(message, reply)
        self._waiting.clear()
        self._duplicates.clear()
        for answered in (self._held, self._asking, self._doubted):
            answered.clear()
        self.questions.leave(reason)
        self._on_gone(self)

    async def flushed(self, durable: Durable) -> None:
        """Postgres has entries up to durable.revision: forget the dirty mark if that is all there is."""
        self.durable, self.unflushed_since_ms = durable, self.committed_ms
        self.backlog.flushed(durable.revision)
        if durable.epoch > self.section.epoch:
            self.leave("a newer owner exists")
            return
        mark = self._mark
        if mark and durable.revision == self.section.revision and self.section.unanswered is None:
            self._mark = None  # before the await: an append from here on marks anew, with another token
            await self._log.clear_dirty(mark)

    def _names(self) -> dict[str, object]:
        return {"document": self.key.document, "section": self.key.section, "epoch": self.section.epoch}


def _epoch_at_head(claimed: Activation, durable: Durable) -> int:
    """Of the last entry in the log, or in Postgres if the log has been trimmed up to its end; else one that no entry
    has."""
    if claimed.tail and claimed.tail[-1].revision == claimed.head:
        return claimed.tail[-1].epoch
    return durable.epoch if durable.revision == claimed.head else -1
