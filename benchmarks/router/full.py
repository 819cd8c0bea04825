"""A full client, the product's own `Session`, on the generator's socket: it has the text, and so can say whether it is
the same everywhere.

A session applies every entry, some 20 µs each: twenty of them in a room of a thousand would take half of the
generator's core. So in a large room only some read at once and type (`live`); the others keep the frames, which are the
same objects for all, and read them when the typing is over, before they are compared.
"""

import asyncio
import random
from typing import Final

from benchmarks.router.connected import PING, Connected, Network
from benchmarks.router.reading import Operation, Reader, Run
from coscribe.events import Acknowledged, Event, Forked, Parked, Silent, Synced
from coscribe.ot import Delta
from coscribe.protocol import BadMessage
from coscribe.session import Session

FRAMES_A_SLICE: Final = 20  # read between two turns of the loop


class FullClient(Connected):
    def __init__(self, network: Network, document: str, rng: random.Random, reader: Reader, *, live: bool) -> None:
        super().__init__(network, document, rng)
        self.session = Session(self.id)
        self.acked: dict[Operation, int] = {}
        self.live = live
        self._reader = reader  # which only counts here
        self._kept: list[bytes] = []
        self._same: dict[bytes, bytes] = {}

    def share(self, frames: dict[bytes, bytes]) -> None:
        """Where equal frames that are kept are one object."""
        self._same = frames

    # --- Typing ---

    def type(self) -> None:
        now = self._now()
        length = sum(copy.local_length for copy in self.session.chain())
        at = self.rng.randrange(length)
        self._do(self.session.edit(Delta.replace(at, 0, "y"), now))
        self._flush(now)

    @property
    def settled(self) -> bool:
        return self.session.settled

    @property
    def revision(self) -> int:
        return self.session.revision() if self.session.joined else 0

    # --- Reading ---

    def greet(self) -> None:
        now = self._now()
        self.session.connected(now)
        self._flush(now)

    def lost(self) -> None:
        self.session.disconnected()

    def read(self, frame: bytes) -> None:
        self.tally.delivered += sum(run.count for run in self._reader.read(frame) if type(run) is Run)
        if self.live or not self.level:
            self._take(frame)
        else:
            self._kept.append(self._same.setdefault(frame, frame))

    def _take(self, frame: bytes) -> None:
        now = self._now()
        try:
            self._do(self.session.receive(frame, now))
        except (Forked, BadMessage) as error:
            self.failed = str(error)
            self.cut()
        self._flush(now)

    async def catch_up(self) -> None:
        """Read what was kept, and read at once from now on."""
        while self._kept:
            frames, self._kept = self._kept[:FRAMES_A_SLICE], self._kept[FRAMES_A_SLICE:]
            for frame in frames:
                self._take(frame)
            await asyncio.sleep(0)
        self.live = True

    def tick(self, now: float, heartbeat_s: float) -> None:
        if self.live:
            self._do(self.session.tick(now))
            self._flush(now)
        elif self.level and now - self._pinged_at > heartbeat_s / 2:
            self._pinged_at = now
            self.send(PING)

    def _do(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case Acknowledged(cseq=cseq, revision=revision):
                    self.acked[self.id, cseq] = revision
                case Synced():
                    self.is_level()
                case Parked():
                    self.tally.refused += 1
                case Silent():
                    self.cut()
                case _:
                    pass

    def _flush(self, now: float) -> None:
        for frame in self.session.outgoing(now):
            self.send(frame)
