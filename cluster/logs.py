"""Logs: structlog's shape for our processes, and a bound on the files that children write."""

import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import Final, Literal, TextIO, cast

import structlog

LARGEST_LOG_BYTES: Final = 8 << 20  # two of them for each process


class Unfailing:
    """stderr, for a log: one that cannot be written, on a full disk, must not end who logs."""

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


def configure(level: str, log_format: Literal["text", "json"]) -> None:
    """Events as key=value, or JSON, on stderr."""
    renderer = (
        structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, Unfailing())),
        cache_logger_on_first_use=False,  # a cached logger would not hear of a later configuration; logging is rare
    )


def write_output_to(path: Path) -> None:
    """Send what this process prints to the end of a file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def begin_anew(path: Path) -> None:
    """Keep the log of the run before as `….1`. Nobody writes to it any more."""
    path.replace(path.with_name(path.name + ".1"))


def bound(path: Path, largest: int = LARGEST_LOG_BYTES) -> None:
    """Keep the newest part of a log that has grown too large as `….1`, and go on with an empty one.

    The writer holds the file open in append mode, so it is cut, not moved; a line written in between may be lost.
    Where the disk has no room for that it stays as it is."""
    try:
        if path.stat().st_size <= largest:
            return
        with path.open("rb") as file:
            file.seek(-largest, os.SEEK_END)
            path.with_name(path.name + ".1").write_bytes(file.read())
        os.truncate(path, 0)
    except OSError:
        return
