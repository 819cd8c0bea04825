"""A light client: it speaks the whole protocol and keeps no text, only where it stands and how long the document is.

One operation is in flight; what is typed meanwhile waits and goes in one operation behind it, so that a slow answer
shows as time and not as fewer characters. It cannot transform: an operation goes again as it was, against the revision
that it was made on, for which the owner keeps the history; where that is too old (`stale`) the characters go to the
same place of the newest text. That is as good an edit, for it was not accepted, or the owner knows its number.

Everything it is told is checked: revisions follow each other, epochs never fall, acknowledgements are its own.
"""

import random
from typing import Final

import msgspec

from benchmarks.router.connected import Connected, Network
from benchmarks.router.reading import Message, Operation, Reader, Run, growth
from coscribe import protocol
from coscribe.names import FIRST_SECTION
from coscribe.protocol import Head, NackCode, Snapshot, Welcome

RESEND_AFTER_S: Final = 3.0
ASK_AGAIN_S: Final = 5.0
STALE_RETRY_S: Final = 0.05
TO_THE_START: Final = 0.1  # of moves to another place
MOVES: Final = 0.05  # of keys: then the typist goes on elsewhere


class Flight:
    __slots__ = ("base", "operation", "position", "retry_at", "text", "typed")

    def __init__(self, operation: Operation, text: str, typed: tuple[float, ...]) -> None:
        self.operation, self.text, self.typed = operation, text, typed
        self.base = self.position = 0
        self.retry_at = 0.0


class LightClient(Connected):
    """`observes`: how long others' characters took to become visible is taken here."""

    def __init__(
        self, network: Network, document: str, rng: random.Random, reader: Reader, *, observes: bool = False
    ) -> None:
        super().__init__(network, document, rng)
        self.observes = observes
        self.revision = self.epoch = self.length = 0
        self.known_head = 0
        self.incarnation = ""
        self.acked: dict[Operation, int] = {}
        self.heartbeat_s = 20.0
        self.tears: list[str] = []  # what no server may say
        self._reader = reader
        self._joined = False
        self._asked_at: float | None = None
        self._resuming = False
        self._flight: Flight | None = None
        self._waiting: list[float] = []
        self._cseq = 0
        self._place = 0

    # --- Typing ---

    def type(self) -> None:
        """One key."""
        self._waiting.append(self._now())
        if self._flight is None:
            self._fly()

    @property
    def settled(self) -> bool:
        return self._flight is None and not self._waiting

    def _fly(self) -> None:
        if not self._waiting or not self._joined:
            return
        self._cseq += 1
        typed, self._waiting = tuple(self._waiting), []
        self._flight = Flight((self.id, self._cseq), "x" * len(typed), typed)
        self.tally.typed[self._flight.operation] = typed
        if self.rng.random() < MOVES:
            self._place = 0 if self.rng.random() < TO_THE_START else self.rng.randrange(self.length)
        self._aim(self._flight)
        self._submit(self._flight)

    def _aim(self, flight: Flight) -> None:
        flight.base, flight.position = self.revision, min(self._place, self.length - 1)
        self._place = flight.position + len(flight.text)

    def _submit(self, flight: Flight) -> None:
        flight.retry_at = self._now() + RESEND_AFTER_S
        retain = b"%d," % flight.position if flight.position else b""
        self.send(
            b'{"t":"op","s":"0","base":%d,"cseq":%d,"delta":[%s"%s"]}'
            % (flight.base, flight.operation[1], retain, flight.text.encode())
        )

    def _landed(self, flight: Flight, revision: int) -> None:
        self.acked[flight.operation] = revision
        self.tally.acknowledged.add(flight.typed, self._now())
        self._flight = None
        self._fly()

    # --- The connection ---

    def greet(self) -> None:
        resume = None
        if self._joined:
            resume = protocol.Resume(self.incarnation, {FIRST_SECTION: (self.revision, self.epoch)})
            self.tally.resumes += 1
        self._resuming = self._joined
        self.send(protocol.encode(protocol.Hello(protocol.VERSION, self.id, resume)))

    def lost(self) -> None:
        self._asked_at = None

    def tick(self, now: float, heartbeat_s: float) -> None:
        super().tick(now, self.heartbeat_s)
        if not self.level:
            return
        if self._asked_at is not None and now - self._asked_at > ASK_AGAIN_S:
            self._asked_at = None
            self._behind(self.known_head)
        if (flight := self._flight) is not None and now >= flight.retry_at and self._asked_at is None:
            self._submit(flight)

    # --- Reading ---

    def read(self, frame: bytes) -> None:
        for message in self._reader.read(frame):
            if type(message) is Run:
                self._entries(message)
            else:
                self._told(message)

    def _entries(self, run: Run) -> None:
        if run.first != self.revision + 1:
            if run.last <= self.revision:
                return
            if run.first > self.revision + 1:
                self.tally.gaps += 1
                self._behind(run.last)
                return
            known = self.revision + 1 - run.first
            self.length += sum(run.growth[known:])
            self.tally.delivered += run.count - known
        else:
            self.length += run.total_growth
            self.tally.delivered += run.count
        if run.epoch is not None:
            self._epoch_is(run.epoch)
        self.revision = run.last
        if self.observes and run.typed:
            self.tally.visible.add(run.typed, self._now())
        flight = self._flight
        if flight is not None and (revision := run.operations.get(flight.operation)) is not None:
            self._landed(flight, revision)
        if self._asked_at is not None and self.revision >= self.known_head:
            self._asked_at = None

    def _epoch_is(self, epoch: int) -> None:
        if epoch < self.epoch:
            self.tears.append(f"epoch {epoch} after {self.epoch}")
        self.epoch = epoch

    def _told(self, message: Message) -> None:
        match message:
            case Head(rev=revision, epoch=epoch):
                self._head(revision, epoch)
            case Snapshot():
                self._snapshot(message)
            case Welcome():
                self._welcomed(message)
            case protocol.Nack():
                self._refused(message)
            case protocol.Acked(cseq=cseq, rev=revision):
                if (flight := self._flight) is not None and flight.operation[1] == cseq:
                    self._landed(flight, revision)
            case protocol.CaughtUp():
                self._composed(message)
            case protocol.Lagging(rev=revision):
                self.tally.lagging += 1
                self._behind(revision)
            case protocol.Error(message=words):
                self.tears.append(words)
            case _:
                pass

    def _welcomed(self, message: Welcome) -> None:
        if self.incarnation not in ("", message.incarnation):
            self.tears.append("another incarnation")
        self.incarnation, self.heartbeat_s = message.incarnation, message.heartbeat_s
        if self._flight is not None:
            self._submit(self._flight)

    def _snapshot(self, message: Snapshot) -> None:
        self.tally.snapshots += 1
        if self._joined and message.rev <= self.revision:
            return
        self.length = growth(msgspec.json.decode(message.delta))
        self.revision, self._asked_at = message.rev, None
        self._epoch_is(message.epoch)
        if not self._joined:
            self._joined = True
            self._place = self.rng.randrange(self.length)
        self._fly_if_free()

    def _composed(self, message: protocol.CaughtUp) -> None:
        if message.from_ != self.revision or self._flight is not None:
            if message.rev > self.revision:
                self._asked_at = None
                self._behind(message.rev)
            return
        self.length += growth(msgspec.json.decode(message.delta))
        self.tally.delivered += message.rev - self.revision
        self.revision, self._asked_at = message.rev, None
        self._epoch_is(message.epoch)
        if self.revision < self.known_head:
            self._behind(self.known_head)

    def _head(self, revision: int, epoch: int) -> None:
        if revision == self.revision and self.epoch not in (0, epoch):
            self.tears.append(f"revision {revision} has epoch {epoch}, and had {self.epoch}")
        if not self._joined:
            return
        if revision > self.revision:
            self._behind(revision)
            return
        self._asked_at = None
        self.is_level()

    def _behind(self, head: int) -> None:
        self.known_head = max(self.known_head, head)
        if self._asked_at is not None or self.revision >= self.known_head:
            return
        self._asked_at = self._now()
        composed = self._flight is None and self.known_head - self.revision >= 64
        self.send(protocol.encode(protocol.Catchup(FIRST_SECTION, self.revision, self.epoch, composed)))

    def _refused(self, nack: protocol.Nack) -> None:
        flight = self._flight
        self.tally.nacks[nack.code.value] += 1
        if flight is None or nack.cseq != flight.operation[1]:
            return
        if nack.code.final:
            self.tally.refused += 1
            self._flight = None
            self._fly()
            return
        if nack.code is NackCode.STALE:
            self._aim(flight)
        flight.retry_at = self._now() + (nack.retry_after_s or STALE_RETRY_S)
        self._loop.call_later(flight.retry_at - self._now(), self._retry, flight)

    def _retry(self, flight: Flight) -> None:
        if flight is self._flight and self._now() >= flight.retry_at:
            self._submit(flight)

    def _fly_if_free(self) -> None:
        if self._flight is None:
            self._fly()
