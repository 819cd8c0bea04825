"""Clients that are asked to go to another router: when it drains, and when it holds more than its share."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from coscribe import link
from router.metrics import RouterMetrics
from router.moves import AGAIN_S, JUDGE_S, SAY_S, WITHIN_S, Moves, MoveSettings
from tests.router.bench import Bench, Tab, bench, settle
from tests.router.ports import MemoryRouters


class Mover:
    """The clients of a bench among other routers, which exist only as what they say."""

    def __init__(self, b: Bench, **given: Any) -> None:
        self.b, self.store = b, MemoryRouters()
        self.metrics = RouterMetrics(b.router)
        settings = MoveSettings(**{"drain_s": 15.0, "balance_factor": 1.25, "joins_per_s": 40.0, **given})
        self.moves = Moves("me", b.router.connections, self.store, self.metrics, settings, b.router.now)
        self.tabs: list[Tab] = []

    def other(self, name: str, sockets: int = 0, draining: bool = False) -> None:
        self.store.said[name] = json.dumps({"sockets": sockets, "draining": draining, "of a newer version": 1}).encode()

    async def join(self, count: int) -> None:
        for _ in range(count):
            self.tabs.append(self.b.hello(f"client-{len(self.tabs)}"))
        await settle()

    def asked(self) -> list[int]:
        """Who was asked, by number, once for each time."""
        return [number for number, tab in enumerate(self.tabs) for _ in tab.all("move")]

    async def go(self, *numbers: int) -> None:
        for number in numbers:
            await self.tabs[number].leave()

    async def come_back(self, *numbers: int) -> None:
        """As by a balancer that chooses this router: a new socket of the same client, then the old one closes."""
        for number in numbers:
            before = self.tabs[number]
            self.tabs[number] = await self.b.join(before.connection.client)
            await before.leave()

    def counted(self, why: str) -> float:
        return self.metrics.moves.labels(why)._value.get()


@contextlib.asynccontextmanager
async def sharing(count: int, **given: Any) -> AsyncIterator[Mover]:
    async with bench() as b:
        mover = Mover(b, **given)
        await mover.join(count)
        running = asyncio.create_task(mover.moves.run())
        await settle()
        try:
            yield mover
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


# --- Sharing ---


async def test_each_says_how_many_sockets_it_has() -> None:
    async with sharing(3) as mover:
        assert json.loads(mover.store.said["me"]) == {"sockets": 3, "draining": False}
        await mover.go(0)
        await asyncio.sleep(SAY_S + 1)
        assert json.loads(mover.store.said["me"])["sockets"] == 2
        await mover.moves.leave()
        assert "me" not in mover.store.said


async def test_the_excess_is_asked_ten_a_second_and_those_first_who_were_here_first() -> None:
    async with sharing(130) as mover:
        mover.other("other", 0)
        await asyncio.sleep(SAY_S + 0.5)
        assert mover.asked() == list(range(10))
        assert mover.tabs[0].all("move") == [{"t": "move", "within_s": WITHIN_S}]
        await asyncio.sleep(1)
        assert mover.asked() == list(range(20))
        await asyncio.sleep(JUDGE_S - 4)
        assert len(mover.asked()) == 130 - (65 + 25), "down to half-way between the mean and what is too much"
        assert mover.counted("share") == len(mover.asked())


async def test_with_no_router_that_takes_them_nobody_is_asked() -> None:
    async with sharing(130) as mover:
        mover.other("other", 0, draining=True)
        await asyncio.sleep(3 * SAY_S)
        assert mover.asked() == []


async def test_while_redis_is_away_nobody_is_asked() -> None:
    async with sharing(130) as mover:
        mover.other("other", 0)
        mover.store.refusing = True
        await asyncio.sleep(3 * SAY_S)
        mover.store.refusing, mover.store.held = False, True
        await asyncio.sleep(3 * SAY_S)
        assert mover.asked() == []
        mover.store.held = False
        await asyncio.sleep(2 * SAY_S)
        assert mover.asked()


async def test_what_another_router_says_may_be_nonsense() -> None:
    async with sharing(130) as mover:
        mover.store.said["other"] = b"{"
        await asyncio.sleep(2 * SAY_S)
        mover.other("other", 0)
        await asyncio.sleep(2 * SAY_S)
        assert mover.asked()


async def test_off_by_its_setting() -> None:
    async with sharing(130, balance_factor=0.0) as mover:
        mover.other("other", 0)
        await asyncio.sleep(3 * SAY_S)
        assert mover.asked() == []


async def test_who_has_an_operation_on_its_way_or_was_not_welcomed_is_passed_over() -> None:
    async with sharing(130) as mover:
        mover.b.host.silent = (link.Submit,)
        mover.tabs[0].op(1)
        assert not mover.tabs[0].connection.idle
        mover.b.connect()
        mover.other("other", 0)
        await asyncio.sleep(SAY_S + 0.5)
        assert mover.asked() == list(range(1, 11))


async def test_nobody_is_asked_again_soon_and_clients_that_come_back_end_it(logged: list[Any]) -> None:
    async with sharing(130) as mover:
        mover.other("other", 0)
        returned: set[int] = set()
        for _ in range(60):
            await asyncio.sleep(1)
            now = set(mover.asked())
            await mover.come_back(*(now - returned))
            returned |= now
        assert len(returned) >= 100
        assert mover.counted("share") == len(returned), "each once"
        warnings = [event for event in logged if event["log_level"] == "warning"]
        assert len(warnings) == 1
        assert "not by a hash" in warnings[0]["event"]
        assert warnings[0]["here"] == warnings[0]["asked"]
        asked = mover.counted("share")
        await asyncio.sleep(AGAIN_S + 60)
        assert mover.counted("share") == asked


async def test_clients_that_come_back_by_chance_are_no_reason_to_end_it(logged: list[Any]) -> None:
    async with sharing(400) as mover:
        mover.other("other", 0)
        done: set[int] = set()
        for _ in range(120):
            await asyncio.sleep(1)
            for number in set(mover.asked()) - done:
                done.add(number)
                await (mover.come_back(number) if number % 2 else mover.go(number))
            mover.other("other", 400 - len(mover.b.router.connections))
        assert len(mover.b.router.connections) <= 250
        assert not [event for event in logged if event["log_level"] == "warning"]


# --- Draining ---


async def test_all_are_asked_as_fast_as_the_others_let_in_and_then_it_is_over() -> None:
    async with bench() as b:
        mover = Mover(b)  # 40 a second, of which three quarters
        await mover.join(60)
        mover.other("other", 5)
        assert await mover.moves.announce_drain()
        assert json.loads(mover.store.said["me"]) == {"sockets": 60, "draining": True}
        began = b.router.now()
        draining = asyncio.create_task(mover.moves.drain())
        gone: set[int] = set()
        while not draining.done():
            asked = set(mover.asked())
            assert len(asked) <= 30 * (b.router.now() - began) + 8
            await mover.go(*(asked - gone))
            gone |= asked
            await asyncio.sleep(0.1)
        assert mover.asked() == list(range(60)), "each once"
        assert b.router.now() - began < 4
        first, last = mover.tabs[0].all("move")[0], mover.tabs[59].all("move")[0]
        assert 12 < last["within_s"] < first["within_s"] < 15
        assert mover.counted("drain") == 60


async def test_who_does_not_go_is_waited_for_until_the_time_is_over() -> None:
    async with bench() as b:
        mover = Mover(b)
        await mover.join(2)
        mover.other("other")
        assert await mover.moves.announce_drain()
        began = b.router.now()
        await mover.moves.drain()
        assert 15 <= b.router.now() - began < 15.5
        assert mover.asked() == [0, 1]


async def test_who_was_asked_to_share_is_asked_again() -> None:
    async with sharing(130) as mover:
        mover.other("other", 0)
        await asyncio.sleep(SAY_S + 0.5)
        assert mover.asked()
        assert await mover.moves.announce_drain()
        await mover.moves.drain()
        assert len(mover.tabs[0].all("move")) == 2


async def test_with_nowhere_to_go_there_is_no_drain() -> None:
    async with bench() as b:
        mover = Mover(b)
        await mover.join(1)
        assert not await mover.moves.announce_drain()
        mover.other("other", draining=True)
        assert not await mover.moves.announce_drain()
        mover.other("another")
        assert await mover.moves.announce_drain()
        mover.store.refusing = True
        assert not await mover.moves.announce_drain()
        assert not await Mover(b, drain_s=0.0).moves.announce_drain()


async def test_routers_that_stop_together_hear_of_each_other_before_anybody_is_asked() -> None:
    async with bench() as b:
        mover = Mover(b)
        await mover.join(5)
        mover.other("other")
        assert await mover.moves.announce_drain()
        mover.other("other", draining=True)
        began = b.router.now()
        await mover.moves.drain()
        assert b.router.now() - began < 0.5
        assert mover.asked() == []


async def test_several_that_drain_share_what_the_others_let_in() -> None:
    async with bench() as b:
        mover = Mover(b)
        await mover.join(100)
        for name in ("one", "two", "three"):
            mover.other(name, draining=True)
        mover.other("ready")
        assert await mover.moves.announce_drain()
        draining = asyncio.create_task(mover.moves.drain())
        await asyncio.sleep(4)
        assert 25 <= len(mover.asked()) <= 32
        draining.cancel()
