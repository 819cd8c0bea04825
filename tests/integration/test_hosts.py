"""Hosts come, go and stop while people type, and the two stores are killed: nothing that was typed is lost or doubled.

Real Redis and Postgres, real sockets; hosts and routers in this process."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from actors.host_server import RunningHost
from actors.upkeep import UpkeepSettings
from cluster.ring import Ring
from cluster.watcher import change_map
from coscribe.client import DocumentClient
from coscribe.names import SectionKey
from persistence import keys
from persistence.redis_client import shared_client
from tests.integration.typing import typing
from tests.persistence.proxy import bad_line
from tests.support.cluster import Cluster, cluster
from tests.support.services import Postgres, Valkey, follow, promote

pytestmark = pytest.mark.services

DOCUMENTS = [f"notes-{number}" for number in range(6)]
SOON = UpkeepSettings(look_every_s=0.05, flush_rest_ms=0, snapshot_entries=20)


def clients(system: Cluster, documents: list[str]) -> list[DocumentClient]:
    """Two of each document, on different routers."""
    routers = len(system.routers)
    return [
        system.client(document, user, router=number % routers)
        for number, user in enumerate(("ann", "bob"))
        for document in documents
    ]


def owners(ring: Ring) -> dict[str, str | None]:
    return {document: ring.owner(SectionKey(document, "", "0")) for document in DOCUMENTS}


def ring_of(system: Cluster) -> Ring:
    return next(iter(system.hosts.values()))._ring()


async def test_a_host_joins_while_people_type(redis_url: str, postgres_url: str, tmp_path: Path) -> None:
    async with cluster(redis_url, postgres_url, tmp_path, hosts=2, routers=2) as system:
        async with typing(clients(system, DOCUMENTS)):
            before = owners(ring_of(system))
            joined = await system.start_host("host-2")
            moved = {document for document, owner in owners(joined._ring()).items() if owner != before[document]}
            assert moved, "choose other names: nothing moves"
        assert {key.document for key in joined.host.sections} == moved
        active = [key.document for host in system.hosts.values() for key in host.host.sections]
        assert sorted(active) == DOCUMENTS


async def test_a_host_stops_while_people_type(redis_url: str, postgres_url: str, tmp_path: Path) -> None:
    async with cluster(redis_url, postgres_url, tmp_path, hosts=3, routers=2) as system:
        async with typing(clients(system, DOCUMENTS)):
            leaves = owners(ring_of(system))[DOCUMENTS[0]]
            assert leaves is not None
            stopped = system.hosts.pop(leaves)
            assert stopped.host.sections
            await stopped.stop()
            assert not stopped.host.sections
        active = [key.document for host in system.hosts.values() for key in host.host.sections]
        assert sorted(active) == DOCUMENTS


async def test_every_host_is_replaced_one_after_the_other(redis_url: str, postgres_url: str, tmp_path: Path) -> None:
    """With snapshots and trims in between, so that what an owner starts from is never the same."""
    async with cluster(redis_url, postgres_url, tmp_path, hosts=2) as system, typing(clients(system, DOCUMENTS[:3])):
        for number in range(4):
            await system.start_host(f"other-{number}", SOON)
            first = next(iter(system.hosts))
            await system.hosts.pop(first).stop()


@pytest.mark.parametrize("redis_forgets", [False, True], ids=["all is kept", "Redis is emptied"])
async def test_a_document_survives_stopping_and_starting_everything(
    redis_forgets: bool, valkey: Valkey, postgres_url: str, tmp_path: Path
) -> None:
    async with cluster(valkey.url, postgres_url, tmp_path / "first", hosts=2) as system:
        people = clients(system, DOCUMENTS[:2])
        async with typing(people):
            pass
        contents = {client.document: client.content for client in people}
        revisions = {client.document: client.session.revision() for client in people}
        read = {document: await system.read(document) for document in contents}
    if redis_forgets:
        valkey.clear()
    async with cluster(valkey.url, postgres_url, tmp_path / "second", hosts=1) as system:
        for document, content in contents.items():
            async with system.client(document) as ann:
                await ann.joined()
                assert ann.content == content
                assert ann.session.revision() == revisions[document]
            assert (await system.read(document))["delta"] == read[document]["delta"]
        async with typing([system.client("one-more")]):
            pass


# KEYS: a section's meta hash. ARGV: how many entries it is to forget, if it still has them. Built anew, as an older
# state is: a stream never takes back an id.
FORGET = """
local stream = string.gsub(KEYS[1], ':meta$', ':log')
local had = redis.call('XRANGE', stream, '-', '+')
local keep = math.max(#had - tonumber(ARGV[1]), 0)
if #had == 0 then
  return
end
local last = tonumber(string.match(had[1][1], '^%d+')) - 1 + keep
redis.call('DEL', stream)
for i = 1, keep do
  redis.call('XADD', stream, had[i][1], unpack(had[i][2]))
end
if keep == 0 and last > 0 then
  redis.call('XADD', stream, last .. '-0', 'm', '', 'e', '')
  redis.call('XDEL', stream, last .. '-0')
end
redis.call('HSET', KEYS[1], 'rev', last, 'batch', '')
"""


async def test_the_log_loses_its_end_while_people_type(redis_url: str, postgres_url: str, tmp_path: Path) -> None:
    """As after a failover to a replica that was behind. What was acknowledged is in the owners' windows."""
    async with (
        cluster(redis_url, postgres_url, tmp_path, hosts=2, routers=2) as system,
        shared_client(redis_url) as client,
    ):
        people = clients(system, DOCUMENTS)
        async with typing(people):
            for _ in range(3):
                for name in await client.keys(keys.EVERY_META):
                    await client.eval(FORGET, 1, name, 7)
                await asyncio.gather(*(more(person) for person in people))


async def test_redis_fails_over_to_its_replica_while_people_type(
    own_pair: tuple[Valkey, Valkey], postgres_url: str, tmp_path: Path
) -> None:
    """What the replica does not have, nobody was told of. Afterwards the two have changed places."""
    primary, replica = own_pair
    same_password(replica, primary)
    async with (
        bad_line(primary.url) as (line, url),
        cluster(url, postgres_url, tmp_path, hosts=2, routers=2, durability="replica") as system,
        typing(clients(system, DOCUMENTS)),
    ):
        primary.kill()
        promote(replica)
        line.lead_to(Path(replica.url.rpartition("@")[2]))
        line.cut()
        await primary.start()
        await asyncio.to_thread(follow, primary, replica)


def same_password(server: Valkey, other: Valkey) -> None:
    with redis.Redis.from_url(server.url) as client, redis.Redis.from_url(other.url) as theirs:
        password = theirs.connection_pool.connection_kwargs["password"]
        client.config_set("requirepass", password)
    path = server.url.rpartition("@")[2]
    assert server.service is not None
    server.service = replace(server.service, url=f"unix://:{password}@{path}")


async def more(person: DocumentClient) -> None:
    """Wait until there are some more entries."""
    wanted = person.session.revision() + 5
    await person.wait_for(lambda: person.session.revision() >= wanted)


async def test_redis_is_killed_and_comes_back_while_people_type(
    own_valkey: Valkey, postgres_url: str, tmp_path: Path
) -> None:
    """What was acknowledged before is there; what was on its way arrives once."""
    async with cluster(own_valkey.url, postgres_url, tmp_path, hosts=2) as system:
        people = clients(system, DOCUMENTS[:2])
        async with typing(people):
            acknowledged = {client.document: client.session.revision() for client in people}
            own_valkey.kill()
            await own_valkey.start()
            for host in system.hosts.values():
                for key, actor in list(host.host.sections.items()):
                    assert actor.section.committed_revision >= acknowledged[key.document]


@pytest.mark.parametrize("planned", [True, False], ids=["handed off", "taken over"])
async def test_documents_change_hands_while_postgres_is_down(
    planned: bool, redis_url: str, own_postgres: Postgres, tmp_path: Path
) -> None:
    async with cluster(redis_url, own_postgres.url, tmp_path) as system:
        await system.start_host("host-1", SOON)
        async with typing(clients(system, DOCUMENTS)):
            await until_live(system)
            own_postgres.kill()
            leaves = max(system.hosts, key=lambda name: len(system.hosts[name].host.sections))
            host = system.hosts.pop(leaves)
            if planned:
                await host.stop()
            else:
                await crash(host)
            # `typing` ends only after everybody has typed more, and checks that nothing is lost or doubled.
        active = [key.document for other in system.hosts.values() for key in other.host.sections]
        assert sorted(active) == DOCUMENTS
        await own_postgres.start()
        if not planned:
            await host.stop()


async def until_live(system: Cluster) -> None:
    """Every document has a live snapshot that its owner knows of."""

    def live() -> list[str]:
        actors = [actor for host in system.hosts.values() for actor in host.host.sections.values()]
        return sorted(actor.key.document for actor in actors if actor.live_revision is not None)

    async with asyncio.timeout(30):
        while live() != DOCUMENTS:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def crash(host: RunningHost) -> None:
    """It owns nothing any more, leaves nothing to anybody, and is removed from the map."""
    assert host._task is not None
    host._task.cancel()
    host.host.suspend()
    await change_map(host.map_store, lambda present: present.without_host(host.settings.name))


async def test_while_postgres_is_down_editing_goes_on(redis_url: str, own_postgres: Postgres, tmp_path: Path) -> None:
    async with cluster(redis_url, own_postgres.url, tmp_path, hosts=2) as system:
        async with typing(clients(system, DOCUMENTS[:2])):
            own_postgres.kill()
        await own_postgres.start()
        actors = [actor for host in system.hosts.values() for actor in host.host.sections.values()]
        assert len(actors) == 2
        async with asyncio.timeout(30):
            while any(actor.durable.revision < actor.section.committed_revision for actor in actors):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
