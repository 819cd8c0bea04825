"""`async def` tests of the router run on a loop with virtual time."""

import asyncio
import gc
import inspect

import pytest

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

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())
        gc.collect()  # a task whose failure nobody looked at says so when it goes
    assert not unheard, "\n".join(unheard)
    return True
