"""Documents by id: from the cache in Redis, so that opening one needs no Postgres, else from the long-term store.

The cache is filled only where it is empty and overwritten only by a deletion, so a slow reader cannot bring a deleted
document back to life.
"""

from collections.abc import Iterator
from typing import Any, Final

from persistence import keys
from persistence.records import Document, Store
from persistence.redis_client import Argument
from persistence.script import Script
from persistence.script_calls import ScriptCalls

CACHED_MS: Final = 24 * 3_600_000


class Documents:
    """Every method raises Unavailable. The line and the store stay their owner's to close."""

    def __init__(self, calls: ScriptCalls, store: Store) -> None:
        self._calls = calls
        self._store = store
        self._fill = Script("document_fill")
        self._replace = Script("document_replace")

    async def resolve(self, document_id: str) -> Document | None:
        """The document of this id, deleted ones too; None if there never was one."""
        cached = await self._calls.call(self._fill, (keys.document(document_id),), (CACHED_MS,))
        if cached:
            return _decode(document_id, cached)
        stored = await self._store.document(document_id)
        return None if stored is None else await self._cache(stored)

    async def create(
        self, document_id: str, organisation: str, user: str, now_ms: int, incarnation: str
    ) -> tuple[Document, bool]:
        """The document of this id, and whether this call created it. One that was deleted is not created again."""
        wanted = Document(document_id, incarnation, organisation, user, now_ms)
        stored = await self._store.create_document(wanted)
        return await self._cache(stored), stored.incarnation == incarnation

    async def delete(self, document_id: str, now_ms: int) -> Document | None:
        """Mark it as deleted. After Unavailable it may be deleted and still be cached: call again."""
        stored = await self._store.delete_document(document_id, now_ms)
        if stored is not None:
            await self._calls.call(self._replace, (keys.document(document_id),), (CACHED_MS, *_fields(stored)))
        return stored

    async def _cache(self, document: Document) -> Document:
        arguments = (CACHED_MS, *_fields(document))
        return _decode(document.id, await self._calls.call(self._fill, (keys.document(document.id),), arguments))


def _fields(document: Document) -> Iterator[Argument]:
    yield from ("incarnation", document.incarnation)
    yield from ("organisation", document.organisation)
    yield from ("created_by", document.created_by)
    yield from ("created_ms", document.created_ms)
    yield from ("deleted", int(document.deleted))


def _decode(document_id: str, reply: list[Any]) -> Document:
    row = {name: value.decode() for name, value in zip(reply[::2], reply[1::2], strict=True)}
    return Document(
        document_id,
        row[b"incarnation"],
        row[b"organisation"],
        row[b"created_by"],
        int(row[b"created_ms"]),
        row[b"deleted"] == "1",
    )
