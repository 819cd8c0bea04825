"""Is the server that we were given what the durability level promises? Checked at start, in words for the operator.

A level that the server does not keep would be a lie to every client, so it is refused. What cannot be read (a managed
server that hides its configuration) is a warning.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, get_args

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from persistence.records import ConfigurationError
from persistence.redis_client import execute

Durability = Literal["memory", "process", "fsync", "replica"]

FLOORS: Final = {"Redis": (7, 2), "Valkey": (8, 0)}
_FSYNC: Final = {"process": ("everysec", "always"), "fsync": ("always",), "replica": ("always",)}
_SETTINGS: Final = ("appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy")


async def check_server(client: Redis, durability: Durability, replicas: int = 1) -> Sequence[str]:
    """Warnings. Raises ConfigurationError for a server that does not do, and Unavailable. `replicas` are to have what
    is acknowledged at durability `replica`."""
    if durability not in get_args(Durability):
        raise ConfigurationError(f"Durability {durability!r} is not one of {', '.join(get_args(Durability))}.")
    info = _parse_info(await execute(client, "INFO"))
    _check_version(info)
    _check_role(info)
    warnings = [*_check_writing(info), *(_check_replicas(info, replicas) if durability == "replica" else [])]
    try:
        settings = await _settings(client)
    except ResponseError:  # renamed, or not allowed to us
        return [*warnings, *_check_hidden(info, durability)]
    return [*warnings, *_check_settings(settings, durability)]


def _parse_info(reply: bytes) -> Mapping[str, str]:
    lines = (line.partition(":") for line in reply.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in lines if colon}


async def _settings(client: Redis) -> Mapping[str, str]:
    reply = await execute(client, "CONFIG GET", *_SETTINGS)
    return {name.decode(): value.decode() for name, value in zip(reply[::2], reply[1::2], strict=True)}


def _check_version(info: Mapping[str, str]) -> None:
    # Valkey says redis_version 7.2.4 for old clients' sake.
    kind = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info.get("redis_version", "of an unknown version")
    number = re.match(r"(\d+)\.(\d+)", version)
    if number is None or (int(number[1]), int(number[2])) < FLOORS[kind]:
        raise ConfigurationError(
            f"The server is {kind} {version}. Coscribe needs Redis 7.2 or Valkey 8.0, or newer: upgrade it, or leave "
            "the address out and let Coscribe start the one that it brings along."
        )


def _check_role(info: Mapping[str, str]) -> None:
    if info.get("role") == "slave":
        raise ConfigurationError("The Redis server is a replica, which takes no writes: give the primary's address.")
    if info.get("cluster_enabled") == "1":
        raise ConfigurationError("The Redis server runs in cluster mode, which is not supported yet: give a plain one.")


def _check_replicas(info: Mapping[str, str], wanted: int) -> Sequence[str]:
    connected = int(info.get("connected_slaves", "0"))
    if connected >= wanted:
        return []
    return [
        f"Durability 'replica' needs {wanted} replicas with an append-only file, and Redis has {connected}: no edit is "
        "acknowledged until they are there."
    ]


def _check_writing(info: Mapping[str, str]) -> Sequence[str]:
    if info.get("aof_last_write_status", "ok") == "ok":
        return []
    return ["Redis could not write its append-only file and refuses edits: is its disk full?"]


def _check_settings(settings: Mapping[str, str], durability: Durability) -> Sequence[str]:
    policy = settings.get("maxmemory-policy", "noeviction")
    if policy != "noeviction":
        raise ConfigurationError(
            f"Redis may throw away edits when its memory is full (maxmemory-policy {policy}). "
            "Say: CONFIG SET maxmemory-policy noeviction, and put it into the server's configuration file."
        )
    wanted = _FSYNC.get(durability)
    if wanted is None:
        return []
    if settings.get("appendonly") != "yes":
        raise ConfigurationError(
            f"Durability {durability!r} needs the append-only file, and Redis runs with appendonly no: what it has "
            "would be gone when it ends. Say: CONFIG SET appendonly yes, and put it into the server's configuration "
            "file; or set the durability to 'memory'."
        )
    fsync = settings.get("appendfsync")
    if fsync not in wanted:
        weaker = "; or set the durability to 'process', which may lose the last second" if fsync == "everysec" else ""
        raise ConfigurationError(
            f"Durability {durability!r} needs appendfsync {' or '.join(wanted)}, and Redis runs with {fsync}. Say: "
            f"CONFIG SET appendfsync {wanted[0]}, and put it into the server's configuration file{weaker}."
        )
    if wanted == ("always",) and settings.get("no-appendfsync-on-rewrite") == "yes":
        raise ConfigurationError(
            f"Durability {durability!r} is not kept while Redis rewrites its append-only file, for it runs with "
            "no-appendfsync-on-rewrite yes. Say: CONFIG SET no-appendfsync-on-rewrite no."
        )
    return []


def _check_hidden(info: Mapping[str, str], durability: Durability) -> Sequence[str]:
    """The server does not show its configuration, only whether there is an append-only file."""
    policy = info.get("maxmemory_policy", "noeviction")
    warnings = list(_check_settings({"maxmemory-policy": policy}, "memory"))
    if durability == "memory":
        return warnings
    if info.get("aof_enabled") != "1":
        _check_settings({"appendonly": "no"}, durability)
    return [
        *warnings,
        f"Redis does not show its configuration (CONFIG GET is refused): whether it keeps durability {durability!r} "
        f"cannot be checked. It needs appendfsync {' or '.join(_FSYNC[durability])}.",
    ]
