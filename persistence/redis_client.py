"""Clients of Redis, one kind for each use, and what their errors mean.

An appending client never retries by itself: a retry after a lost reply would write twice. The others may, for what
they send is the same when it is done twice. The protocol is fixed at RESP2: answers keep one shape, and redis-py turns
on nothing by itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from persistence.records import Unavailable

Argument = str | bytes | int

PROTOCOL: Final = 2
TIMEOUT_S: Final = 5.0
POOL_CONNECTIONS: Final = 8
RETRIES: Final = 2

# Refusals that pass: out of memory, a disk that is full, a failover or a start under way, a script that runs too long.
_PASSING: Final = frozenset(
    {"OOM", "MISCONF", "READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "BUSY"}
)


def append_client(url: str, timeout_s: float = TIMEOUT_S) -> Redis:
    """One connection and no retries: for whoever must know which of his writes may have happened."""
    pool = ConnectionPool.from_url(
        url,
        max_connections=1,
        protocol=PROTOCOL,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
    )
    return Redis.from_pool(pool)


def shared_client(url: str, timeout_s: float = TIMEOUT_S, connections: int = POOL_CONNECTIONS) -> Redis:
    """A small pool for reads and for writes that may be done twice. Whoever comes too late waits for a connection."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=timeout_s,
        protocol=PROTOCOL,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), RETRIES),
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
    )
    return Redis.from_pool(pool)


def passes(error: Exception) -> bool:
    """Whether the error is a trouble that passes, not a mistake of ours."""
    if isinstance(error, ResponseError):
        code = error.status_code or str(error).split(" ", 1)[0]
        return code in _PASSING
    return isinstance(error, RedisConnectionError | RedisTimeoutError | OSError)


@contextmanager
def unavailable() -> Iterator[None]:
    """Turn troubles that pass into Unavailable; everything else is a mistake and surfaces."""
    try:
        yield
    except Exception as error:
        if passes(error):
            raise Unavailable(f"Redis: {error}") from error
        raise


async def execute(client: Redis, command: str, *arguments: Argument) -> Any:
    """Run a command; the reply comes as the server sends it. Raises Unavailable."""
    # The name as bytes: redis-py rebuilds the replies of commands that it knows by their text.
    with unavailable():
        return await client.execute_command(command.encode(), *arguments)  # type: ignore[no-untyped-call]


def connection_of(url: str, timeout_s: float = TIMEOUT_S) -> AbstractConnection:
    """One connection by itself, not connected yet, which does not retry: for whoever watches over it."""
    pool = ConnectionPool.from_url(
        url,
        protocol=PROTOCOL,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
    )
    connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
    return connection
