"""`async def` tests of the router run on a loop with virtual time."""

import asyncio
import gc
import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from tests.router.loop import VirtualLoop

VIRTUAL_TIMEOUT_S = 3600


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in wanted}
    unheard: list[str] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: unheard.append(f"{context['message']}: {context}"))
        async with asyncio.timeout(VIRTUAL_TIMEOUT_S):
            await pyfuncitem.obj(**arguments)

    gc.freeze()  # only what the test itself makes is looked through at its end
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())
        gc.collect()  # a task whose failure nobody looked at says so when it goes
    gc.unfreeze()
    assert not unheard, "\n".join(unheard)
    return True


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    """What the router logs, as data: writing a traceback takes longer than the test."""
    with structlog.testing.capture_logs() as events:
        yield events
