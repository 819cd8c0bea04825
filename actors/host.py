"""The shard host: many sections, one owner each, and the links of the routers. Plain asyncio, no Ray, no sockets.

A host activates only what its refreshed map gives it: a frame that carries a newer view makes it read the map first.
Messages for a section that is being activated wait in its queue, so the order of a link is the order of arrival.
The lease is looked at before anything is taken: see actors/lease.py.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from actors.activation import activate
from actors.backlog import Backlog
from actors.lease import Stage
from actors.questions import Reply
from actors.section_actor import Clock, SectionActor
from cluster.ring import Ring
from coscribe import link
from coscribe.names import SectionKey
from coscribe.ot import Limits
from coscribe.protocol import NackCode
from coscribe.section import Section, WindowLimits
from persistence.records import Log, LogState, Store, Unavailable

LOADING_MOST: Final = 1_000  # messages that wait for one activation
DRAIN_TIMEOUT_S: Final = 5.0
NEARLY_OVER: Final = "this host's lease is nearly over"

log_event = structlog.get_logger("host")


@dataclass(frozen=True, slots=True)
class HostLimits:
    delta: Limits = field(default_factory=Limits)
    window: WindowLimits = field(default_factory=WindowLimits)
    idle_ms: int = 300_000  # a section that nobody used for so long is passivated
    backlog_bytes: int = 256 * 2**20  # what may wait for Postgres


class ShardHost:
    """Sections by key. `ring` gives the present ring, `refresh` makes it at least as new as a view, `lease` says where
    the lease stands; one that runs alone needs none."""

    def __init__(
        self,
        name: str,
        log: Log,
        store: Store,
        ring: Callable[[], Ring],
        refresh: Callable[[int], Awaitable[None]],
        clock: Clock,
        limits: HostLimits | None = None,
        lease: Callable[[], Stage] = lambda: Stage.HELD,
    ) -> None:
        self.name = name
        self.sections: dict[SectionKey, SectionActor] = {}
        self.activations = 0
        self._log, self._store, self._ring, self._refresh, self._clock = log, store, ring, refresh, clock
        self._limits = limits or HostLimits()
        self.backlog = Backlog(self._limits.backlog_bytes)
        self._lease = lease
        self._loading: dict[SectionKey, list[tuple[link.ToHost, Reply]]] = {}
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._serving = True
        self._suspensions = 0

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def has(self, key: SectionKey) -> bool:
        """Whether the section is active here, or about to be."""
        return key in self.sections or key in self._loading

    @property
    def view(self) -> int:
        return self._ring().view

    async def receive(self, frame: bytes, reply: Reply) -> None:
        """Take a router's frame. Frames of one link must be given one after the other. Raises msgspec.DecodeError."""
        decoded = link.decode_host_frame(frame)
        if decoded.view > self.view:
            await self._refresh(decoded.view)
        stage = self.heed_lease()
        for message in decoded.messages:
            self._dispatch(message, reply, stage)

    def _dispatch(self, message: link.ToHost, reply: Reply, stage: Stage) -> None:
        key = message.key
        if (actor := self.sections.get(key)) and (stage is Stage.HELD or not isinstance(message, link.Submit)):
            self._deliver(actor, message, reply)
        elif actor:
            _put_off(message, reply, NEARLY_OVER)
        elif not self._serving or self._ring().owner(key) != self.name:
            _turn_away(message, reply)
        elif stage is Stage.SOFT:
            _put_off(message, reply, NEARLY_OVER)
        elif (waiting := self._loading.get(key)) is None:
            self._loading[key] = [(message, reply)]
            self._start(key)
        elif len(waiting) < LOADING_MOST:
            waiting.append((message, reply))
        else:
            _put_off(message, reply, "the section is being activated")

    def _deliver(self, actor: SectionActor, message: link.ToHost, reply: Reply) -> None:
        try:
            _hand_over(actor, message, reply)
        except Exception:  # what a fault of ours left half done must not be served
            log_event.exception("section failed", document=actor.key.document, section=actor.key.section)
            actor.leave("failed")
            _put_off(message, reply, "the document must be loaded anew")

    def _start(self, key: SectionKey) -> None:
        task = asyncio.get_running_loop().create_task(self._activate(key))
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    async def _activate(self, key: SectionKey) -> None:
        suspensions = self._suspensions
        try:
            await self._refresh(0)
            if self._ring().owner(key) != self.name:
                for message, reply in self._loading.pop(key):
                    _turn_away(message, reply)
                return
            if self.heed_lease() is Stage.SOFT:
                self._put_off_all(key, NEARLY_OVER)
                return
            found = await activate(key, self._log, self._store, self._limits.window.entries)
        except Unavailable as error:
            log_event.warning("activation failed", document=key.document, section=key.section, error=str(error))
            self._put_off_all(key, "the document cannot be loaded now")
            return
        except Exception:  # a document that cannot be loaded must not keep its waiters, nor end the host
            log_event.exception("activation failed", document=key.document, section=key.section)
            self._put_off_all(key, "the document cannot be loaded")
            return
        self.activations += 1
        stage = self.heed_lease()
        section = Section(key, found.epoch, found.state, self._limits.delta, self._limits.window)
        actor = SectionActor(section, found.stored, self._log, self._store, self._clock, self._gone, self.backlog)
        waiting = self._loading.pop(key)
        away = suspensions != self._suspensions  # and somebody else may have been the owner meanwhile
        if away or not self._serving or self._ring().owner(key) != self.name:
            actor.leave("it belongs to another host by now")
            for message, reply in waiting:
                _turn_away(message, reply)
            return
        if stage is Stage.SOFT:
            actor.leave(NEARLY_OVER)
            for message, reply in waiting:
                _put_off(message, reply, NEARLY_OVER)
            return
        self.sections[key] = actor
        log_event.info(
            "section activated", document=key.document, section=key.section, epoch=found.epoch,
            revision=section.revision,
        )  # fmt: skip
        for message, reply in waiting:
            self._deliver(actor, message, reply)
        try:
            await actor.announce()
        except Exception as error:  # routers find the head by themselves, only later
            log_event.warning("head not announced", document=key.document, section=key.section, error=str(error))

    def _put_off_all(self, key: SectionKey, text: str) -> None:
        for message, reply in self._loading.pop(key):
            _put_off(message, reply, text)

    def _gone(self, actor: SectionActor) -> None:
        if self.sections.get(actor.key) is actor:
            del self.sections[actor.key]

    # --- Moves ---

    async def apply_map(self) -> None:
        """Hand off every section that the present map gives to another host."""
        ring = self._ring()
        leaving = [actor for key, actor in self.sections.items() if ring.owner(key) != self.name]
        await self._drain(leaving)

    def heed_lease(self) -> Stage:
        """Where the lease stands now. At its hard stop everything is let go of, whoever notices it first."""
        stage = self._lease()
        if stage is Stage.HARD and self._serving:
            self.suspend()
        return stage

    def suspend(self) -> None:
        """The lease is lost or may be: own nothing until `resume`. What is not durable goes back to the routers."""
        self._serving = False
        self._suspensions += 1
        for actor in list(self.sections.values()):
            actor.leave("lease lost")

    def resume(self) -> None:
        self._serving = True

    async def stop(self) -> None:
        """Hand off everything: commit what is prepared, answer the rest `moved`."""
        self.heed_lease()
        self._serving = False
        for key in list(self._loading):
            for message, reply in self._loading[key]:
                _turn_away(message, reply)
            self._loading[key].clear()
        await self._drain(list(self.sections.values()))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def passivate_idle(self) -> None:
        """Let go of sections that nobody used for long and that are durable with a snapshot."""
        limit = self._clock.now_ms() - self._limits.idle_ms
        for actor in list(self.sections.values()):
            section = actor.section
            idle = actor.used_ms < limit and section.revision == section.committed_revision
            if idle and actor.durable.revision == section.revision == actor.snapshot_revision:
                actor.leave("idle")
                await self._log.trim(actor.key, actor.durable.revision)
                state = LogState(section.epoch, section.revision)
                await self._log.release(actor.key, state, self._limits.idle_ms)

    async def _drain(self, actors: list[SectionActor]) -> None:
        async def drain(actor: SectionActor) -> None:
            try:
                async with asyncio.timeout(DRAIN_TIMEOUT_S):
                    await actor.drain()
            except TimeoutError:
                actor.leave("hand-off took too long")

        await asyncio.gather(*(drain(actor) for actor in actors))


def _hand_over(actor: SectionActor, message: link.ToHost, reply: Reply) -> None:
    match message:
        case link.Submit():
            actor.submit(message, reply)
        case link.FetchSnapshot(request=request, fresh=fresh):
            actor.questions.snapshot(request, fresh, reply)
        case link.FetchEntries(request=request, after=after):
            actor.questions.entries(request, after, reply)
        case link.FetchComposed(request=request, after=after):
            actor.questions.composed(request, after, reply)
        case link.FetchAcked(request=request, client=client):
            actor.questions.acked(request, client, reply)


def _turn_away(message: link.ToHost, reply: Reply) -> None:
    """Another host owns the section."""
    if isinstance(message, link.Submit):
        reply(link.Moved(message.key, message.ref, message.client, message.cseq))
    else:
        reply(link.Refused(message.request, "moved", "another host owns the section"))


def _put_off(message: link.ToHost, reply: Reply, text: str) -> None:
    if isinstance(message, link.Submit):
        reply(link.Refusal(message.key, message.ref, message.client, message.cseq, NackCode.UNAVAILABLE, text, 0.5))
    else:
        reply(link.Refused(message.request, "unavailable", text))
