"""Settings: from environment variables `COSCRIBE_…`, or from the command line where a command offers them.

`coscribe up` resolves them once (`resolved`) and hands them to its children as an environment, never on a command line,
which every user of the machine can read.
"""

import difflib
import ipaddress
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from cluster.data_folder import CannotStart, secret

PREFIX: Final = "COSCRIBE_"
# Of the test run, of the build, and of `up` for its children.
NOT_SETTINGS: Final = {"COSCRIBE_REQUIRE", "COSCRIBE_EXPECT_ENGINE", "COSCRIBE_ENGINE", "COSCRIBE_RUNTIME"}
MOST_LOCAL_HOSTS: Final = 8
LONGEST_DRAIN_S: Final = 120.0
CONTROLLER: Final = "controller"
KEPT_SECRETS: Final = ("token_secret", "cluster_secret")
SHORTEST_SECRET: Final = 32  # characters; HS256 wants 256 bits

Durability = Literal["memory", "process", "fsync", "replica"]
DURABILITY_WORDS: Final[dict[Durability, str]] = {
    "memory": "edits live in memory only; for tests",
    "process": "an edit survives a crash of Coscribe; a power cut can lose a second",
    "fsync": "an edit is on disk before anyone is told that it is accepted",
    "replica": "an edit is on disk here and on replicas before anyone is told",
}


def _hosts() -> int:
    return max(1, min(os.cpu_count() or 1, MOST_LOCAL_HOSTS))


class Settings(BaseSettings):
    """Everything an operator can set. `limit_…` bound what one client may ask for."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, env_ignore_empty=True)

    data: Path = Field(Path(".coscribe"), description="folder for everything that Coscribe keeps")
    bind: str = Field("127.0.0.1", description="address on which routers listen")
    port: int = Field(8080, ge=1, le=65535, description="port on which routers listen")
    routers: int = Field(1, ge=1, le=64, description="router processes, all on the one port")
    hosts: int = Field(
        default_factory=_hosts, ge=1, le=256, description="shard hosts; by default one a core, at most 8"
    )
    host_bind: str = Field("127.0.0.1", description="address on which shard hosts listen, and where routers find them")
    redis_url: SecretStr | None = Field(None, description="a Redis 7.2 or Valkey 8 of yours; without it, a private one")
    postgres_url: SecretStr | None = Field(None, description="a Postgres 15 of yours; without it, a private one")
    ray_address: str | None = Field(None, description="a Ray cluster of yours; without it, a private one")
    durability: Durability = Field("fsync", description="what an acknowledged edit survives")
    replicas: int = Field(1, ge=1, le=16, description="Redis replicas that must have an edit, at durability replica")
    token_secret: SecretStr | None = Field(None, description="key of access tokens; without it, a random one is kept")
    token_issuer: str = Field("coscribe", description="`iss` that access tokens must have")
    token_audience: str = Field("coscribe", description="`aud` that access tokens must have")
    cluster_secret: SecretStr | None = Field(
        None, description="what routers show to hosts; without it, a random one is kept"
    )
    guests: bool | None = Field(None, description="let people in without a token; by default only on loopback")
    origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="web origins besides our own whose pages may connect, with commas between"
    )
    create_on_open: bool = Field(True, description="opening an unknown document creates it")
    heartbeat_s: float = Field(20.0, ge=1, le=300, description="silence after which a client pings")
    lease_ttl_s: float = Field(3.0, ge=1, le=60, description="after this much silence a host's sections move away")
    drain_s: float = Field(
        15.0, ge=0, le=LONGEST_DRAIN_S, description="a router that stops gives clients so long to move"
    )
    balance_factor: float = Field(
        1.25, ge=0, le=100, description="a router with so many times the mean of sockets asks clients to move; 0 never"
    )
    limit_frame_bytes: int = Field(1 << 20, ge=1024, description="longest WebSocket message")
    limit_op_bytes: int = Field(256 << 10, ge=256, description="longest operation")
    limit_op_components: int = Field(10_000, ge=10, description="most components of an operation")
    limit_attribute_bytes: int = Field(8192, ge=64, description="longest attributes of one component")
    limit_attribute_depth: int = Field(16, ge=1, le=64, description="deepest nesting of attributes and embeds")
    limit_document_bytes: int = Field(8 << 20, ge=1024, description="largest content of a document")
    limit_backlog_bytes: int = Field(256 << 20, ge=1 << 20, description="what may wait for Postgres on one host")
    limit_disk_free_bytes: int = Field(
        512 << 20, ge=0, description="with less free on the disk of the data folder, edits are refused"
    )
    limit_presence_bytes: int = Field(4096, ge=64, description="longest presence state")
    limit_ops_per_s: float = Field(500.0, gt=0, description="operations a second of one client")
    limit_user_ops_per_s: float = Field(5_000.0, gt=0, description="operations a second of one user, at one router")
    limit_document_ops_per_s: float = Field(
        10_000.0, gt=0, description="operations a second of one document, at one router"
    )
    limit_joins_per_s: float = Field(400.0, gt=0, description="handshakes a second of one router")
    limit_sockets: int = Field(20_000, ge=0, description="sockets of one router; 0 does not limit them")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="what is logged")
    log_format: Literal["text", "json"] = Field("text", description="how logs are written")

    @field_validator("origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.guests and not is_loopback(self.bind):
            raise ValueError(
                f"guests are only let in on loopback, and bind is {self.bind}: "
                "everyone who reaches it could read and write everything. Set COSCRIBE_GUESTS=false and give out tokens"
            )
        for name in KEPT_SECRETS:
            value: SecretStr | None = getattr(self, name)
            if value and len(value.get_secret_value()) < SHORTEST_SECRET:
                raise ValueError(f"{name} is too short: it needs {SHORTEST_SECRET} characters or more")
        if 0 < self.balance_factor <= 1:
            raise ValueError("balance_factor is more than 1, or 0 for never: a router with the mean has its share")
        if self.durability == "replica" and self.redis_url is None:
            raise ValueError("durability replica needs a Redis with replicas: give its address as redis_url")
        return self

    def effective(self) -> "Settings":
        """As they will be used; secrets and the addresses of private servers are still open."""
        guests = is_loopback(self.bind) if self.guests is None else self.guests
        return self.model_copy(update={"data": self.data.absolute(), "guests": guests})

    def resolved(self) -> "Settings":
        """With nothing left open but the addresses of private servers: secrets come from the data folder."""
        found = self.effective()
        secrets = {name: SecretStr(secret(found.data, name)) for name in KEPT_SECRETS if getattr(self, name) is None}
        return found.model_copy(update=secrets)

    def environment(self) -> dict[str, str]:
        """The variables from which a child reads these settings."""
        return {PREFIX + name.upper(): text for name, text in self.shown(secrets=True) if text is not None}

    def shown(self, *, secrets: bool = False) -> Iterator[tuple[str, str | None]]:
        """Every setting as text, None where it is open. Secrets are hidden unless asked for."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, SecretStr):
                yield name, value.get_secret_value() if secrets else "(hidden)"
            elif isinstance(value, bool):
                yield name, str(value).lower()
            elif isinstance(value, tuple):
                yield name, ",".join(value) or None
            else:
                yield name, None if value is None else str(value)


def host_names(settings: Settings) -> list[str]:
    return [f"host-{slot}" for slot in range(settings.hosts)]


def load(**given: Any) -> Settings:
    """The settings, or CannotStart with one plain sentence. `given` (None: not given) goes before the environment."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise CannotStart(_sentence(error)) from None


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    words = str(first["msg"]).removeprefix("Value error, ")
    if not first["loc"]:
        return f"Settings do not fit: {words}."
    name = str(first["loc"][0])
    got = "" if "secret" in name or "url" in name else f" (it is {first['input']!r})"
    return f"The setting {name} ({PREFIX}{name.upper()}) does not fit: {words[0].lower()}{words[1:]}{got}."


def unknown(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that looks like a setting of ours and is none."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    sentences = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known | NOT_SETTINGS:
            near = difflib.get_close_matches(name, known, 1)
            hint = f": did you mean {near[0]}?" if near else "."
            sentences.append(f"{name} is not a setting{hint}")
    return sentences


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
