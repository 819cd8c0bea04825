"""The Redis of the simulation: what the Lua scripts of `persistence` do, as synchronous methods on plain state.

Each method is one script or command, so nothing comes between its check and its write. The contract suites hold it to
what the real one does. `Witness` sees what really happened, whatever is lost or forgotten later.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from coscribe.batch import Batch
from coscribe.names import SectionKey
from persistence import keys
from persistence.records import Activation, Answer, DirtyMark, Durable, LiveSnapshot, LogEntry, LogState, Unavailable

CLIENT_ID_MS = 7 * 24 * 3_600_000


class Witness(Protocol):
    """Is told of every change of the logs."""

    def reclaims(self, who: str, key: SectionKey) -> None:
        """An owner activates its own section anew: the next that is activated."""

    def offered(self, who: str, key: SectionKey, missing: bool) -> None:
        """A batch has come, and will be appended or refused. `missing`: the section has no keys."""

    def activated(self, who: str, key: SectionKey, epoch: int, head: int) -> None: ...

    def appended(self, who: str, key: SectionKey, batch: Batch, marked: bool) -> None: ...

    def unmarked(self, key: SectionKey) -> None: ...

    def kept_live(self, key: SectionKey, live: LiveSnapshot) -> None: ...

    def trimmed(self, key: SectionKey, through: int) -> None: ...

    def vanished(self, key: SectionKey, revision: int) -> None:
        """A released section's keys have expired; its log ended at `revision`."""


class Subscriber(Protocol):
    """A connection that subscribes, at the server's end."""

    def push(self, channel: str, message: bytes) -> None: ...


@dataclass(slots=True)
class SectionLog:
    """The keys of one section. No stream is one without entries here: the last id stays in `last`."""

    epoch: int
    revision: int
    tip: int = 0
    batch: str = ""
    claim: str = ""
    last: int = 0  # the last id ever generated in the stream
    entries: list[LogEntry] = field(default_factory=list)
    live: LiveSnapshot | None = None
    expires_ms: int | None = None


@dataclass(slots=True)
class _Lease:
    holder: str
    ends_ms: int


class RedisServer:
    def __init__(self, now_ms: Callable[[], int], witness: Witness | None = None) -> None:
        self.now_ms = now_ms
        self.witness = witness
        self.logs: dict[SectionKey, SectionLog] = {}
        self.marks: dict[SectionKey, str] = {}
        self.map: tuple[int, bytes] | None = None
        self.leases: dict[str, _Lease] = {}
        self.claims: dict[str, _Lease] = {}
        self.presences: dict[str, dict[str, tuple[bytes, int]]] = {}
        self.channels: dict[str, dict[Subscriber, None]] = {}

    # --- Sections ---

    def _log(self, key: SectionKey) -> SectionLog | None:
        log = self.logs.get(key)
        if log is not None and log.expires_ms is not None and self.now_ms() >= log.expires_ms:
            del self.logs[key]
            if self.witness:
                self.witness.vanished(key, log.revision)
            return None
        return log

    def activate(self, who: str, key: SectionKey, durable: Durable | None) -> Activation:
        log = self._log(key) or SectionLog(0, 0)
        if durable is None:
            if log.live is None:
                raise Unavailable("the section is not in the log as a whole")
            durable = Durable(0, 0)
        head = max(log.revision, log.last, durable.revision)
        tip = log.tip
        if durable.revision > max(log.revision, log.last):
            log.entries, tip = [], durable.epoch
        epoch = max(log.epoch + 1, self.now_ms(), durable.epoch + 1)
        log.epoch, log.revision, log.tip, log.last, log.expires_ms = epoch, head, tip, head, None
        log.claim = ""
        self.logs[key] = log
        if self.witness:
            self.witness.activated(who, key, epoch, head)
        return Activation(epoch, head, tuple(log.entries), log.live)

    def reclaim(self, who: str, key: SectionKey, durable: Durable, epoch: int, token: str) -> Activation | None:
        log = self._log(key)
        if log is None or (log.epoch > epoch and log.claim != token):
            return None
        log.epoch = max(log.epoch, epoch)
        if self.witness:
            self.witness.reclaims(who, key)
        claimed = self.activate(who, key, durable)
        log.claim = token
        return claimed

    def commit(self, who: str, key: SectionKey, batch: Batch) -> Answer:
        log = self._log(key)
        if self.witness:
            self.witness.offered(who, key, missing=log is None)
        if log is None:
            return Answer.FENCED
        if (refusal := self._refusal(log, batch)) is not None:
            return refusal
        log.entries.extend(batch.entries)
        log.revision = log.last = batch.last
        log.batch, log.tip = batch.id, batch.entries[-1].epoch
        if self.witness:
            self.witness.appended(who, key, batch, marked=key in self.marks)
        self.publish(keys.channel(key), batch.published)
        return Answer.OK

    def _refusal(self, log: SectionLog, batch: Batch) -> Answer | None:
        if log.epoch > batch.epoch:
            return Answer.FENCED
        if log.batch == batch.id and log.revision >= batch.last:
            return Answer.DUP
        if log.epoch < batch.epoch or log.revision < batch.base:
            return Answer.LOST
        return Answer.AHEAD if log.revision > batch.base or log.last > batch.base else None

    def state(self, key: SectionKey) -> LogState | None:
        log = self._log(key)
        return None if log is None else LogState(log.epoch, log.revision)

    def read(self, key: SectionKey, after: int, limit: int) -> Sequence[LogEntry]:
        log = self._log(key)
        return [] if log is None else [entry for entry in log.entries if entry.revision > after][:limit]

    def heads(self, sections: Sequence[SectionKey]) -> Sequence[tuple[int, int] | None]:
        found = [self._log(key) for key in sections]
        return [None if log is None else (log.revision, log.tip) for log in found]

    def keep_live(self, key: SectionKey, epoch: int, live: LiveSnapshot | None) -> bool:
        log = self._log(key)
        if log is None or log.epoch != epoch:
            return False
        if live is not None:
            oldest = log.live.snapshot.revision if log.live else 0
            if not oldest <= live.snapshot.revision <= log.revision:
                return False
            if self.witness:
                self.witness.kept_live(key, live)
        log.live = live
        return True

    def trim(self, key: SectionKey, through: int) -> None:
        log = self._log(key)
        if log is None or not log.entries or log.entries[0].revision > through:
            return
        log.entries = [entry for entry in log.entries if entry.revision > through]
        if self.witness:
            self.witness.trimmed(key, through)

    def release(self, key: SectionKey, state: LogState, idle_ms: int) -> bool:
        log = self._log(key)
        if log is None or (log.epoch, log.revision) != (state.epoch, state.revision):
            return False
        log.epoch += 1
        log.expires_ms = self.now_ms() + idle_ms
        return True

    def mark_dirty(self, key: SectionKey, token: str) -> None:
        self.marks[key] = token

    def clear_dirty(self, mark: DirtyMark) -> bool:
        if self.marks.get(mark.key) != mark.token:
            return False
        del self.marks[mark.key]
        if self.witness:
            self.witness.unmarked(mark.key)
        return True

    def dirty(self) -> Sequence[DirtyMark]:
        return [DirtyMark(key, token) for key, token in self.marks.items()]

    def unreleased(self) -> Sequence[SectionKey]:
        return sorted(key for key in list(self.logs) if (log := self._log(key)) and log.expires_ms is None)

    # --- Map and leases ---

    def read_map(self) -> bytes | None:
        return self.map[1] if self.map else None

    def write_map(self, view: int, encoded: bytes) -> bool:
        if self.map == (view, encoded):
            return True
        if (self.map[0] if self.map else 0) != view - 1:
            return False
        self.map = (view, encoded)
        self.publish(keys.CLUSTER_MAP_NOTICE, b"%d" % view)
        return True

    def holder(self, leases: dict[str, _Lease], name: str) -> str | None:
        lease = leases.get(name)
        return lease.holder if lease and lease.ends_ms > self.now_ms() else None

    def renew_lease(self, host: str, instance: str, ttl_ms: int) -> bool:
        if self.holder(self.leases, host) not in (None, instance):
            return False
        self.leases[host] = _Lease(instance, self.now_ms() + ttl_ms)
        return True

    def drop_lease(self, host: str, instance: str) -> None:
        if self.holder(self.leases, host) == instance:
            del self.leases[host]

    def holders(self, hosts: Sequence[str]) -> Sequence[str | None]:
        return [self.holder(self.leases, host) for host in hosts]

    # --- Presence ---

    def set_presence(
        self, document: str, incarnation: str, client: str, encoded: bytes | None, ttl_ms: int, message: bytes
    ) -> Sequence[str]:
        channel = keys.presence(document, incarnation)
        states = self.presences.setdefault(channel, {})
        now = self.now_ms()
        gone = sorted(name for name, (_, ends) in states.items() if ends <= now)
        for name in gone:
            del states[name]
        if encoded is None:
            states.pop(client, None)
        else:
            states[client] = (encoded, now + ttl_ms)
        self.publish(channel, message)
        return gone

    def keep_presences(self, document: str, incarnation: str, clients: Sequence[str], ttl_ms: int) -> Sequence[str]:
        states = self.presences.get(keys.presence(document, incarnation), {})
        for client in clients:
            if client in states:
                states[client] = (states[client][0], self.now_ms() + ttl_ms)
        return [client for client in clients if client not in states]

    def all_presences(self, document: str, incarnation: str) -> dict[str, bytes]:
        states = self.presences.get(keys.presence(document, incarnation), {})
        return {client: encoded for client, (encoded, ends) in states.items() if ends > self.now_ms()}

    def claim_client(self, document: str, incarnation: str, client_id: str, user: str) -> str:
        name = keys.client(document, incarnation, client_id)
        owner = self.holder(self.claims, name)
        if owner not in (None, user):
            assert owner is not None
            return owner
        self.claims[name] = _Lease(user, self.now_ms() + CLIENT_ID_MS)
        return user

    # --- Pub/sub ---

    def publish(self, channel: str, message: bytes) -> None:
        for subscriber in list(self.channels.get(channel, ())):
            subscriber.push(channel, message)

    def subscribe(self, subscriber: Subscriber, channel: str) -> None:
        self.channels.setdefault(channel, {})[subscriber] = None

    def unsubscribe(self, subscriber: Subscriber, channel: str) -> None:
        self.channels.get(channel, {}).pop(subscriber, None)

    def forget(self, subscriber: Subscriber) -> None:
        for subscribers in self.channels.values():
            subscribers.pop(subscriber, None)
