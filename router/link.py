"""The links to the shard hosts: one multiplexed connection a host, opened when it is first needed.

A link keeps its order. When it breaks, every question on it fails as `unavailable` and `on_broken` is told, so that
operations without an answer are sent again; a broken link alone never moves ownership.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from itertools import count
from typing import Final, Protocol

import structlog

from cluster.ring import Ring
from coscribe import link
from coscribe.names import SectionKey

ASK_TIMEOUT_S: Final = 10.0
CONNECT_TIMEOUT_S: Final = 3.0
RETRY_FIRST_S: Final = 0.05
RETRY_CAP_S: Final = 2.0
QUEUE_BYTES: Final = 16 * 1024 * 1024  # that wait for one host; as many may be on their way
MESSAGE_BYTES: Final = 200  # about what a message takes beside its delta

log_event = structlog.get_logger("link")


class LinkClosed(Exception):
    """The connection to the host is gone."""


class NoCommonVersion(LinkClosed):
    """The host speaks no version of the link that this router speaks. It may be replaced: the next link tries again."""


class Transport(Protocol):
    """One open connection to a host's data port, frames in order. `version` is the one agreed on for the link."""

    version: int

    async def send(self, frame: bytes) -> None:
        """Raises LinkClosed."""

    async def receive(self) -> bytes:
        """Raises LinkClosed."""

    async def close(self) -> None: ...


Connect = Callable[[str], Awaitable[Transport]]
"""Open a transport to an address; raises LinkClosed."""


class Answerless(Exception):
    """A question to an owner got no answer: `code` as in link.Refused."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class HostLink:
    """The connection to one address of one host. It ends with the first failure; `Links` makes the next one."""

    def __init__(
        self,
        address: str,
        connect: Connect,
        view: Callable[[], int],
        receive: Callable[[link.ToRouter], None],
        on_broken: Callable[["HostLink"], None],
    ) -> None:
        self.address = address
        self.heard = False  # anything at all: the address is right and the host lives
        self.version: int | None = None  # once it is agreed on
        self._connect, self._view, self._receive, self._on_broken = connect, view, receive, on_broken
        self._queue: list[link.ToHost] = []
        self._queue_bytes = 0
        self._queued = asyncio.Event()
        self._asked: dict[int, asyncio.Future[link.ToRouter]] = {}
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"link {address}")

    def send(self, message: link.ToHost) -> bool:
        """False: the host does not read fast enough, and too much waits already."""
        size = MESSAGE_BYTES + (len(message.delta) if isinstance(message, link.Submit) else 0)
        if self._queue_bytes + size > QUEUE_BYTES:
            return False
        self._queue.append(message)
        self._queue_bytes += size
        self._queued.set()
        return True

    def ask(self, request: int, message: link.ToHost) -> "asyncio.Future[link.ToRouter]":
        """Raises Answerless."""
        if not self.send(message):
            raise Answerless("unavailable", "too much waits for the owner")
        future: asyncio.Future[link.ToRouter] = asyncio.get_running_loop().create_future()
        self._asked[request] = future
        future.add_done_callback(lambda _: self._asked.pop(request, None))
        return future

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        transport = None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                transport = await self._connect(self.address)
            self.version = transport.version
            log_event.info("link open", host=self.address, version=self.version)
            await self._converse(transport)
        except NoCommonVersion as error:
            log_event.error("no common version", host=self.address, reason=str(error))
        except (LinkClosed, TimeoutError) as error:
            log_event.info("link broken", host=self.address, reason=str(error) or "no answer")
        except Exception:  # a frame that is none, or a fault of ours: the next link may do better, but not at once
            self.heard = False
            log_event.exception("link failed", host=self.address)
        finally:
            self._break()
            if transport is not None:
                await transport.close()

    def _break(self) -> None:
        for future in list(self._asked.values()):
            if not future.done():
                future.set_exception(Answerless("unavailable", "the connection to the owner broke"))
        self._on_broken(self)

    async def _converse(self, transport: Transport) -> None:
        reader = asyncio.get_running_loop().create_task(self._read(transport))
        writer = asyncio.get_running_loop().create_task(self._write(transport))
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            reader.cancel()
            writer.cancel()
            ends = await asyncio.gather(reader, writer, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _write(self, transport: Transport) -> None:
        while True:
            await self._queued.wait()
            self._queued.clear()
            messages, self._queue, self._queue_bytes = self._queue, [], 0
            known = [message for message in messages if link.is_known(message, transport.version)]
            if len(known) < len(messages):
                self._give_up(message for message in messages if not link.is_known(message, transport.version))
            if known:
                await transport.send(link.encode(link.HostFrame(self._view(), known)))

    def _give_up(self, messages: Iterable[link.ToHost]) -> None:
        """Messages that the host cannot read: a question among them has no answer."""
        for message in messages:
            future = self._asked.get(getattr(message, "request", 0))
            if future is not None and not future.done():
                future.set_exception(Answerless("unavailable", "the owner speaks an earlier version"))

    async def _read(self, transport: Transport) -> None:
        while True:
            frame = link.decode_router_frame(await transport.receive())
            self.heard = True
            for message in frame.messages:
                match message:
                    case link.Refusal() | link.Duplicate() | link.Moved():
                        self._receive(message)
                    case _:
                        self._answer(message)

    def _answer(
        self, message: link.SnapshotIs | link.EntriesAre | link.ComposedIs | link.AckedIs | link.Refused
    ) -> None:
        future = self._asked.get(message.request)
        if future is None or future.done():
            return
        if isinstance(message, link.Refused):
            future.set_exception(Answerless(message.code, message.message))
        else:
            future.set_result(message)


class Links:
    """Sends operations and questions to the owners, as the present ring names them."""

    def __init__(
        self,
        ring: Callable[[], Ring],
        connect: Connect,
        receive: Callable[[link.ToRouter], None],
        on_broken: Callable[[], None],
        monotonic: Callable[[], float],
    ) -> None:
        self._ring, self._connect, self._receive, self._told_broken = ring, connect, receive, on_broken
        self._monotonic = monotonic
        self._links: dict[str, HostLink] = {}
        self._retry: dict[str, tuple[float, float]] = {}  # address -> (not before, next delay)
        self._requests = count(1)

    def submit(self, message: link.Submit) -> bool:
        """Send an operation to its owner. False: there is no owner to reach now, try again soon."""
        host_link = self._link(message.key)
        return host_link is not None and host_link.send(message)

    async def snapshot(self, key: SectionKey, fresh: bool = False) -> link.SnapshotIs:
        request = next(self._requests)
        answer = await self._ask(key, request, link.FetchSnapshot(key, request, fresh))
        assert isinstance(answer, link.SnapshotIs), "a snapshot was asked for"
        return answer

    async def entries(self, key: SectionKey, after: int) -> link.EntriesAre:
        request = next(self._requests)
        answer = await self._ask(key, request, link.FetchEntries(key, request, after))
        assert isinstance(answer, link.EntriesAre), "entries were asked for"
        return answer

    async def composed(self, key: SectionKey, after: int) -> link.ComposedIs:
        request = next(self._requests)
        answer = await self._ask(key, request, link.FetchComposed(key, request, after))
        assert isinstance(answer, link.ComposedIs), "a composed change was asked for"
        return answer

    async def acked(self, key: SectionKey, client: str) -> link.AckedIs:
        request = next(self._requests)
        answer = await self._ask(key, request, link.FetchAcked(key, request, client))
        assert isinstance(answer, link.AckedIs), "the last acknowledgement was asked for"
        return answer

    async def _ask(self, key: SectionKey, request: int, message: link.ToHost) -> link.ToRouter:
        """Raises Answerless."""
        host_link = self._link(key)
        if host_link is None:
            raise Answerless("unavailable", "no host owns the document now")
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                return await host_link.ask(request, message)
        except TimeoutError:
            raise Answerless("unavailable", "the owner does not answer") from None

    def _link(self, key: SectionKey) -> HostLink | None:
        ring = self._ring()
        host = ring.owner(key)
        address = ring.address(host) if host else None
        if address is None:
            return None
        found = self._links.get(address)
        if found is not None:
            return found
        not_before, delay_s = self._retry.get(address, (0.0, RETRY_FIRST_S))
        now = self._monotonic()
        if now < not_before:
            return None
        self._retry[address] = (now + delay_s, min(delay_s * 2, RETRY_CAP_S))
        opened = HostLink(address, self._connect, lambda: self._ring().view, self._heard, self._broken)
        self._links[address] = opened
        return opened

    def _heard(self, message: link.ToRouter) -> None:
        self._receive(message)

    def _broken(self, host_link: HostLink) -> None:
        if self._links.get(host_link.address) is host_link:
            del self._links[host_link.address]
        if host_link.heard:
            self._retry.pop(host_link.address, None)
        self._told_broken()

    def forget_hosts_gone(self) -> None:
        """After a new map: what was said about addresses that are no longer on it is void."""
        addresses = {entry.address for entry in self._ring().map.hosts.values()}
        self._retry = {address: wait for address, wait in self._retry.items() if address in addresses}

    async def close(self) -> None:
        for host_link in list(self._links.values()):
            await host_link.close()
