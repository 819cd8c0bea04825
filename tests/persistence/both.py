"""A log and a store together, for tests of what goes from one to the other."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from persistence.records import Answer, Log, Store
from tests.persistence.implementations import OpenLog, OpenStore
from tests.persistence.samples import KEY, NEW, batch


@asynccontextmanager
async def both(open_log: OpenLog, open_store: OpenStore) -> AsyncIterator[tuple[Log, Store]]:
    async with open_log() as log, open_store() as store:
        yield log, store


async def fill(log: Log, through: int) -> int:
    """A section with entries up to `through`; returns its epoch."""
    epoch = (await log.activate(KEY, NEW)).epoch
    for base in range(0, through, 10):
        assert await log.commit(KEY, batch(base, min(base + 10, through), epoch)) is Answer.OK
    return epoch
