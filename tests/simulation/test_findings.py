"""What runs of the simulation have found, each in the fewest steps that show it."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from actors.activation import Stored
from actors.backlog import Backlog
from actors.questions import messages_of
from actors.section_actor import Clock, SectionActor
from coscribe import link
from coscribe.names import SectionKey
from coscribe.ot import Limits
from coscribe.section import Section, WindowLimits, newborn
from persistence.records import Durable, LogEntry, Unavailable
from router.fan_out import FanOut
from router.room import Room
from tests.simulation.postgres_server import PostgresServer
from tests.simulation.redis_server import RedisServer
from tests.simulation.stores import SimLog, SimStore
from tests.simulation.wires import DirectWire

T = TypeVar("T")

KEY = SectionKey("notes", "life1", "0")
NEW = Durable(0, 0)


class DeafWire(DirectWire):
    """Everything that is sent happens, and while it is deaf no reply to a commit comes back."""

    deaf = False

    async def call(self, name: str, work: Callable[[], T], again: bool = False) -> T:
        result = await super().call(name, work, again)
        if self.deaf and name.startswith("commit"):
            raise Unavailable("the connection broke")
        return result


async def until(reached: Callable[[], bool]) -> None:
    while not reached():  # noqa: ASYNC110 -- nothing is there to wait for
        await asyncio.sleep(0)


async def owner(wire: DeafWire, redis: RedisServer) -> SectionActor:
    log, store = SimLog(redis, wire), SimStore(PostgresServer(), wire)
    epoch = (await log.activate(KEY, NEW)).epoch
    section = Section(KEY, epoch, newborn(), Limits(), WindowLimits())
    clock = Clock(lambda: 1_000, lambda: 0.5, iter(map(str, range(99))).__next__)
    return SectionActor(section, Stored(NEW), log, store, clock, lambda actor: None, Backlog(2**30))


async def ask(actor: SectionActor, after: int) -> link.ToRouter:
    answer: asyncio.Future[link.ToRouter] = asyncio.get_running_loop().create_future()
    actor.questions.entries(1, after, answer.set_result)
    return await answer


async def test_a_revision_whose_commit_was_not_answered_is_no_fork() -> None:
    """A client that reads an entry from the bus and connects anew, all while the reply of its commit is lost, was
    told that the history it had read was void."""
    wire, redis = DeafWire(), RedisServer(lambda: 1_000)
    actor = await owner(wire, redis)
    wire.deaf = True
    actor.submit(link.Submit(KEY, 1, "client-1", 1, 0, "ann", "writer", b'["a"]'), lambda answer: None)
    await until(lambda: redis.heads([KEY]) == [(1, actor.section.epoch)])
    refused = await ask(actor, 1)
    assert isinstance(refused, link.Refused)
    assert refused.code == "unavailable"
    wire.deaf = False
    while isinstance(answer := await ask(actor, 1), link.Refused):
        assert answer.code == "unavailable"
        await asyncio.sleep(0.01)
    assert isinstance(answer, link.EntriesAre)
    assert (answer.last, answer.head) == (1, 1)


async def test_a_revision_that_the_log_does_not_have_is_one() -> None:
    actor = await owner(DeafWire(), RedisServer(lambda: 1_000))
    refused = await ask(actor, 1)
    assert isinstance(refused, link.Refused)
    assert refused.code == "ahead"


async def test_a_revision_of_a_newer_owner_sends_on_to_it() -> None:
    wire, redis = DeafWire(), RedisServer(lambda: 1_000)
    actor = await owner(wire, redis)
    await owner(wire, redis)
    refused = await ask(actor, 1)
    assert isinstance(refused, link.Refused)
    assert refused.code == "moved"
    assert actor.closed


class NoReader:
    """A stream from which everything was trimmed."""

    async def read(self, key: SectionKey, after: int, limit: int) -> list[LogEntry]:
        return []

    async def heads(self, keys: object) -> list[tuple[int, int] | None]:
        return []


async def test_a_room_knows_the_epoch_of_each_entry_that_its_owner_gave_it() -> None:
    """A page from the owner, with entries of two owners, was held under the epoch of the newest revision: a client
    that stood in its older part was told that the history it had read was void."""
    entries = [LogEntry(number, 1 + number // 3, 0, "ann", b'["client-1",%d,[]]' % number) for number in range(1, 5)]

    async def from_owner(key: SectionKey, after: int) -> link.EntriesAre:
        page = entries[after:][:3]
        return link.EntriesAre(1, page[-1].revision, 9, 7, 0, messages_of("0", page))

    room = Room(KEY, NoReader(), from_owner, FanOut(lambda: 0.0, lambda: 0.0))
    room.position(0, 0)
    room.head_is(4)
    await until(lambda: room.head == 4)
    assert [room.epoch_of(number) for number in range(1, 5)] == [1, 1, 2, 2]
    await room.close()
