"""One author of a recorded history, typing through a real client at the pace of what they had seen.

The client reads the log as it comes; its author sees a change only when the recording says so. In between the change is
held: what the author types meanwhile is transformed over it, as the client does with what is on its way to the server.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Final

from coscribe.client import DocumentClient
from coscribe.ot import Content, Delta
from coscribe.session import Acknowledged, Changed, Event, Parked
from loadtests.traces import Step, Trace

PATIENCE_S: Final = 120.0
LOOK_AGAIN_S: Final = 0.1


class ReplayError(Exception):
    """The replay cannot go on. The text says why."""


class Ledger:
    """What every author of a replay has sent: which operation carries which transactions, and when it left."""

    def __init__(self) -> None:
        self.carried: dict[tuple[str, int], int] = {}  # (client id, cseq) -> transactions up to here, of this author
        self.author_of: dict[str, int] = {}
        self.authors: dict[int, DocumentClient] = {}
        self.typed: dict[int, int] = {}  # transactions, of each author
        self.sent_at: dict[tuple[str, int], float] = {}
        self.revisions: dict[int, tuple[str, int]] = {}  # revision -> the operation acknowledged there
        self.ack_s: list[float] = []
        self.visible_s: list[float] = []

    def acknowledged(self, client: str, event: Acknowledged) -> None:
        operation = (client, event.cseq)
        if self.revisions.setdefault(event.revision, operation) != operation:
            raise ReplayError(f"two operations were acknowledged at revision {event.revision}")
        self.ack_s.append(perf_counter() - self.sent_at[operation])

    def sent(self, author: int, client: DocumentClient, done: int) -> None:
        """Transactions up to `done` are typed: the operation that waits, or else the last one sent, carries the last.
        A transaction without effect has no operation of its own."""
        session = client.session
        operation = (session.client_id, session.cseq + session.buffered)
        self.carried[operation] = self.typed[author] = done
        self.sent_at.setdefault(operation, perf_counter())

    def without_effect(self, author: int, reader: DocumentClient) -> int:
        """Transactions of an author of which nothing more will come to a reader that has read all there is."""
        client = self.authors.get(author)
        if client is None or not client.session.settled or reader.session.revision() < client.session.revision():
            return 0
        return self.typed.get(author, 0)

    def seen(self, source: tuple[str, int] | None) -> None:
        if source in self.sent_at:
            self.visible_s.append(perf_counter() - self.sent_at[source])


class Author:
    """Types the steps of one author. `speed`: times the recorded pace, None: each transaction waits for the
    acknowledgement of the one before, infinity: no pause at all."""

    def __init__(
        self, trace: Trace, number: int, ledger: Ledger, speed: float | None, progress: Callable[[], None]
    ) -> None:
        self.client: DocumentClient | None = None
        self._trace, self._number, self._ledger, self._speed, self._progress = trace, number, ledger, speed, progress
        self._steps = [step for step in trace.steps if step.author == number]
        self._cuts = {step.seen[number] for step in trace.steps if step.author != number}
        self._held: deque[tuple[Delta, tuple[str, int] | None]] = deque()
        self._shown: dict[int, tuple[str, int]] = {}  # the last operation of each other author that this one has seen
        self._view = Content.from_delta(Delta.replace(0, 0, "\n")) if trace.astral else None
        self._failed: Exception | None = None

    def on_event(self, event: Event) -> None:
        match event:
            case Changed(delta=delta, source=source):
                self._held.append((delta, source))
            case Acknowledged():
                assert self.client is not None, "events come from the client"
                self._ledger.acknowledged(self.client.session.client_id, event)
            case Parked(message=message):
                self._failed = ReplayError(f"an operation was refused for good: {message}")

    async def type(self, client: DocumentClient) -> None:
        """Type every step, each once its author has seen what they had seen. Raises ReplayError."""
        self.client = client
        self._ledger.author_of[client.session.client_id] = self._number
        self._ledger.authors[self._number] = client
        started = perf_counter()
        for done, step in enumerate(self._steps, 1):
            if self._speed:
                await asyncio.sleep(max(0.0, started + step.time_s / self._speed - perf_counter()))
            await self._until_shown(client, step)
            self._type(client, step, done)
            if self._speed is None:
                await client.settled(PATIENCE_S)
            elif done in self._cuts:  # somebody saw just this much: nothing more may join this operation
                await client.wait_for(lambda: not client.session.buffered, PATIENCE_S)
            if self._failed:
                raise self._failed
            self._progress()
        await client.settled(PATIENCE_S)

    async def _until_shown(self, client: DocumentClient, step: Step) -> None:
        """Wait until the author may have seen what they had seen. Looked at anew also without an event here: that
        another one's transactions come to nothing shows in that one's session alone."""
        async with asyncio.timeout(PATIENCE_S):
            while not self._show(client, step):
                with contextlib.suppress(TimeoutError):
                    await client.wait_for(lambda: bool(self._held), LOOK_AGAIN_S)

    def _show(self, client: DocumentClient, step: Step) -> bool:
        """Let the author see what they had seen; True once that is so."""
        while any(
            self._count_shown(other, client) < step.seen[other]
            for other in range(self._trace.authors)
            if other != self._number
        ):
            if not self._held:
                return False
            delta, source = self._held.popleft()
            if source is None or source not in self._ledger.carried:
                raise ReplayError("somebody else edits this document, or a change came composed")
            self._shown[self._ledger.author_of[source[0]]] = source
            if self._view is not None:
                self._view.apply(delta)
        return True

    def _count_shown(self, other: int, client: DocumentClient) -> int:
        operation = self._shown.get(other)
        shown = self._ledger.carried[operation] if operation else 0
        return shown if self._held else max(shown, self._ledger.without_effect(other, client))

    def _type(self, client: DocumentClient, step: Step, done: int) -> None:
        delta = step.plain() if self._view is None else step.against(self._view.text())
        if self._view is not None:
            self._view.apply(delta)
        for index, (held, source) in enumerate(self._held):
            self._held[index] = (delta.transform(held, True), source)
            delta = held.transform(delta, False)
        client.edit(delta)
        self._ledger.sent(self._number, client, done)
