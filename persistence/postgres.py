"""Connections to Postgres, and what its errors mean."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import asyncpg

from persistence.records import Unavailable

POOL_CONNECTIONS: Final = 4
TIMEOUT_S: Final = 10.0
IDLE_CONNECTION_S: Final = 300.0

# Troubles that pass: a server that starts, stops or fails over, one that has no more memory, disk or connections, a
# conflict of transactions, a timeout. Anything else that Postgres says is a mistake of ours.
_PASSING: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.PostgresIOError,
    # What asyncpg says of a connection that the server ended while nobody used it, before it has noticed.
    asyncpg.InternalClientError,
    OSError,  # TimeoutError is one of them
)


def passes(error: Exception) -> bool:
    if isinstance(error, asyncpg.InterfaceError):
        # asyncpg says it so about a connection or a pool that is gone, and in the same class about wrong arguments.
        return "closed" in str(error) or "closing" in str(error)
    return isinstance(error, _PASSING)


@contextmanager
def unavailable() -> Iterator[None]:
    """Turn troubles that pass into Unavailable; everything else is a mistake and surfaces."""
    try:
        yield
    except Exception as error:
        if passes(error):
            raise Unavailable(f"Postgres: {type(error).__name__} {error}") from error
        raise


def session_settings(timeout_s: float, synchronous_commit: str) -> dict[str, str]:
    """What each of our sessions asks for. A commit that a crash of Postgres takes back would be lost for good, for
    the log is trimmed after it: a server that is set to that is overruled."""
    settings = {
        "application_name": "coscribe",
        "statement_timeout": f"{timeout_s * 1000:.0f}",
        "lock_timeout": f"{timeout_s * 1000:.0f}",
        "idle_in_transaction_session_timeout": f"{timeout_s * 1000:.0f}",
        "jit": "off",
    }
    if synchronous_commit == "off":
        settings["synchronous_commit"] = "on"
    return settings


async def open_pool(url: str, connections: int, timeout_s: float, synchronous_commit: str) -> Any:
    """Whoever asks connects again after a failure, and says so if that fails. A pool that keeps a least number of
    connections would try by itself, and log a traceback each time. Timeouts of ours are a little longer than the
    server's."""
    with unavailable():
        return await asyncpg.create_pool(
            url,
            min_size=0,
            max_size=connections,
            timeout=timeout_s,
            command_timeout=timeout_s * 1.2,
            max_inactive_connection_lifetime=IDLE_CONNECTION_S,
            server_settings=session_settings(timeout_s, synchronous_commit),
        )
