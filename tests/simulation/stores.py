"""The clients of the simulated stores: the interfaces of `persistence.records`, over a wire that may fail.

Which calls the real client sends again by itself is as in persistence/redis_client.py: all but a commit. Postgres's
client never does.
"""

from collections.abc import Mapping, Sequence

from coscribe.names import SectionKey
from persistence import keys
from persistence.records import (
    Activation,
    Answer,
    Batch,
    DirtyMark,
    Document,
    Durable,
    LiveSnapshot,
    LogEntry,
    LogState,
    StoredSnapshot,
)
from tests.simulation.postgres_server import PostgresServer
from tests.simulation.redis_server import RedisServer
from tests.simulation.wires import Wire


class SimReader:
    """Implements records.LogReader. `who` stands in what a witness is told."""

    def __init__(self, server: RedisServer, wire: Wire, who: str = "") -> None:
        self._server, self._wire, self._who = server, wire, who

    async def read(self, key: SectionKey, after: int, limit: int) -> Sequence[LogEntry]:
        return await self._wire.call(f"read {after}", lambda: self._server.read(key, after, limit), again=True)

    async def heads(self, keys: Sequence[SectionKey]) -> Sequence[tuple[int, int] | None]:
        return await self._wire.call("heads", lambda: self._server.heads(keys), again=True)


class SimLog(SimReader):
    """Implements records.Log."""

    async def activate(self, key: SectionKey, durable: Durable | None) -> Activation:
        name = f"activate {durable.revision if durable else 'alone'}"
        return await self._wire.call(name, lambda: self._server.activate(self._who, key, durable), again=True)

    async def reclaim(self, key: SectionKey, durable: Durable, epoch: int, token: str) -> Activation | None:
        call = f"reclaim {epoch}"
        return await self._wire.call(
            call, lambda: self._server.reclaim(self._who, key, durable, epoch, token), again=True
        )

    async def commit(self, key: SectionKey, batch: Batch) -> Answer:
        name = f"commit {batch.id} {batch.base}+{len(batch.entries)}"
        return await self._wire.call(name, lambda: self._server.commit(self._who, key, batch))

    async def announce(self, key: SectionKey, published: bytes) -> None:
        channel = keys.channel(key)
        await self._wire.call("announce", lambda: self._server.publish(channel, published), again=True)

    async def mark_dirty(self, key: SectionKey, token: str) -> None:
        await self._wire.call(f"mark {token}", lambda: self._server.mark_dirty(key, token), again=True)

    async def clear_dirty(self, mark: DirtyMark) -> bool:
        return await self._wire.call(f"clear {mark.token}", lambda: self._server.clear_dirty(mark), again=True)

    async def dirty(self) -> Sequence[DirtyMark]:
        return await self._wire.call("dirty", self._server.dirty, again=True)

    async def unreleased(self) -> Sequence[SectionKey]:
        return await self._wire.call("unreleased", self._server.unreleased, again=True)

    async def state(self, key: SectionKey) -> LogState | None:
        return await self._wire.call("state", lambda: self._server.state(key), again=True)

    async def keep_live(self, key: SectionKey, epoch: int, live: LiveSnapshot | None) -> bool:
        name = f"live {live.snapshot.revision if live else 'none'}"
        return await self._wire.call(name, lambda: self._server.keep_live(key, epoch, live), again=True)

    async def trim(self, key: SectionKey, through: int) -> None:
        if through > 0:
            await self._wire.call(f"trim {through}", lambda: self._server.trim(key, through), again=True)

    async def release(self, key: SectionKey, state: LogState, idle_ms: int) -> bool:
        name = f"release {state.revision}"
        return await self._wire.call(name, lambda: self._server.release(key, state, idle_ms), again=True)


class SimMapStore:
    """Implements records.MapStore."""

    def __init__(self, server: RedisServer, wire: Wire) -> None:
        self._server, self._wire = server, wire

    async def read(self) -> bytes | None:
        return await self._wire.call("map", self._server.read_map, again=True)

    async def write(self, view: int, encoded: bytes) -> bool:
        return await self._wire.call(f"map {view}", lambda: self._server.write_map(view, encoded), again=True)

    async def renew_lease(self, host: str, instance: str, ttl_ms: int) -> bool:
        return await self._wire.call("renew", lambda: self._server.renew_lease(host, instance, ttl_ms), again=True)

    async def drop_lease(self, host: str, instance: str) -> None:
        await self._wire.call("drop lease", lambda: self._server.drop_lease(host, instance), again=True)

    async def leases(self, hosts: Sequence[str]) -> Sequence[str | None]:
        return await self._wire.call("leases", lambda: self._server.holders(hosts), again=True)


class SimRoster:
    """Implements router.presence.Roster."""

    def __init__(self, server: RedisServer, wire: Wire) -> None:
        self._server, self._wire = server, wire

    async def set(
        self, document: str, incarnation: str, client: str, encoded: bytes | None, ttl_ms: int, message: bytes
    ) -> Sequence[str]:
        arguments = (document, incarnation, client, encoded, ttl_ms, message)
        return await self._wire.call("presence", lambda: self._server.set_presence(*arguments), again=True)

    async def keep(self, document: str, incarnation: str, clients: Sequence[str], ttl_ms: int) -> Sequence[str]:
        arguments = (document, incarnation, clients, ttl_ms)
        return await self._wire.call("keep presence", lambda: self._server.keep_presences(*arguments), again=True)

    async def all(self, document: str, incarnation: str) -> Mapping[str, bytes]:
        return await self._wire.call("roster", lambda: self._server.all_presences(document, incarnation), again=True)

    async def claim_client(self, document: str, incarnation: str, client_id: str, user: str) -> str:
        arguments = (document, incarnation, client_id, user)
        return await self._wire.call("claim", lambda: self._server.claim_client(*arguments), again=True)


class SimStore:
    """Implements records.Store."""

    def __init__(self, server: PostgresServer, wire: Wire) -> None:
        self._server, self._wire = server, wire

    async def create_document(self, document: Document) -> Document:
        return await self._wire.call("create", lambda: self._server.create_document(document))

    async def document(self, document_id: str) -> Document | None:
        return await self._wire.call("document", lambda: self._server.document(document_id))

    async def delete_document(self, document_id: str, now_ms: int) -> Document | None:
        return await self._wire.call("delete", lambda: self._server.delete_document(document_id))

    async def durable(self, key: SectionKey) -> Durable:
        return await self._wire.call("durable", lambda: self._server.durable(key))

    async def flush(self, key: SectionKey, entries: Sequence[LogEntry]) -> bool:
        name = f"flush {entries[0].revision}+{len(entries)}"
        return await self._wire.call(name, lambda: self._server.flush(key, entries))

    async def entries(self, key: SectionKey, after: int, through: int) -> Sequence[LogEntry]:
        return await self._wire.call(f"entries {after}", lambda: self._server.entries(key, after, through))

    async def save_snapshot(self, key: SectionKey, snapshot: StoredSnapshot) -> None:
        await self._wire.call(f"snapshot {snapshot.revision}", lambda: self._server.save_snapshot(key, snapshot))

    async def newest_snapshot(self, key: SectionKey) -> StoredSnapshot | None:
        return await self._wire.call("newest", lambda: self._server.newest_snapshot(key))
