"""Commits of many sections share round trips, and each caller gets its own answer."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest
from redis.exceptions import ResponseError

from persistence import keys, script_calls
from persistence.log import RedisLog
from persistence.records import MAX_BATCH_ENTRIES, Answer, Unavailable
from persistence.redis_client import Argument, Line, execute
from persistence.script_calls import ScriptCalls
from tests.persistence.logs import activate_all, log_and_client, log_at, sections
from tests.persistence.samples import KEY, NEW, batch, entries

pytestmark = pytest.mark.services


class Forgetful:
    """A line on which the server forgets its scripts after the first command."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._first = True

    async def exchange(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        if not self._first:
            return await self._line.exchange(commands)
        self._first = False
        replies = await self._line.exchange([commands[0], ("SCRIPT", "FLUSH"), *commands[1:]])
        return [replies[0], *replies[2:]]

    async def aclose(self) -> None:
        await self._line.aclose()


async def test_commits_that_meet_share_a_round_trip(redis_url: str) -> None:
    async with log_at(redis_url) as log:
        of = sections(2 * script_calls.ROUND_TRIP_CALLS + 1)
        epochs = await activate_all(log, of)
        await log.commit(of[0], batch(0, 1, epochs[of[0]]))  # the script is loaded now
        before = log.round_trips
        answers = await asyncio.gather(*(log.commit(key, batch(int(key == of[0]), 3, epochs[key])) for key in of))
        assert set(answers) == {Answer.OK}
        assert log.round_trips == before + 3


async def test_bytes_bound_a_round_trip_too(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script_calls, "ROUND_TRIP_BYTES", 1)
    async with log_at(redis_url) as log:
        of = sections(5)
        epochs = await activate_all(log, of)
        await log.commit(of[0], batch(0, 1, epochs[of[0]]))
        before = log.round_trips
        await asyncio.gather(*(log.commit(key, batch(0, 1, epochs[key])) for key in of[1:]))
        assert log.round_trips == before + 4


async def test_every_caller_gets_its_own_answer(redis_url: str) -> None:
    async with log_and_client(redis_url) as (log, client):
        ok, dup, fenced, lost, ahead, broken = of = sections(6)
        epochs = await activate_all(log, of)
        for key in (dup, ahead):
            await log.commit(key, batch(0, 2, epochs[key]))
        await log.activate(fenced, NEW)
        await execute(client, "DEL", keys.meta(broken))
        await execute(client, "SET", keys.meta(broken), "not a hash")
        spans = {ok: (0, 2), broken: (0, 2), dup: (0, 2), fenced: (0, 2), lost: (1, 2), ahead: (1, 3)}
        commits = [log.commit(key, batch(*span, epochs[key])) for key, span in spans.items()]
        first, second, *others = await asyncio.gather(*commits, return_exceptions=True)
        assert first is Answer.OK
        assert isinstance(second, ResponseError)  # a mistake of ours surfaces, and costs nobody else
        assert others == [Answer.DUP, Answer.FENCED, Answer.LOST, Answer.AHEAD]


async def test_a_forgotten_script_is_loaded_again_under_way(redis_url: str) -> None:
    async with log_and_client(redis_url) as (log, client):
        of = sections(30)
        epochs = await activate_all(log, of)
        for base in range(10):
            flush = execute(client, "SCRIPT FLUSH")
            commits = (log.commit(key, batch(base, base + 1, epochs[key])) for key in of)
            _, *answers = await asyncio.gather(flush, *commits)
            assert set(answers) == {Answer.OK}
        for key in of:
            assert tuple(await log.read(key, 0, 100)) == entries(1, 10, epochs[key])


async def test_only_what_was_refused_is_sent_again(redis_url: str) -> None:
    async with log_and_client(redis_url) as (log, _):
        one, two = sections(2)
        epochs = await activate_all(log, [one, two])
        await log.commit(one, batch(0, 1, epochs[one]))
        log._calls = ScriptCalls(cast(Line, Forgetful(log._calls._line)))
        both = await asyncio.gather(
            log.commit(one, batch(1, 2, epochs[one])), log.commit(two, batch(0, 1, epochs[two]))
        )
        assert set(both) == {Answer.OK}  # sent again, the first would be a duplicate
        assert log.round_trips == 2


async def test_a_caller_that_gives_up_disturbs_nobody(redis_url: str) -> None:
    async with log_at(redis_url) as log:
        one, two = sections(2)
        epochs = await activate_all(log, [one, two])
        gives_up = asyncio.create_task(log.commit(one, batch(0, 1, epochs[one])))
        stays = asyncio.create_task(log.commit(two, batch(0, 1, epochs[two])))
        await asyncio.sleep(0)
        gives_up.cancel()
        assert await stays is Answer.OK
        assert await log.commit(one, batch(0, 1, epochs[one])) in (Answer.OK, Answer.DUP)


async def test_what_waits_is_bounded(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script_calls, "QUEUED_CALLS", 2)
    async with log_at(redis_url) as log:
        of = sections(3)
        epochs = await activate_all(log, of)
        answers = await asyncio.gather(
            *(log.commit(key, batch(0, 1, epochs[key])) for key in of), return_exceptions=True
        )
        assert answers[:2] == [Answer.OK, Answer.OK]
        assert isinstance(answers[2], Unavailable)


async def test_closing_sends_what_waits_and_takes_nothing_more(redis_url: str) -> None:
    log = RedisLog.connect(redis_url)
    epoch = (await log.activate(KEY, NEW)).epoch
    last = asyncio.create_task(log.commit(KEY, batch(0, 1, epoch)))
    await asyncio.sleep(0)
    await log.aclose()
    assert await last is Answer.OK
    with pytest.raises(Unavailable):
        await log.commit(KEY, batch(1, 2, epoch))


async def test_too_large_a_batch_is_our_mistake(redis_url: str) -> None:
    async with log_at(redis_url) as log:
        epoch = (await log.activate(KEY, NEW)).epoch
        assert await log.commit(KEY, batch(0, MAX_BATCH_ENTRIES, epoch)) is Answer.OK
        with pytest.raises(AssertionError):
            await log.commit(KEY, batch(MAX_BATCH_ENTRIES, 2 * MAX_BATCH_ENTRIES + 1, epoch))
