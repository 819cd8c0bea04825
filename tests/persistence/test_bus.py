"""The bus on a real server: what is published arrives, and what may have been lost is reported."""

import asyncio
from collections.abc import Callable

import pytest
import redis

from persistence.bus import RedisBus
from persistence.records import Unavailable
from tests.support.services import Valkey

pytestmark = pytest.mark.services


class Heard:
    """Everything the bus reported, and waiting for it."""

    def __init__(self, bus: RedisBus) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.interrupted: list[str] = []
        self._more = asyncio.Event()
        bus.listen(self._published, self._was_interrupted)

    def _published(self, channel: str, message: bytes) -> None:
        self.messages.append((channel, message))
        self._more.set()

    def _was_interrupted(self, channel: str) -> None:
        self.interrupted.append(channel)
        self._more.set()

    async def until(self, seen: Callable[["Heard"], bool]) -> None:
        while not seen(self):
            self._more.clear()
            await self._more.wait()


def kill_subscribers(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")


async def test_messages_arrive_in_order_as_bytes(redis_url: str) -> None:
    async with RedisBus(redis_url) as bus:
        heard = Heard(bus)
        await bus.subscribe("one")
        sent = [("one", bytes([number, 255, 0, 13, 10])) for number in range(50)]
        for channel, message in sent:
            await bus.publish(channel, message)
            await bus.publish("nobody listens", message)
        await heard.until(lambda heard: len(heard.messages) == 50)
        assert heard.messages == sent
        assert heard.interrupted == []


async def test_a_subscription_is_in_force_when_subscribe_returns(redis_url: str) -> None:
    async with RedisBus(redis_url) as bus:
        heard = Heard(bus)
        names = [f"channel {number}" for number in range(3_000)]
        await asyncio.gather(*map(bus.subscribe, names))
        for name in names[::100]:
            await bus.publish(name, b"here")
        await heard.until(lambda heard: len(heard.messages) == 30)
        assert heard.interrupted == []


async def test_after_unsubscribe_nothing_comes(redis_url: str) -> None:
    async with RedisBus(redis_url) as bus:
        heard = Heard(bus)
        await bus.subscribe("one")
        await bus.unsubscribe("one")
        await bus.subscribe("two")  # confirmed after the unsubscription
        await bus.publish("one", b"lost")
        await bus.publish("two", b"heard")
        await heard.until(lambda heard: bool(heard.messages))
        assert heard.messages == [("two", b"heard")]


async def test_a_lost_connection_is_renewed_and_every_channel_reported(redis_url: str) -> None:
    async with RedisBus(redis_url) as bus:
        heard = Heard(bus)
        await bus.subscribe("one")
        await bus.subscribe("two")
        kill_subscribers(redis_url)
        await heard.until(lambda heard: len(heard.interrupted) == 2)
        assert sorted(heard.interrupted) == ["one", "two"]
        await bus.publish("one", b"again")
        await heard.until(lambda heard: heard.messages == [("one", b"again")])


async def test_a_server_that_restarts_is_waited_for(own_valkey: Valkey) -> None:
    async with RedisBus(own_valkey.url, timeout_s=0.2) as bus:
        heard = Heard(bus)
        await bus.subscribe("one")
        own_valkey.kill()
        with pytest.raises(Unavailable):
            await bus.publish("one", b"to nobody")
        with pytest.raises(Unavailable):
            await bus.subscribe("two")
        await own_valkey.start()
        await heard.until(lambda heard: heard.interrupted == ["one"])


async def test_a_receiver_that_raises_costs_an_interruption_not_the_bus(redis_url: str) -> None:
    async with RedisBus(redis_url) as bus:
        heard = Heard(bus)

        def raising(channel: str, message: bytes) -> None:
            raise ValueError(message)

        bus.listen(raising, heard._was_interrupted)
        await bus.subscribe("one")
        await bus.publish("one", b"poison")
        await heard.until(lambda heard: heard.interrupted == ["one"])


async def test_closing_ends_every_task_and_waiter(own_valkey: Valkey) -> None:
    before = asyncio.all_tasks()
    bus = RedisBus(own_valkey.url)
    async with bus:
        await bus.subscribe("one")
        own_valkey.kill()
        waiter = asyncio.create_task(bus.subscribe("two"))
        await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await waiter
    with pytest.raises(Unavailable):
        await bus.subscribe("three")
    assert asyncio.all_tasks() == before
