"""What routers ask of the owner of a section: its content, its entries, what it has accepted. All of it is committed
state, read from the section's memory; from the stores for who was away for long.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from coscribe import link
from coscribe.batch import LogEntry, entries_message
from persistence.records import Log, Store, Unavailable

if TYPE_CHECKING:
    from actors.section_actor import SectionActor

PAGE_ENTRIES: Final = 500
PAGE_BYTES: Final = 2 * 1024 * 1024  # but for one entry that is longer
SNAPSHOT_LAG: Final = 64  # a cached snapshot so many entries old will do for a joiner: routers hold those entries
ASKS_MOST: Final = 1_000  # snapshots that wait for an answer of the log
READS_MOST: Final = 32  # questions for which a store is read at a time

Reply = Callable[[link.ToRouter], None]


class Questions:
    """Those of one owner."""

    def __init__(self, owner: "SectionActor", log: Log, store: Store) -> None:
        self._owner, self._section, self._log, self._store = owner, owner.section, log, store
        self._reads = 0
        self._snapshots: list[tuple[int, int, Reply]] = []  # request, least revision, reply

    def snapshot(self, request: int, fresh: bool, reply: Reply) -> None:
        self._owner.touch()
        if self._cannot(len(self._snapshots) >= ASKS_MOST, request, reply):
            return
        least = self._section.committed_revision - (0 if fresh else SNAPSHOT_LAG)
        self._snapshots.append((request, least, reply))
        self.committed()

    def _cannot(self, too_many: bool, request: int, reply: Reply) -> bool:
        """Whether a question cannot be answered here, or not now; then that has been said."""
        if self._owner.closed:
            reply(link.Refused(request, "moved", "this host does not own the section any more"))
        elif too_many:
            reply(link.Refused(request, "unavailable", "too many questions wait for the log"))
        return self._owner.closed or too_many

    def committed(self) -> None:
        """Something was committed: a snapshot that somebody waits for may be there."""
        if not self._snapshots:
            return
        found = self._section.snapshot(max(least for _, least, _ in self._snapshots))
        if found is None:
            return
        message = self._section.snapshot_message(found)
        asks, self._snapshots = self._snapshots, []
        for request, _, reply in asks:
            reply(link.SnapshotIs(request, found.revision, found.epoch, self._section.committed_revision, message))

    def composed(self, request: int, after: int, reply: Reply) -> None:
        if self._cannot(False, request, reply):
            return
        found = self._section.composed_after(after)
        if found is None:
            code = "ahead" if after > self._section.committed_revision else "stale"
            reply(link.Refused(request, code, f"revision {after} is not in the history window"))
        else:
            reply(link.ComposedIs(request, *found))

    def acked(self, request: int, client: str, reply: Reply) -> None:
        if not self._cannot(False, request, reply):
            reply(link.AckedIs(request, *self._section.last_accepted(client)))

    def entries(self, request: int, after: int, reply: Reply) -> None:
        """Plain entries after a revision: from the window, or from the stores for who was away for long."""
        if self._cannot(False, request, reply):
            return
        base_epoch = self._section.epoch_at(after) if after else 0
        entries = self._section.entries_after(after, PAGE_ENTRIES)
        if base_epoch is not None and entries is not None:
            reply(self._page(request, after, base_epoch, entries))
        elif not self._cannot(self._reads >= READS_MOST, request, reply):
            self._reads += 1
            self._owner.start(self._look_up(request, after, reply)).add_done_callback(self._looked_up)

    async def _look_up(self, request: int, after: int, reply: Reply) -> None:
        try:
            if after > self._section.committed_revision:
                await self._verify_revision(request, after, reply)
            else:
                await self._read_entries(request, after, reply)
        except Unavailable as error:
            reply(link.Refused(request, "unavailable", str(error)))

    def _looked_up(self, _: asyncio.Task[None]) -> None:
        self._reads -= 1

    async def _verify_revision(self, request: int, after: int, reply: Reply) -> None:
        """A revision from beyond what we know to be in the log. Who asks may have read a batch of ours whose answer
        was lost, or one of a newer owner: only the log can say that it never was."""
        end = await self._owner.ask_end()
        if self._cannot(False, request, reply):
            return
        if after > end:
            reply(link.Refused(request, "ahead", f"revision {after} does not exist"))
        else:
            reply(link.Refused(request, "unavailable", f"revision {after} is not confirmed yet"))

    async def _read_entries(self, request: int, after: int, reply: Reply) -> None:
        from_ = max(after - 1, 0)  # the entry that led to `after` has its epoch
        entries = list(await self._log.read(self._section.key, from_, PAGE_ENTRIES + 1))
        if not entries or entries[0].revision != from_ + 1:
            entries = list(await self._store.entries(self._section.key, from_, from_ + PAGE_ENTRIES + 1))
        if self._cannot(False, request, reply):
            return
        entries = [entry for entry in entries if entry.revision <= self._section.committed_revision]
        if not entries or entries[0].revision != from_ + 1:
            reply(link.Refused(request, "unavailable", f"entries after revision {after} cannot be read now"))
            return
        base_epoch = entries.pop(0).epoch if after else 0
        reply(self._page(request, after, base_epoch, entries[:PAGE_ENTRIES]))

    def _page(self, request: int, after: int, base_epoch: int, entries: list[LogEntry]) -> link.EntriesAre:
        page = _bounded(entries, PAGE_BYTES)
        last = page[-1].revision if page else after
        head, epoch = self._section.committed_revision, self._section.committed_epoch
        messages = messages_of(self._section.key.section, page)
        return link.EntriesAre(request, last, head, epoch, base_epoch, messages)

    def leave(self, reason: str) -> None:
        """Nothing more is answered here."""
        for request, _, reply in self._snapshots:
            reply(link.Refused(request, "moved", reason))
        self._snapshots.clear()


def _bounded(entries: list[LogEntry], most_bytes: int) -> list[LogEntry]:
    """The first of the entries, as many as fit, one at least."""
    size = 0
    for index, entry in enumerate(entries):
        size += len(entry.entry)
        if size > most_bytes and index:
            return entries[:index]
    return entries


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
