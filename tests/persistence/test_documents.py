"""Documents by id, through the cache."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from persistence import keys
from persistence.documents import CACHED_MS, Documents
from persistence.records import Document, Store
from persistence.redis_client import execute, shared_client
from persistence.script_calls import ScriptCalls
from tests.persistence.implementations import OpenStore

pytestmark = pytest.mark.services

NOTES = Document("notes", "life1", "acme", "zoë", 1_700_000_000_123)


class Unreachable:
    """A store that must not be asked."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"the store was asked: {name}")


@asynccontextmanager
async def documents_and_store(url: str, open_store: OpenStore) -> AsyncIterator[tuple[Documents, Store]]:
    async with ScriptCalls.connect(url) as calls, open_store() as store:
        yield Documents(calls, store), store


async def asked(url: str, command: str, *arguments: str | int) -> Any:
    async with shared_client(url) as client:
        return await execute(client, command, *arguments)


async def create(documents: Documents, incarnation: str = "life1") -> tuple[Document, bool]:
    return await documents.create("notes", "acme", "zoë", NOTES.created_ms, incarnation)


async def test_created_once_then_found_without_the_store(redis_url: str, open_store: OpenStore) -> None:
    async with documents_and_store(redis_url, open_store) as (documents, _):
        assert await documents.resolve("notes") is None
        assert await create(documents) == (NOTES, True)
        assert await create(documents, "life2") == (NOTES, False)
    async with ScriptCalls.connect(redis_url) as calls:
        assert await Documents(calls, Unreachable()).resolve("notes") == NOTES  # type: ignore[arg-type]


async def test_what_only_the_store_knows_is_cached(redis_url: str, open_store: OpenStore) -> None:
    async with documents_and_store(redis_url, open_store) as (documents, store):
        await store.create_document(NOTES)
        assert await documents.resolve("notes") == NOTES
        assert await Documents(documents._calls, Unreachable()).resolve("notes") == NOTES  # type: ignore[arg-type]


async def test_a_deleted_document_is_known_as_deleted(redis_url: str, open_store: OpenStore) -> None:
    gone = dataclasses.replace(NOTES, deleted=True)
    async with documents_and_store(redis_url, open_store) as (documents, _):
        await create(documents)
        assert await documents.delete("notes", 5) == gone
        assert await documents.resolve("notes") == gone
        assert await create(documents, "life2") == (gone, False)
        await asked(redis_url, "DEL", keys.document("notes"))
        assert await documents.resolve("notes") == gone
        assert await documents.delete("others", 5) is None


async def test_a_slow_reader_does_not_bring_a_deleted_document_back(redis_url: str, open_store: OpenStore) -> None:
    async with documents_and_store(redis_url, open_store) as (documents, store):
        await store.create_document(NOTES)

        class Slow:
            async def document(self, document_id: str) -> Document | None:
                found = await store.document(document_id)
                await documents.delete("notes", 5)
                return found

        late = await Documents(documents._calls, Slow()).resolve("notes")  # type: ignore[arg-type]
        assert late == dataclasses.replace(NOTES, deleted=True)
        assert await documents.resolve("notes") == late


async def test_looking_keeps_the_cache_alive(redis_url: str, open_store: OpenStore) -> None:
    async with documents_and_store(redis_url, open_store) as (documents, _):
        await create(documents)
        await asked(redis_url, "PEXPIRE", keys.document("notes"), 60_000)
        await documents.resolve("notes")
        assert await asked(redis_url, "PTTL", keys.document("notes")) > CACHED_MS / 2
