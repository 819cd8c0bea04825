"""A room: a router's local audience of one section, and the recent batches that it holds for it.

Published batches are passed on as the bytes they came as, to every member that stands right before them. Pub/sub may
lose messages in silence, so a gap in revisions, a renewed subscription or a head from beyond makes the room read the
stream. Before anything of another epoch is put behind what was read, the log must show that what was read is still in
it. A member stands at the last revision that was sent to it; one that is not level with the room (joining, catching
up, lagging) is brought up from the ring of recent batches or by the owner, and gets nothing else meanwhile.

What comes is sent at once where the last round was cheap or long ago, else with what comes until the next round is due
(router/fan_out.py): a large room sends many batches in one frame, which is the same bytes for everyone.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import takewhile
from typing import Final, Protocol

import msgspec
import structlog

from coscribe.batch import Author, BatchHeader, LogEntry, decode_batch, entries_message
from coscribe.link import EntriesAre
from coscribe.names import SectionKey
from coscribe.protocol import Entries, decode_op_entry, decode_server_frame
from persistence.records import LogReader, Unavailable
from router.fan_out import FanOut
from router.run import Run

RING_ENTRIES: Final = 4_096
RING_BYTES: Final = 4 * 1024 * 1024
REPAIR_PAGE: Final = 500
REPAIR_RETRY_S: Final = 0.2
REPAIR_TRIES: Final = 50
CONFIRMED: Final = 2

log_event = structlog.get_logger("room")

FromOwner = Callable[[SectionKey, int], Awaitable[EntriesAre | None]]
"""Plain entries after a revision, from the section's owner, None where that revision is no more; raises Unavailable."""


class Member(Protocol):
    """A client's place in a room."""

    sent: int | None
    """The last revision sent, None while it is not level with the room."""

    client: str

    def deliver(self, run: Run) -> None:
        """Append finished messages."""

    def lag(self, head: int) -> None:
        """It cannot be sent what leads to `head`: it asks when it can."""

    def acknowledged(self, cseq: int) -> None:
        """The client's operation is durable."""

    def fork(self) -> None:
        """A revision that this member has read is void."""


@dataclass(frozen=True, slots=True)
class _Held:
    first: int
    last: int
    epoch: int
    messages: bytes


class Room:
    """One section. `head` is the newest revision that this router knows of, None before it knows any; members that are
    level have been sent everything up to `shown`."""

    def __init__(self, key: SectionKey, reader: LogReader, from_owner: FromOwner, fan_out: FanOut) -> None:
        self.key = key
        self.head: int | None = None
        self.epoch = 0
        self.shown: tuple[int, int] | None = None  # revision and epoch
        self.members: dict[Member, None] = {}  # in the order of arrival
        self.gaps = 0
        self._reader, self._from_owner, self._fan_out = reader, from_owner, fan_out
        self._cseqs: dict[str, int] = {}  # last cseq of each author since the last round
        self._next_round = 0.0
        self._round: asyncio.TimerHandle | None = None
        self._ring: deque[_Held] = deque()
        self._ring_entries = self._ring_bytes = 0
        self._ring_start = 0  # the ring has everything after this revision, up to head
        self._target = 0  # entries up to here are known to exist
        self._doubtful = False  # something may have been lost since the log was last read
        self._short = False  # the log ends before our head
        self._confirmed = 0  # how often the owner has said that it has our head
        self._repair: asyncio.Task[None] | None = None

    # --- What comes in ---

    def published(self, data: bytes) -> None:
        """A message of the section's channel."""
        try:
            header, body = decode_batch(data)
        except msgspec.DecodeError:
            log_event.error("not a batch", **self._names())
            return
        if header.last < header.first:
            self.head_is(header.last)
        else:
            self._batch(header, body)

    def _batch(self, header: BatchHeader, body: bytes) -> None:
        if self.head is None:
            self.position(header.first - 1, header.epoch)
        assert self.head is not None, "a positioned room has a head"
        if header.epoch > self.epoch and header.first <= self.head:
            self._fork()
            self.position(header.first - 1, header.epoch)
        if header.first == self.head + 1 and (header.epoch == self.epoch or self.head == 0):
            self._append(_Held(header.first, header.last, header.epoch, body), header.authors)
        elif header.last > self.head:
            self.gaps += header.first > self.head + 1
            self.head_is(header.last)

    def head_is(self, revision: int) -> None:
        """Entries up to `revision` are in the log: read those that did not come."""
        self._target = max(self._target, revision)
        self._repair_soon()

    def log_ends(self, revision: int | None, known: int | None) -> None:
        """Where the log ended, None for no log, when it was asked after we had `known`. If that is before it, either
        the log lost its tail or the long-term store has everything. Only the owner knows. Where there is no log it is
        asked twice, for it may not have noticed yet, and no more, for it would never be idle."""
        self.head_is(revision or 0)
        asked = revision is None and self._confirmed >= CONFIRMED
        if (revision or 0) < (known or 0) and self.head is not None and not asked:
            self._short = True
            self._repair_soon()

    def position(self, revision: int, epoch: int) -> None:
        """The first thing known of the section: committed state at a revision."""
        if self.head is None:
            self.head, self._ring_start, self.epoch = revision, revision, epoch
            self.shown = revision, epoch
            self._repair_soon()

    def _fork(self) -> None:
        """Entries were lost and their revisions given anew. Who has read them must join anew; where the two histories
        part is not known here, so that is everyone."""
        log_event.error("fork", **self._names(), revision=self.head, epoch=self.epoch)
        for member in list(self.members):
            member.sent = None  # what comes next may not follow what it was sent
            member.fork()
        self._ring.clear()
        self._ring_entries = self._ring_bytes = 0
        self._cseqs.clear()
        self.shown = None
        self.head, self._target, self._short, self._confirmed = None, 0, False, 0

    def _append(self, held: _Held, authors: tuple[Author, ...]) -> None:
        self._ring.append(held)
        self._ring_entries += held.last - held.first + 1
        self._ring_bytes += len(held.messages)
        self.head, self.epoch, self._confirmed = held.last, held.epoch, 0
        self._cseqs.update((author.client, author.cseq) for author in authors)
        wait_s = self._next_round - self._fan_out.now()
        if wait_s <= 0:
            self._send_round()
        elif self._round is None:
            self._round = asyncio.get_running_loop().call_later(wait_s, self._send_round)
        while self._over:
            if self.shown is not None and self._ring[0].last > self.shown[0]:
                self._send_round()  # what is not sent yet would be forgotten
            gone = self._ring.popleft()
            self._ring_entries -= gone.last - gone.first + 1
            self._ring_bytes -= len(gone.messages)
            self._ring_start = gone.last

    @property
    def _over(self) -> bool:
        return self._ring_entries > RING_ENTRIES or (self._ring_bytes > RING_BYTES and len(self._ring) > 1)

    # --- Rounds ---

    def _send_round(self) -> None:
        """Send to every member that stands in the ring what came since; most stand at one place."""
        if self._round is not None:
            self._round.cancel()
            self._round = None
        if self.head is None:
            return
        began = self._fan_out.cpu()
        cseqs, self._cseqs = self._cseqs, {}
        runs: dict[int, Run | None] = {}
        for member in self.members:
            if member.client in cseqs:
                member.acknowledged(cseqs[member.client])
            sent = member.sent
            if sent is None or sent >= self.head:
                continue
            if sent not in runs:
                messages = self.since(sent)
                runs[sent] = None if messages is None else Run(b",".join(messages), last=self.head)
            if (run := runs[sent]) is not None:
                member.deliver(run)
            else:
                member.lag(self.head)
        self.shown = self.head, self.epoch
        self._next_round = self._fan_out.now() + self._fan_out.pause_s(self._fan_out.cpu() - began)

    # --- Bringing members up ---

    def since(self, revision: int) -> list[bytes] | None:
        """Finished messages of everything after a revision, None where the ring does not reach back so far."""
        if self.head is None or revision < self._ring_start:
            return None
        found = list(takewhile(lambda held: held.last > revision, reversed(self._ring)))
        return [held.messages for held in reversed(found)]

    def epoch_of(self, revision: int) -> int | None:
        """The epoch of the entry that led to a revision, None where it is not known here."""
        if revision == self.head:
            return self.epoch
        return next((held.epoch for held in self._ring if held.first <= revision <= held.last), None)

    # --- Repair ---

    def repair(self) -> None:
        """Messages may have been lost: read the log from the head on."""
        self._doubtful = True
        self._repair_soon()

    def _repair_soon(self) -> None:
        if self._incomplete and (self._repair is None or self._repair.done()):
            self._repair = asyncio.get_running_loop().create_task(self._read_log())

    @property
    def _incomplete(self) -> bool:
        return self.head is not None and (self._doubtful or self._short or self.head < self._target)

    async def _read_log(self) -> None:
        """Until everything that is known to exist is here. What nobody can find after many tries was no entry."""
        tries = 0
        while self._incomplete and tries < REPAIR_TRIES:
            self._doubtful = False
            try:
                if await self._read_page():
                    tries, self._doubtful = 0, True
                tries += 1
                if self._doubtful:
                    continue
            except Unavailable as error:
                self._doubtful = True
                log_event.warning("repair put off", **self._names(), error=str(error))
            except Exception:  # the room goes on, and so does the next repair
                tries += 1
                log_event.exception("repair failed", **self._names())
            if self._incomplete:
                await asyncio.sleep(REPAIR_RETRY_S)
        if self._incomplete:
            log_event.error("repair given up", **self._names(), head=self.head, target=self._target)
            self._target, self._doubtful, self._short = 0, False, False

    async def _read_page(self) -> bool:
        """Read on from the head; True if that brought something. Raises Unavailable."""
        before, epoch = self.head, self.epoch
        if before is None:
            return False
        # With the entry at the head, if it is still there: its epoch says whether it is the one that was read.
        entries = list(await self._reader.read(self.key, max(before - 1, 0), REPAIR_PAGE))
        verified = before == 0
        if entries and entries[0].revision == before:
            verified = self._continues(entries.pop(0).epoch, epoch)
            if not verified:
                return False
        if verified and entries and entries[0].revision == before + 1:
            for entry in entries:
                if self.head is not None and entry.revision == self.head + 1:
                    self._append_entry(entry)
        elif entries or self._short or self._target > before:  # trimmed from the stream, or lost there
            found = await self._from_owner(self.key, before)
            if found is None:
                self._fork()
                return False
            self._confirmed += 1
            if verified or found.base_epoch == 0 or self._continues(found.base_epoch, epoch):
                for message in found.messages:
                    self._append_message(message)
        self._short = False
        return self.head not in (before, None)

    def _continues(self, found: int, known: int) -> bool:
        """Whether the entry at our head is in the log under the epoch that we know; else everyone joins anew."""
        if found != known and self.head is not None:
            self._fork()
        return found == known

    def _append_message(self, message: bytes) -> None:
        """A finished message from the owner, which has the entries of one epoch."""
        for run in decode_server_frame(message):
            if (
                isinstance(run, Entries)
                and run.epoch is not None
                and self.head is not None
                and run.rev == self.head + 1
            ):
                ops = [decode_op_entry(entry) for entry in run.e]
                authors = tuple(Author(op.client, op.cseq) for op in ops)
                self._append(_Held(run.rev, run.rev + len(ops) - 1, run.epoch, message), authors)

    def _append_entry(self, entry: LogEntry) -> None:
        epoch = entry.epoch if entry.epoch != self.epoch else None
        message = entries_message(self.key.section, entry.revision, [entry.entry], epoch)
        op = decode_op_entry(entry.entry)
        held = _Held(entry.revision, entry.revision, entry.epoch, message)
        self._append(held, (Author(op.client, op.cseq),))

    def _names(self) -> dict[str, object]:
        return {"document": self.key.document, "section": self.key.section}

    async def close(self) -> None:
        if self._round is not None:
            self._round.cancel()
        if self._repair is not None:
            self._repair.cancel()
            await asyncio.gather(self._repair, return_exceptions=True)
