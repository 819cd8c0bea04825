"""A router is told to end while people type: all its clients are asked to move and do, and nobody's socket is closed
before. The clients speak `move` here by hand, so that what the router says is seen as it is said."""

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest

from tests.support.served import Raw, accepted, raw
from tests.support.system import System, running_system

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

PEOPLE, DOCUMENTS, WORDS = 24, 4, 5
PAUSE_S = 0.05  # between words; who never pauses falls behind the history window while it moves, and must rebase


@pytest.fixture(scope="module")
def drained() -> Iterator[System]:
    with running_system(hosts=1, routers=2) as system:
        yield system


class Mover:
    """One person who types words at the beginning of a document, each once the one before is acknowledged."""

    def __init__(self, system: System, number: int) -> None:
        self.number, self.document = number, f"notes-{number % DOCUMENTS}"
        self.client = f"client-of-{number}"
        self.asked = self.closed_early = 0
        self.acked: list[str] = []
        self._system, self._token = system, system.guest(f"Person {number}")
        self._stack = contextlib.AsyncExitStack()
        self._socket: Raw | None = None
        self._incarnation = ""
        self._revision, self._epoch = 0, 0
        self._mine: asyncio.Future[None] | None = None
        self._progress = asyncio.Event()

    # --- Sockets ---

    async def _connected(self, stack: contextlib.AsyncExitStack) -> Raw:
        """A socket that is level. A router that ends resets whoever stood in its backlog, or says to come later."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                headers = {"Authorization": f"Bearer {self._token}"}
                socket = await stack.enter_async_context(raw(self._system.url, self.document, headers=headers))
                stands = {"incarnation": self._incarnation, "sections": {"0": [self._revision, self._epoch]}}
                head = await socket.join(self.client, stands if self._incarnation else None)
                if head is not None:
                    for message in socket.heard:
                        self._take(message)
                    socket.heard.clear()
                    return socket
            await asyncio.sleep(0.2)

    async def live(self) -> None:
        """Read until cancelled, and move when asked to."""
        stack, moving = contextlib.AsyncExitStack(), None
        self._socket = await self._connected(stack)
        self._progress.set()
        hearing = asyncio.create_task(self._socket.hear())
        try:
            while True:
                await asyncio.wait({hearing, moving} if moving else {hearing}, return_when=asyncio.FIRST_COMPLETED)
                if hearing.done():
                    is_open = hearing.result()
                    for message in self._socket.heard:
                        self._take(message)
                        if message.get("t") == "move":
                            self.asked += 1
                            assert 0 < message["within_s"] <= 15
                            after = contextlib.AsyncExitStack()
                            moving = asyncio.create_task(self._connected(after))
                    self._socket.heard.clear()
                    if not is_open:
                        self.closed_early += 1
                        return
                    hearing = asyncio.create_task(self._socket.hear())
                if moving and moving.done():
                    hearing.cancel()
                    await asyncio.gather(hearing, return_exceptions=True)
                    await stack.aclose()
                    self._socket, stack, moving = moving.result(), after, None
                    await self._submit()
                    hearing = asyncio.create_task(self._socket.hear())
        finally:
            hearing.cancel()
            await stack.aclose()

    def _take(self, message: Any) -> None:
        match message:
            case {"t": "welcome"}:
                self._incarnation = message["incarnation"]
            case {"t": "snapshot"}:
                self._revision, self._epoch = message["rev"], message["epoch"]
            case {"e": entries, "rev": first}:
                self._epoch = message.get("epoch", self._epoch)
                assert first <= self._revision + 1, "there is no gap"
                self._revision = max(self._revision, first + len(entries) - 1)
                if accepted(message, len(self.acked) + 1, self.client) and self._mine and not self._mine.done():
                    self._mine.set_result(None)
            case {"t": "nack"}:
                raise AssertionError(message)

    # --- Typing ---

    @property
    def _word(self) -> str:
        return f"<{self.number}.{len(self.acked)}>"

    async def _submit(self) -> None:
        """What has no answer yet, on the socket there is now."""
        if self._mine is not None and not self._mine.done():
            op = {"t": "op", "s": "0", "base": self._base, "cseq": len(self.acked) + 1, "delta": [self._word]}
            assert self._socket is not None
            with contextlib.suppress(aiohttp.ClientError, OSError):
                await self._socket.say(op)

    async def type(self) -> None:
        await self._progress.wait()
        while True:
            self._base = self._revision
            self._mine = asyncio.get_running_loop().create_future()
            await self._submit()
            await self._mine
            self.acked.append(self._word)
            self._progress.set()
            await asyncio.sleep(PAUSE_S)

    async def more(self) -> None:
        wanted = len(self.acked) + WORDS
        while len(self.acked) < wanted:
            self._progress.clear()
            await self._progress.wait()


@contextlib.asynccontextmanager
async def people(system: System) -> AsyncIterator[list[Mover]]:
    made = [await asyncio.to_thread(Mover, system, number) for number in range(PEOPLE)]
    async with asyncio.TaskGroup() as tasks:  # whoever fails ends the test
        working = [tasks.create_task(work) for mover in made for work in (mover.live(), mover.type())]
        yield made
        for task in working:
            task.cancel()


async def text_of(system: System, document: str, token: str) -> str:
    read = await asyncio.to_thread(system.get, f"/v1/documents/{document}", token)
    assert read is not None
    return str(read["text"])


async def test_everybody_moves_and_nobody_is_closed_or_loses_a_word(drained: System) -> None:
    system = drained
    async with people(system) as everyone:
        await asyncio.gather(*(mover.more() for mover in everyone))
        pid = system.pid("router-0")
        os.kill(pid, signal.SIGTERM)
        await asyncio.to_thread(system.wait_for, lambda: system.pid("router-0") != pid and system.ready())
        await asyncio.gather(*(mover.more() for mover in everyone))
        asked = [mover.number for mover in everyone if mover.asked]
        assert [mover.number for mover in everyone if mover.closed_early] == []
        assert max(mover.asked for mover in everyone) == 1
    log = system.log("router-0")
    (sockets,) = re.findall(r"phase=drain\s+sockets=(\d+)", log)
    assert len(asked) == int(sockets) > 0, "all that were on that router, and no others"
    assert re.findall(r"phase='close sockets'\s+sockets=(\d+)", log) == ["0"]
    token = await asyncio.to_thread(system.guest)
    for document in {mover.document for mover in everyone}:
        text = await text_of(system, document, token)
        for mover in everyone:
            if mover.document == document:
                for word in mover.acked:
                    assert text.count(word) == 1, word
