"""People who type without a stop into a few documents, and keep account of what they were promised.

Each document has several clients at several routers. One of them, the metronome, types one character after another,
each as soon as the one before is acknowledged: the longest gap between two of its acknowledgements is the pause that a
fault makes.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from typing import Final

import aiohttp

from coscribe.client import DocumentClient
from coscribe.ot import Delta
from coscribe.session import Acknowledged, Event

CLIENTS_A_DOCUMENT: Final = 6
BEAT_S: Final = 0.01  # between an acknowledgement and the metronome's next character
PATIENCE_S: Final = 120.0

Operation = tuple[str, int]
"""Client id and cseq."""


class Typist:
    """Types words at its own pace; `acked` has the revision of every operation that the server said is durable."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        urls: Sequence[str],
        document: str,
        token: str,
        rng: random.Random,
        steady: bool,
        beat_s: float,
    ) -> None:
        self.client = DocumentClient(http, urls, document, token=token, on_event=self._on_event)
        self.acked: dict[Operation, int] = {}
        self.acked_at: list[float] = []
        self.steady = steady
        self._beat_s = beat_s
        self._rng = rng

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Acknowledged):
            self.acked[self.client.session.client_id, event.cseq] = event.revision
            self.acked_at.append(time.perf_counter())

    async def run(self) -> None:
        """Until cancelled."""
        await self.client.joined(PATIENCE_S)
        while True:
            at = self._rng.randrange(max(1, self.client.content.length))
            self.client.edit(Delta.replace(at, 0, self._rng.choice("abcdefgh ")))
            if self.steady:
                await self.client.wait_for(lambda: self.client.session.settled, PATIENCE_S)
                await asyncio.sleep(self._beat_s)
            else:
                await asyncio.sleep(self._rng.uniform(0.05, 0.25))

    def pause_s(self, since: float, until: float) -> float:
        """The longest time without an acknowledgement that touches the span, up to the first one after it."""
        times = [moment for moment in self.acked_at if moment >= since]
        before = [moment for moment in self.acked_at if moment < since]
        gap, last = 0.0, before[-1] if before else since
        for moment in times:
            gap, last = max(gap, moment - last), moment
            if moment > until:
                break
        return gap


class Crowd:
    def __init__(
        self,
        http: aiohttp.ClientSession,
        urls: Sequence[str],
        tokens: Sequence[str],
        seed: int,
        beat_s: float = BEAT_S,
    ) -> None:
        self.typists: list[Typist] = []
        self._http, self._urls, self._tokens = http, urls, tokens
        self._rng = random.Random(seed)
        self._beat_s = beat_s
        self._tasks: list[asyncio.Task[None]] = []
        self._stack = contextlib.AsyncExitStack()

    async def join(self, documents: Sequence[str]) -> None:
        """Returns when all have the document and type."""
        for document in documents:
            for number in range(CLIENTS_A_DOCUMENT):
                token = self._tokens[number % len(self._tokens)]
                rng = random.Random(self._rng.random())
                typist = Typist(self._http, self._urls, document, token, rng, number == 0, self._beat_s)
                await self._stack.enter_async_context(typist.client)
                self.typists.append(typist)
        await asyncio.gather(*(typist.client.joined(PATIENCE_S) for typist in self.typists))
        self._tasks = [asyncio.create_task(typist.run()) for typist in self.typists]

    async def settle(self) -> None:
        """Nobody types any more, and everything typed is durable. Raises what ended a typist."""
        for task in self._tasks:
            task.cancel()
        for end in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(end, Exception):
                raise end
        await asyncio.gather(*(typist.client.settled(PATIENCE_S) for typist in self.typists))
        for document in {typist.client.document: None for typist in self.typists}:
            clients = [typist.client for typist in self.typists if typist.client.document == document]
            head = max(client.session.revision() for client in clients)
            await asyncio.gather(*(_reach(client, head) for client in clients))

    async def leave(self) -> None:
        await self._stack.aclose()

    def metronomes(self) -> list[Typist]:
        return [typist for typist in self.typists if typist.steady]


async def _reach(client: DocumentClient, revision: int) -> None:
    await client.wait_for(lambda: client.session.revision() >= revision, PATIENCE_S)
