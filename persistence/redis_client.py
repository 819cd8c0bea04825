"""Clients of Redis, one kind for each use, and what their errors mean.

Whoever appends uses a line, which never retries by itself: a retry after a lost reply would write twice. Clients may
retry, for what they send is the same when it is done twice. The protocol is fixed at RESP2: answers keep one shape,
and redis-py turns on nothing by itself.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from hiredis import pack_command
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


def shared_client(url: str, timeout_s: float = TIMEOUT_S, connections: int = POOL_CONNECTIONS) -> Redis:
    """A small pool for reads and for writes that may be done twice. Whoever comes too late waits for a connection.

    Its commands are run by `execute`, or inside of `answering`, which keep to the limit of time. That of redis-py is
    not used: on Python 3.11 it is asyncio.wait_for, which loses a cancellation that comes in the wrong moment. The
    task then goes on for ever, and whoever cancelled it waits for it."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=timeout_s,
        protocol=PROTOCOL,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), RETRIES),
        socket_timeout=None,
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


@asynccontextmanager
async def answering(client: Redis) -> AsyncIterator[None]:
    """What is asked of a shared client inside has one deadline; troubles that pass are Unavailable."""
    with unavailable():
        async with asyncio.timeout(getattr(client.connection_pool, "timeout", TIMEOUT_S)):
            yield


async def execute(client: Redis, command: str, *arguments: Argument) -> Any:
    """Run a command; the reply comes as the server sends it. Raises Unavailable."""
    # The name as bytes: redis-py rebuilds the replies of commands that it knows by their text.
    async with answering(client):
        return await client.execute_command(command.encode(), *arguments)  # type: ignore[no-untyped-call]


class Line:
    """One connection by itself, for one task at a time, which sends nothing twice.

    Each exchange is one write and has one deadline. After any error the connection is given up, so that a late reply is
    never taken for the next one's, and the next exchange connects again."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        self._connection = connection_of(url, timeout_s)
        self._timeout_s = timeout_s

    async def exchange(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """The replies, some of which may be exceptions. Each word of a command is an argument of its own. Raises when
        the outcome of all is unknown (see `passes`)."""
        connection = self._connection
        try:
            async with asyncio.timeout(self._timeout_s):
                if connection.is_connected and await connection.can_read():
                    await connection.disconnect(nowait=True)  # it was ended while nobody used it
                if not connection.is_connected:
                    await connection.connect()  # type: ignore[no-untyped-call]
                # Packed in C: redis-py's own packing took a tenth of an owner's time.
                await connection.send_packed_command([_packed(command) for command in commands])
                return [await _reply(connection) for _ in commands]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise

    async def aclose(self) -> None:
        await self._connection.disconnect(nowait=True)


def _packed(command: Sequence[Argument]) -> bytes:
    packed: bytes = pack_command(tuple(command))  # type: ignore[arg-type]  # its stub takes a tuple of one
    return packed


async def _reply(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def connection_of(url: str, timeout_s: float = TIMEOUT_S) -> AbstractConnection:
    """One connection, not connected yet, which does not retry. Its owner watches over it, with deadlines of his own:
    redis-py's cost a task for each write."""
    pool = ConnectionPool.from_url(
        url,
        protocol=PROTOCOL,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=None,
        socket_connect_timeout=timeout_s,
    )
    connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
    return connection
