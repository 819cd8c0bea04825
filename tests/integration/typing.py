"""People who type, without a stop, while something happens to the cluster; afterwards every word they typed must be
there once, for everybody."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

from coscribe.client import DocumentClient
from coscribe.ot import Delta

WORDS = 15


class Typist:
    """Types numbered words, at the beginning and at the end in turn; the next one once the one before the last is
    acknowledged."""

    def __init__(self, name: str, client: DocumentClient) -> None:
        self.name, self.client = name, client
        self.words: list[str] = []
        self._typed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._type())

    async def _type(self) -> None:
        await self.client.joined()
        while True:
            word = f"<{self.name}{len(self.words)}>"
            at = 0 if len(self.words) % 2 else self.client.content.length - 1
            self.client.edit(Delta.replace(at, 0, word))
            self.words.append(word)
            self._typed.set()
            await self.client.wait_for(lambda: not self.client.session.buffered)

    async def more(self, words: int = WORDS) -> None:
        """Wait until so many more are typed. Raises what ended the typing."""
        assert self._task is not None
        wanted = len(self.words) + words
        while len(self.words) < wanted:
            self._typed.clear()
            typed = asyncio.create_task(self._typed.wait())
            await asyncio.wait({typed, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if self._task.done():
                typed.cancel()
                await self._task

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self.client.settled()


@contextlib.asynccontextmanager
async def typing(clients: Iterable[DocumentClient]) -> AsyncIterator[None]:
    """All of them type before, during and after the body; at its end each document is the same for its clients, and
    has every word once."""
    async with contextlib.AsyncExitStack() as stack:
        typists = []
        for number, client in enumerate(clients):
            await stack.enter_async_context(client)
            typists.append(Typist(f"{'abcdefgh'[number % 8]}{number}.", client))
        for typist in typists:
            await typist.client.joined()
            typist.start()
        await asyncio.gather(*(typist.more() for typist in typists))
        yield
        await asyncio.gather(*(typist.more() for typist in typists))
        await asyncio.gather(*(typist.stop() for typist in typists))
        for document in {typist.client.document: None for typist in typists}:
            await _whole([typist for typist in typists if typist.client.document == document])


async def _whole(typists: list[Typist]) -> None:
    first = typists[0].client
    expected = sum(len(word) for typist in typists for word in typist.words) + 1
    for typist in typists:
        await typist.client.wait_for(lambda client=typist.client: client.content.length == expected)  # type: ignore[misc]
        assert typist.client.content == first.content
        assert typist.client.failed is None
        for word in typist.words:
            assert first.text.count(word) == 1, word
