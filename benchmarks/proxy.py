"""What becomes of one document's people when a front proxy spreads them over routers, and when it does not.

python -m benchmarks.proxy
python -m benchmarks.proxy --people 60 --typists 10 --edits 100 --rounds 3 --json

Every way has the same people, edits and pace, and stores, host and routers of its own. People and the host run in this
process, which takes more CPU than the routers do: figures compare the ways, and are no bound of a router.
"""

import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis
import uvloop

from benchmarks.report import Figure, parser, show
from cluster.processes import descendants
from coscribe.client import DocumentClient
from coscribe.ot import Delta
from tests.support.cluster import Cluster, cluster
from tests.support.nginx import HASH, front_proxy
from tests.support.ports import free_port
from tests.support.router_process import RouterProcess, router_processes
from tests.support.services import Postgres, Valkey, running, short_folder

ROUTERS: Final = 3
PAUSE_S: Final = 0.1  # between two edits of one typist
TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
PROXIES: Final = {"hash": HASH, "round_robin": "", "least_conn": "    least_conn;\n"}
ONE_PORT: Final = "one_port"
WORDS: Final = {
    "hash": "nginx, hash on the document id",
    "round_robin": "nginx, round robin",
    "least_conn": "nginx, least_conn",
    ONE_PORT: "no proxy, all routers on one port",
}


@dataclass(frozen=True, slots=True)
class Found:
    rooms: int
    batches: int  # that the owner published
    router_cpu_ms: float  # of all routers, for an edit with its deliveries
    nginx_cpu_ms: float


@dataclass(frozen=True, slots=True)
class Crowd:
    people: int
    typists: int
    edits: int  # of each typist

    @property
    def all_edits(self) -> int:
        return self.typists * self.edits


@contextlib.asynccontextmanager
async def routed(system: Cluster, way: str, folder: Path) -> AsyncIterator[tuple[str, list[RouterProcess], int | None]]:
    """Where people connect, the routers, and the process of nginx."""
    one_port = {"port": free_port()} if way == ONE_PORT else {}
    all_settings = [system.router_settings(**one_port) for _ in range(ROUTERS)]
    async with router_processes(all_settings, folder) as routers:
        if way == ONE_PORT:
            yield routers[0].url, routers, None
            return
        async with front_proxy([settings.port for settings in all_settings], {HASH: PROXIES[way]}) as nginx:
            assert nginx.process is not None
            yield nginx.url, routers, nginx.process.pid


async def measure(way: str, crowd: Crowd, valkey: Valkey, postgres: Postgres, folder: Path) -> Found:
    valkey.clear()
    await postgres.clear()
    async with (
        cluster(valkey.url, postgres.url, folder / "data", routers=0) as system,
        routed(system, way, folder) as (url, routers, nginx),
        contextlib.AsyncExitStack() as stack,
    ):
        assert system.http is not None
        people = []
        for number in range(crowd.people):
            token = system.token(f"user-{number}")
            people.append(await stack.enter_async_context(DocumentClient(system.http, url, "lesson", token=token)))
        await asyncio.gather(*(person.joined() for person in people))
        with redis.Redis.from_url(valkey.url) as store:
            [channel] = store.pubsub_channels("*lesson*:bus")
            [(_, rooms)] = store.pubsub_numsub(channel)
            published = _published(store)
            of_routers, of_nginx = _cpu_s([router.pid for router in routers]), _cpu_s(_tree(nginx))
            await asyncio.gather(*(_type(*each, crowd) for each in enumerate(people[: crowd.typists])))
            for person in people:
                await person.wait_for(lambda person=person: person.content.length == crowd.all_edits + 1)  # type: ignore[misc]
            assert all(person.content == people[0].content for person in people)
            of_routers = _cpu_s([router.pid for router in routers]) - of_routers
            of_nginx = _cpu_s(_tree(nginx)) - of_nginx
            ms = 1000 / crowd.all_edits
            return Found(rooms, _published(store) - published, of_routers * ms, of_nginx * ms)


async def _type(number: int, person: DocumentClient, crowd: Crowd) -> None:
    """At a pace, so that every way has the same to do in the same time; typists one after the other."""
    began = time.monotonic() + PAUSE_S * number / crowd.typists
    for edit in range(crowd.edits):
        await asyncio.sleep(began + edit * PAUSE_S - time.monotonic())
        person.edit(Delta.replace(person.content.length - 1, 0, "abcdefghij"[edit % 10]))
    await person.settled()


def _published(store: redis.Redis) -> int:
    return int(store.info("commandstats")["cmdstat_publish"]["calls"])


def _tree(pid: int | None) -> list[int]:
    return [] if pid is None else [pid, *(process.pid for process in descendants(pid))]


def _cpu_s(pids: list[int]) -> float:
    """User and system time so far."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) * TICK_S


def run(crowd: Crowd, rounds: int) -> dict[str, list[Found]]:
    """The ways in turn, so that a busy minute of the machine is nobody's alone."""
    found: dict[str, list[Found]] = {way: [] for way in WORDS}
    with (
        short_folder() as one, short_folder() as other, running(Valkey(one)) as valkey,
        running(Postgres(other)) as postgres,
    ):  # fmt: skip
        for _ in range(rounds):
            for way in WORDS:
                with tempfile.TemporaryDirectory(prefix="coscribe-proxy-") as folder:
                    found[way].append(uvloop.run(measure(way, crowd, valkey, postgres, Path(folder))))
    return found


def main() -> int:
    options_parser = parser("proxy", __doc__ or "")
    options_parser.add_argument("--people", type=int, default=60, help="clients of the one document (default 60)")
    options_parser.add_argument("--typists", type=int, default=10, help="of these type (default 10)")
    options_parser.add_argument(
        "--edits", type=int, default=100, help="edits of each typist, ten a second (default 100)"
    )
    options_parser.add_argument("--rounds", type=int, default=3, help="times that each way is measured (default 3)")
    options = options_parser.parse_args()
    found = run(Crowd(options.people, options.typists, options.edits), options.rounds)
    figures = []
    for way, measured in found.items():
        rows: dict[str, tuple[str, list[float]]] = {
            "rooms": ("rooms of the document", [each.rooms for each in measured]),
            "decoded": ("messages that routers took from Redis", [each.batches * each.rooms for each in measured]),
            "router_ms": ("CPU of all routers for an edit, ms", [each.router_cpu_ms for each in measured]),
            "nginx_ms": ("CPU of nginx for an edit, ms", [each.nginx_cpu_ms for each in measured]),
        }
        figures += [
            Figure(f"{way}_{key}", round(statistics.median(values), 2), f"{WORDS[way]}: {words}")
            for key, (words, values) in rows.items()
        ]
    title = f"One document, {options.people} people, {ROUTERS} routers: median of {options.rounds} rounds"
    show(title, figures, as_json=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
