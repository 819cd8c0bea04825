"""The log on a real server: lost replies, broken connections, keys that vanish, and what is published."""

import asyncio

import pytest

from coscribe.names import SectionKey
from persistence import keys
from persistence.bus import RedisBus
from persistence.reader import RedisLogReader, decode_entries
from persistence.records import Answer, Durable, LiveSnapshot, LogEntry, LogState, StoredSnapshot, Unavailable
from persistence.redis_client import execute
from tests.persistence.logs import activate_all, log_and_client, log_at, sections
from tests.persistence.proxy import bad_line
from tests.persistence.samples import KEY, NEW, OTHER, batch, entries
from tests.support.services import Valkey

pytestmark = pytest.mark.services


# --- Unknown outcomes ---


def test_what_a_later_version_adds_to_an_entry_is_passed_over() -> None:
    fields = (b"m", b"7 1700 ann lee", b"e", b'["client-1",1,["x"]]', b"more", b"1")
    assert decode_entries([(b"3-0", fields)]) == [LogEntry(3, 7, 1700, "ann lee", b'["client-1",1,["x"]]')]


async def test_after_a_lost_reply_the_same_batch_is_a_duplicate(redis_url: str) -> None:
    async with bad_line(redis_url) as (line, url), log_at(url) as log:
        epoch = (await log.activate(KEY, NEW)).epoch
        await log.commit(KEY, batch(0, 1, epoch))
        line.lose_next_reply()
        with pytest.raises(Unavailable):
            await log.commit(KEY, batch(1, 3, epoch))
        assert line.replies_lost == 1
        assert await log.commit(KEY, batch(1, 3, epoch)) is Answer.DUP
        assert tuple(await log.read(KEY, 0, 10)) == entries(1, 3, epoch)


async def test_a_connection_killed_under_a_commit_makes_it_unavailable_then_it_recovers(redis_url: str) -> None:
    async with log_and_client(redis_url) as (log, client):
        epoch = (await log.activate(KEY, NEW)).epoch
        await log.commit(KEY, batch(0, 1, epoch))
        await execute(client, "CLIENT PAUSE", 30_000, "WRITE")
        under_way = asyncio.create_task(log.commit(KEY, batch(1, 2, epoch)))
        while b"blocked_clients:1" not in await execute(client, "INFO", "clients"):
            pass
        await execute(client, "CLIENT KILL", "TYPE", "normal", "SKIPME", "yes")
        with pytest.raises(Unavailable):
            await under_way
        await execute(client, "CLIENT UNPAUSE")
        assert await log.commit(KEY, batch(1, 2, epoch)) in (Answer.OK, Answer.DUP)
        assert tuple(await log.read(KEY, 0, 10)) == entries(1, 2, epoch)


async def test_an_idle_connection_that_was_killed_is_not_noticed(redis_url: str) -> None:
    async with log_and_client(redis_url) as (log, client):
        epoch = (await log.activate(KEY, NEW)).epoch
        await log.commit(KEY, batch(0, 1, epoch))
        await execute(client, "CLIENT KILL", "TYPE", "normal", "SKIPME", "yes")
        assert await log.commit(KEY, batch(1, 2, epoch)) is Answer.OK


async def test_kill_9_and_a_restart_keep_everything_acknowledged(own_valkey: Valkey) -> None:
    async with log_at(own_valkey.url) as log:
        of = sections(20)
        epochs = await activate_all(log, of)
        acknowledged = dict.fromkeys(of, 0)

        async def write(key: SectionKey) -> None:
            while True:
                base = acknowledged[key]
                try:
                    assert await log.commit(key, batch(base, base + 2, epochs[key])) is Answer.OK
                except Unavailable:
                    return
                acknowledged[key] = base + 2
                if sum(acknowledged.values()) > 2_000:
                    own_valkey.kill()

        await asyncio.gather(*map(write, of))
        assert sum(acknowledged.values()) > 2_000
        await own_valkey.start()
        for key, revision in acknowledged.items():
            base = revision
            # The batch under way may be in or not. Sent again, it is in once.
            assert await log.commit(key, batch(base, base + 2, epochs[key])) in (Answer.OK, Answer.DUP)
            assert tuple(await log.read(key, 0, 10_000)) == entries(1, base + 2, epochs[key])


async def test_a_server_without_memory_is_unavailable_and_writes_nothing(redis_url: str) -> None:
    async with log_and_client(redis_url) as (log, client):
        epoch = (await log.activate(KEY, NEW)).epoch
        await execute(client, "CONFIG SET", "maxmemory", 1)
        try:
            with pytest.raises(Unavailable):
                await log.commit(KEY, batch(0, 2, epoch))
        finally:
            await execute(client, "CONFIG SET", "maxmemory", 0)
        assert await log.state(KEY) == LogState(epoch, 0)
        assert await log.commit(KEY, batch(0, 2, epoch)) is Answer.OK


# --- Keys and channels ---


async def test_what_is_committed_is_published_once_and_in_order(redis_url: str) -> None:
    async with log_at(redis_url) as log, RedisBus(redis_url) as bus:
        heard: list[bytes] = []
        done = asyncio.Event()

        def published(channel: str, message: bytes) -> None:
            assert channel == keys.channel(KEY)
            heard.append(message)
            if message == b"end":
                done.set()

        bus.listen(published, lambda channel: None)
        await bus.subscribe(keys.channel(KEY))
        epoch = (await log.activate(KEY, NEW)).epoch
        for sent in (batch(0, 2, epoch), batch(0, 2, epoch), batch(2, 3, epoch), batch(9, 10, epoch), batch(0, 1, 1)):
            await log.commit(KEY, sent)
        await log.announce(KEY, b"end")
        await done.wait()
        assert heard == [batch(0, 2, epoch).published, batch(2, 3, epoch).published, b"end"]


async def test_released_keys_expire_together_and_activation_keeps_them(redis_url: str) -> None:
    async with log_and_client(redis_url) as (log, client):

        async def lifetimes() -> list[int]:
            names = (keys.meta(KEY), keys.stream(KEY), keys.live(KEY))
            return [await execute(client, "PEXPIRETIME", name) for name in names]

        epoch = (await log.activate(KEY, NEW)).epoch
        await log.commit(KEY, batch(0, 2, epoch))
        await log.keep_live(KEY, epoch, LiveSnapshot(StoredSnapshot(2, epoch, None, None, b"[]"), NEW, 0))
        assert await lifetimes() == [-1, -1, -1]
        assert await log.release(KEY, LogState(epoch, 2), 3_600_000)
        meta, stream, live = await lifetimes()
        assert meta == stream == live > 0
        await log.activate(KEY, Durable(2, epoch))
        assert await lifetimes() == [-1, -1, -1]


async def test_a_damaged_live_snapshot_is_as_good_as_none(redis_url: str) -> None:
    async with log_and_client(redis_url) as (log, client):
        await log.activate(KEY, NEW)
        await execute(client, "HSET", keys.live(KEY), "rev", 0, "state", b"\x95junk")
        assert (await log.activate(KEY, NEW)).live is None


async def test_an_expired_section_goes_on_from_the_long_term_store(redis_url: str) -> None:
    async with log_and_client(redis_url) as (log, client):
        epoch = (await log.activate(KEY, NEW)).epoch
        await log.commit(KEY, batch(0, 2, epoch))
        await execute(client, "DEL", keys.meta(KEY), keys.stream(KEY))
        assert await log.state(KEY) is None
        again = await log.activate(KEY, Durable(2, epoch))
        assert (again.head, again.tail) == (2, ())
        assert again.epoch > epoch
        assert await log.commit(KEY, batch(2, 3, again.epoch)) is Answer.OK


async def test_a_stream_that_vanished_is_not_begun_anew_after_a_hole(redis_url: str) -> None:
    async with log_and_client(redis_url) as (log, client):
        epoch = (await log.activate(KEY, NEW)).epoch
        await log.commit(KEY, batch(0, 2, epoch))
        await execute(client, "DEL", keys.stream(KEY))
        assert await log.commit(KEY, batch(2, 3, epoch)) is Answer.FENCED
        again = await log.activate(KEY, NEW)
        assert (again.head, again.tail) == (2, ())  # the hole shows: nothing leads to revision 2


async def test_a_stream_beyond_what_the_hash_says_is_seen(redis_url: str) -> None:
    async with log_and_client(redis_url) as (log, client):
        epoch = (await log.activate(KEY, NEW)).epoch
        await log.commit(KEY, batch(0, 3, epoch))
        await execute(client, "HSET", keys.meta(KEY), "rev", 2)
        assert await log.commit(KEY, batch(2, 3, epoch, "another")) is Answer.AHEAD
        again = await log.activate(KEY, NEW)
        assert (again.head, len(again.tail)) == (3, 3)


async def test_a_first_record_is_no_entry(redis_url: str) -> None:
    async with log_and_client(redis_url) as (log, client):
        await execute(client, "XADD", keys.stream(OTHER), "0-1", "text", "born of a split", "parent", "0")
        activation = await log.activate(OTHER, NEW)
        assert (activation.head, activation.tail) == (0, ())
        assert await log.commit(OTHER, batch(0, 1, activation.epoch)) is Answer.OK
        assert tuple(await log.read(OTHER, 0, 10)) == entries(1, 1, activation.epoch)


async def test_heads_carry_the_epoch_of_their_revision(redis_url: str) -> None:
    async with log_at(redis_url) as log:
        reader = RedisLogReader.connect(redis_url)
        first = await log.activate(KEY, NEW)
        assert await reader.heads([KEY, OTHER]) == [(0, 0), None]
        await log.commit(KEY, batch(0, 2, first.epoch))
        second = await log.activate(KEY, NEW)
        assert await reader.heads([OTHER, KEY]) == [None, (2, first.epoch)]
        await log.commit(KEY, batch(2, 3, second.epoch))
        await log.activate(OTHER, Durable(9, 4))
        assert await reader.heads([KEY, OTHER]) == [(3, second.epoch), (9, 4)]
        assert tuple(await reader.read(KEY, 1, 1)) == entries(2, 2, first.epoch)
        assert await reader.heads([]) == []
        await reader.aclose()


async def test_a_long_tail_is_returned_whole(redis_url: str) -> None:
    async with log_at(redis_url) as log:
        epoch = (await log.activate(KEY, NEW)).epoch
        for base in range(0, 10_000, 500):
            assert await log.commit(KEY, batch(base, base + 500, epoch)) is Answer.OK
        assert (await log.activate(KEY, NEW)).tail == entries(1, 10_000, epoch)


async def test_the_dirty_index_is_read_in_pages(redis_url: str) -> None:
    async with log_at(redis_url) as log:
        of = sections(3_000)
        await asyncio.gather(*(log.mark_dirty(key, f"1:{number}") for number, key in enumerate(of)))
        marks = await log.dirty()
        assert {mark.key for mark in marks} == set(of)
        assert len(marks) == len(of)


async def test_unreleased_sections_are_found(redis_url: str) -> None:
    async with log_and_client(redis_url) as (log, client):
        of = sections(2_500)
        epochs = await activate_all(log, of)
        await execute(client, "SET", "cs:{document1}:document", "no section")
        assert set(await log.unreleased()) == set(of)
        assert len(await log.unreleased(10)) == 10
        for key in of[:5]:
            assert await log.release(key, LogState(epochs[key], 0), 3_600_000)
        assert set(await log.unreleased()) == set(of[5:])
