"""A real nginx with the configuration of deploy/nginx in front of router processes: who comes where, what passes, and
what becomes of people when their router is killed."""

import asyncio
import contextlib
import re
import shutil
import signal
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path

import aiohttp
import pytest

from coscribe.client import DocumentClient
from coscribe.ot import Delta
from coscribe.protocol import SUBPROTOCOLS
from tests.cluster.waiting import until
from tests.integration.typing import typing
from tests.support.cluster import Cluster, cluster
from tests.support.nginx import HASH, Nginx, front_proxy
from tests.support.ports import free_port
from tests.support.required import cannot_run
from tests.support.router_process import RouterProcess, router_processes
from tests.support.services import short_folder

pytestmark = pytest.mark.services

REFUSED = [
    "/metrics", "/console", "/console/", "/healthz", "/readyz", "/v1/../metrics", "/v1/%2e%2e/metrics",
    "/static/..%2fmetrics", "//metrics", "/%6detrics", "/v1/./../console",
]  # fmt: skip
DOCUMENTS = [f"lesson-{number}" for number in range(16)]


class Front:
    """A cluster, two routers on ports of their own, and the proxy."""

    def __init__(self, system: Cluster, routers: list[RouterProcess], proxy: Nginx) -> None:
        self.system, self.routers, self.proxy = system, routers, proxy

    def client(self, document: str, user: str = "ann", url: str = "") -> DocumentClient:
        assert self.system.http is not None
        return DocumentClient(self.system.http, url or self.proxy.url, document, token=self.system.token(user))

    @contextlib.asynccontextmanager
    async def joined(self, documents: Iterable[str]) -> AsyncIterator[list[DocumentClient]]:
        """A client of each, one after the other."""
        async with contextlib.AsyncExitStack() as stack:
            clients = []
            for number, document in enumerate(documents):
                client = await stack.enter_async_context(self.client(document, f"user-{number}"))
                await client.joined()
                clients.append(client)
            yield clients

    async def gauges(self, name: str) -> list[int]:
        return [await router.gauge(name) for router in self.routers]


@contextlib.asynccontextmanager
async def front(
    redis_url: str, postgres_url: str, folder: Path, changes: Mapping[str, str] | None = None
) -> AsyncIterator[Front]:
    async with cluster(redis_url, postgres_url, folder / "data", routers=0, guests=True) as system:
        all_settings = [system.router_settings() for _ in range(2)]
        ports = [settings.port for settings in all_settings]
        async with router_processes(all_settings, folder) as routers, front_proxy(ports, changes) as proxy:
            yield Front(system, routers, proxy)


# --- Who comes where ---


async def test_all_people_of_a_document_come_to_one_router(redis_url: str, postgres_url: str, tmp_path: Path) -> None:
    async with front(redis_url, postgres_url, tmp_path) as at, at.joined(DOCUMENTS * 2) as clients:
        rooms = await at.gauges("coscribe_rooms")
        assert sum(rooms) == len(DOCUMENTS), "each document has one room"
        assert min(rooms) > 0, "documents are spread"
        assert await at.gauges("coscribe_sockets") == [2 * number for number in rooms]
        for ann, bob in zip(clients[:16], clients[16:], strict=True):
            ann.edit(Delta.replace(0, 0, "Hello"))
            bob.edit(Delta.replace(0, 0, "\U0001f600"))
            await ann.settled()
            await bob.settled()
            await ann.wait_for(lambda ann=ann, bob=bob: ann.content == bob.content)  # type: ignore[misc]
            assert ann.content.length == len("Hello") + 2 + 1


async def test_without_the_hash_a_document_has_a_room_on_each_router_and_works_as_well(
    redis_url: str, postgres_url: str, tmp_path: Path
) -> None:
    async with front(redis_url, postgres_url, tmp_path, {HASH: ""}) as at, at.joined(["notes"] * 6) as clients:
        assert await at.gauges("coscribe_rooms") == [1, 1]
        assert min(await at.gauges("coscribe_sockets")) > 0
        for number, client in enumerate(clients):
            client.edit(Delta.replace(0, 0, f"<{number}>"))
            await client.settled()
        for client in clients:
            await client.wait_for(lambda client=client: client.text == "<5><4><3><2><1><0>\n")  # type: ignore[misc]


# --- A router dies ---


async def test_people_of_a_killed_router_come_back_at_the_other_with_all_they_typed(
    redis_url: str, postgres_url: str, tmp_path: Path
) -> None:
    async with front(redis_url, postgres_url, tmp_path) as at:
        people = [at.client("notes", user) for user in ("ann", "bob", "eve")]
        async with typing(people):
            [theirs] = [router for router in at.routers if await router.gauge("coscribe_rooms")]
            [other] = [router for router in at.routers if router is not theirs]
            theirs.end(signal.SIGKILL)
            for person in people:
                await person.wait_for(lambda person=person: person.connects > 1 and person.session.synced)  # type: ignore[misc]
            assert (await other.gauge("coscribe_sockets"), await other.gauge("coscribe_rooms")) == (3, 1)
        async with at.joined(["notes"]) as [late]:
            assert late.content == people[0].content


async def test_whoever_would_come_to_a_dead_router_is_passed_to_the_other_and_waits_for_nothing(
    redis_url: str, postgres_url: str, tmp_path: Path
) -> None:
    async with front(redis_url, postgres_url, tmp_path) as at:
        at.routers[0].end(signal.SIGKILL)
        async with at.joined(DOCUMENTS) as clients:
            assert {client.connects for client in clients} == {1}
            assert await at.routers[1].gauge("coscribe_rooms") == len(DOCUMENTS)


async def test_people_of_a_router_that_stops_in_good_order_come_to_the_other(
    redis_url: str, postgres_url: str, tmp_path: Path
) -> None:
    async with front(redis_url, postgres_url, tmp_path) as at:
        people = [at.client("notes", user) for user in ("ann", "bob")]
        async with typing(people):
            [theirs] = [router for router in at.routers if await router.gauge("coscribe_rooms")]
            [other] = [router for router in at.routers if router is not theirs]
            await asyncio.to_thread(theirs.end)
            for person in people:
                await person.wait_for(lambda person=person: person.connects > 1 and person.session.synced)  # type: ignore[misc]
            assert await other.gauge("coscribe_sockets") == 2


async def test_another_list_of_routers_moves_people_when_they_connect_anew(
    redis_url: str, postgres_url: str, tmp_path: Path
) -> None:
    async with front(redis_url, postgres_url, tmp_path) as at, at.joined(["notes"]) as [ann]:
        [theirs] = [router for router in at.routers if await router.gauge("coscribe_rooms")]
        [other] = [router for router in at.routers if router is not theirs]
        await at.proxy.reload([other.settings.port])
        async with at.joined(["notes"]) as [bob]:
            assert await at.gauges("coscribe_sockets") == [1, 1], "who is connected stays, who comes goes to the other"
            ann.edit(Delta.replace(0, 0, "Hello"))
            await bob.wait_for(lambda: bob.text == "Hello\n")
            assert ann.connects == 1
            ann.drop()
            await ann.wait_for(lambda: ann.connects > 1 and ann.session.synced)
            assert await other.gauge("coscribe_sockets") == 2


# --- What passes ---


async def test_what_people_need_passes_and_what_operators_need_does_not(
    redis_url: str, postgres_url: str, tmp_path: Path
) -> None:
    async with front(redis_url, postgres_url, tmp_path) as at, aiohttp.ClientSession(at.proxy.url) as http:
        bearer = {"Authorization": f"Bearer {at.system.token()}"}
        async with http.post("/v1/auth/guest", json={"name": "Ann"}) as response:
            assert response.status == 201
            assert "coscribe_access" in response.cookies
        async with http.post("/v1/documents", json={"id": "notes"}, headers=bearer) as response:
            assert response.status == 201
            assert response.headers["Location"] == "/v1/documents/notes"
        async with http.get("/v1/documents/notes", headers=bearer) as response:
            assert response.status == 200
            assert (await response.json())["text"] == "\n"
        async with http.get("/", allow_redirects=False) as response:
            assert response.status == 302
            assert response.headers["Location"].startswith("/d/"), "on the host that was asked"
        async with http.get("/d/notes") as response:
            assert response.status == 200
            script = re.findall(r'src="(/static/[^"]+)"', await response.text())[0]
        async with http.get(script) as response:
            assert response.status == 200
            assert "immutable" in response.headers["Cache-Control"]
        for target in REFUSED:
            assert b" 404 " in await status_line(at.proxy, target), target


async def status_line(proxy: Nginx, target: str) -> bytes:
    """The first line of the answer to a target that is sent as it is written."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    line = await reader.readline()
    writer.close()
    return line


async def test_pages_of_the_host_that_people_see_may_connect_and_others_may_not(
    redis_url: str, postgres_url: str, tmp_path: Path
) -> None:
    async with front(redis_url, postgres_url, tmp_path) as at, aiohttp.ClientSession(at.proxy.url) as http:
        path, bearer = "/v1/documents/notes/socket", {"Authorization": f"Bearer {at.system.token()}"}
        names = list(SUBPROTOCOLS)
        # The port is a part of an origin; with $host in the place of $http_host this page would be refused.
        async with http.ws_connect(path, origin=at.proxy.url, headers=bearer, protocols=names) as socket:
            assert socket.protocol in SUBPROTOCOLS
        for origin in ("https://elsewhere.example", at.routers[0].url):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(path, origin=origin, headers=bearer, protocols=names)
            assert refused.value.status == 403


async def test_tickets_are_not_in_the_log_of_requests(redis_url: str, postgres_url: str, tmp_path: Path) -> None:
    async with front(redis_url, postgres_url, tmp_path) as at, aiohttp.ClientSession(at.proxy.url) as http:
        bearer = {"Authorization": f"Bearer {at.system.token()}"}
        async with http.post("/v1/auth/tickets", json={}, headers=bearer) as response:
            ticket = (await response.json())["ticket"]
        async with http.ws_connect(
            f"/v1/documents/notes/socket?ticket={ticket}", protocols=list(SUBPROTOCOLS)
        ) as socket:
            await socket.close()
        await until(lambda: "/v1/documents/notes/socket 101" in at.proxy.said)
        assert ticket not in at.proxy.said


def own_certificate(certificate: Path, key: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=own", "-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate, "-keyout", key],
        capture_output=True, check=True,
    )  # fmt: skip


async def test_tls_where_it_is_marked(redis_url: str, postgres_url: str, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        cannot_run("openssl", "there is no `openssl` on the PATH")
    with short_folder() as folder:
        certificate, key, port = folder / "own.pem", folder / "own.key", free_port()
        own_certificate(certificate, key)
        for path in (folder, key):
            path.chmod(0o755)  # nginx may be of another user than we are
        changes = {
            "#tls listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
            "#tls ssl_certificate /etc/ssl/docs.example.org.pem;": f"ssl_certificate {certificate};",
            "#tls ssl_certificate_key /etc/ssl/docs.example.org.key;": f"ssl_certificate_key {key};",
            "#tls proxy_cookie_flags": "proxy_cookie_flags",
        }
        trusting = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(certificate)))
        url = f"https://127.0.0.1:{port}"
        async with (
            front(redis_url, postgres_url, tmp_path, changes),
            aiohttp.ClientSession(url, connector=trusting, cookie_jar=aiohttp.CookieJar(unsafe=True)) as http,
        ):
            async with http.post("/v1/auth/guest", json={"name": "Ann"}) as response:
                cookie = response.cookies["coscribe_access"]
                assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Strict")
            socket = await http.ws_connect(
                "/v1/documents/notes/socket", origin=url, protocols=list(SUBPROTOCOLS)
            )  # who comes is known by the cookie
            assert socket.protocol in SUBPROTOCOLS
            await socket.close()
