"""Where a replica must have an edit before anyone is told: nobody sees one that a failover could lose."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from persistence import keys, script_calls
from persistence.bus import RedisBus
from persistence.log import RedisLog
from persistence.reader import RedisLogReader
from persistence.records import Answer, LogState, Unavailable
from persistence.redis_client import shared_client
from tests.persistence.samples import KEY, NEW, batch, entries
from tests.support.services import Valkey, promote

pytestmark = pytest.mark.services
Pair = tuple[Valkey, Valkey]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script_calls, "REPLICAS_MS", 200)


@contextmanager
def stopped(replica: Valkey) -> Iterator[None]:
    """It takes nothing meanwhile."""
    assert replica.service is not None
    os.kill(replica.service.child.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(replica.service.child.pid, signal.SIGCONT)


async def test_what_no_replica_has_is_not_seen_and_published_once_when_one_has_it(own_pair: Pair) -> None:
    primary, replica = own_pair
    heard: list[bytes] = []
    log = RedisLog.connect(primary.url, replicas=1)
    async with shared_client(primary.url) as client, RedisBus(primary.url) as bus:
        reader = RedisLogReader(client, replicated=True)
        bus.listen(lambda channel, data: heard.append(data), lambda channel: None)
        await bus.subscribe(keys.channel(KEY))
        epoch = (await log.activate(KEY, NEW)).epoch
        assert await log.commit(KEY, batch(0, 2, epoch)) is Answer.OK
        with stopped(replica):
            with pytest.raises(Unavailable, match="0 of 1 replicas"):
                await log.commit(KEY, batch(2, 3, epoch))
            assert await log.state(KEY) == LogState(epoch, 3)
            assert tuple(await reader.read(KEY, 0, 10)) == entries(1, 2, epoch)
            assert await reader.read(KEY, 2, 10) == []
            assert await reader.heads([KEY]) == [(2, epoch)]
            assert len(heard) == 1
        for _ in range(2):
            assert await log.commit(KEY, batch(2, 3, epoch)) is Answer.DUP
        assert await reader.heads([KEY]) == [(3, epoch)]
        await log.announce(KEY, b"end")
        while heard[-1] != b"end":
            await bus.publish("a turn of the loop", b"")
        assert heard == [batch(0, 2, epoch).published, batch(2, 3, epoch).published, b"end"]
    await log.aclose()


async def test_what_a_dead_owner_left_is_read_once_the_next_one_has_waited_for_the_replica(own_pair: Pair) -> None:
    primary, replica = own_pair
    log = RedisLog.connect(primary.url, replicas=1)
    async with shared_client(primary.url) as client:
        reader = RedisLogReader(client, replicated=True)
        epoch = (await log.activate(KEY, NEW)).epoch
        with stopped(replica):
            with pytest.raises(Unavailable):
                await log.commit(KEY, batch(0, 3, epoch))
            with pytest.raises(Unavailable):
                await log.activate(KEY, NEW)
            assert await reader.heads([KEY]) == [(0, 0)]
        found = await log.activate(KEY, NEW)
        assert (found.head, found.tail) == (3, entries(1, 3, epoch))
        assert await reader.heads([KEY]) == [(3, epoch)]
        assert tuple(await reader.read(KEY, 0, 10)) == entries(1, 3, epoch)
    await log.aclose()


async def test_after_a_failover_the_replica_has_what_was_acknowledged(own_pair: Pair) -> None:
    primary, replica = own_pair
    log = RedisLog.connect(primary.url, replicas=1)
    epoch = (await log.activate(KEY, NEW)).epoch
    acknowledged = 0
    for base in range(50):
        primary_has = await log.commit(KEY, batch(base, base + 1, epoch))
        assert primary_has is Answer.OK
        acknowledged = base + 1
    primary.kill()
    await log.aclose()
    promote(replica)
    heir = RedisLog.connect(replica.url)
    assert (await heir.activate(KEY, NEW)).tail == entries(1, acknowledged, epoch)
    await heir.aclose()


async def test_a_section_from_before_replicas_were_asked_for_is_read_whole(own_pair: Pair) -> None:
    primary, _ = own_pair
    plain, careful = RedisLog.connect(primary.url), RedisLog.connect(primary.url, replicas=1)
    epoch = (await plain.activate(KEY, NEW)).epoch
    await plain.commit(KEY, batch(0, 2, epoch))
    assert await careful.heads([KEY]) == [(2, epoch)]
    assert tuple(await careful.read(KEY, 0, 10)) == entries(1, 2, epoch)
    new = (await careful.activate(KEY, NEW)).epoch
    assert await careful.commit(KEY, batch(2, 3, new)) is Answer.OK
    assert await careful.heads([KEY]) == [(3, new)]
    for log in (plain, careful):
        await log.aclose()
