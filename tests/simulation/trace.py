"""What happened in a run: one line an event, and a hash of all lines, so that two runs of one seed can be compared.

The product's own log lines are taken up too. One that it writes because of an exception of ours is a failure.
"""

import asyncio
import hashlib
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog

from tests.simulation.loop import current_process


class Trace:
    def __init__(self, now: Callable[[], float]) -> None:
        self.lines: list[str] = []
        self._now = now

    def add(self, what: str, who: str = "", text: object = "") -> None:
        self.lines.append(f"{self._now():10.4f} {what:<12} {who:<12} {text}")

    @property
    def digest(self) -> str:
        return hashlib.blake2b("\n".join(self.lines).encode(), digest_size=8).hexdigest()


class ProductLog:
    """Takes up what the product logs while a run goes on. `failed` is told of exceptions."""

    def __init__(self, trace: Trace, failed: Callable[[str, BaseException | None], None]) -> None:
        self._trace, self._failed = trace, failed

    @contextmanager
    def listening(self) -> Iterator[None]:
        before = structlog.get_config()
        structlog.configure(
            processors=[self._take],
            wrapper_class=structlog.make_filtering_bound_logger(0),
            cache_logger_on_first_use=False,
        )
        try:
            yield
        finally:
            structlog.configure(**before)

    def _take(self, logger: object, level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        name = event.pop("event", "")
        error = event.pop("exc_info", None)
        process = current_process()
        who = process.name if process else ""
        details = " ".join(f"{key}={value}" for key, value in event.items() if key != "pid")
        self._trace.add(level, who, f"{name} {details}")
        if error and (process is None or process.alive):
            self._failed(f"{who}: {name}", error if isinstance(error, BaseException) else _handled())
        raise structlog.DropEvent


def _handled() -> BaseException | None:
    error = sys.exc_info()[1]
    return None if isinstance(error, asyncio.CancelledError) else error
