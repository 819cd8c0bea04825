"""Waiting for what a test expects of other processes."""

import asyncio
import time
from collections.abc import Callable


async def until(reached: Callable[[], object], timeout_s: float = 10) -> None:
    """Poll until it is so, or fail."""
    deadline = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < deadline, f"not reached in {timeout_s} s"
        await asyncio.sleep(0.005)
