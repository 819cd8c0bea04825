"""The HTTP API against bad input: each answer is a problem with a status and a code, and tells nothing of our
insides."""

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import aiohttp
import pytest
from yarl import URL

from tests.support.served import INSIDES, TEXT, Served, served
from tests.support.services import Postgres, Valkey

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def server(_valkey: Valkey, _postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(_valkey, _postgres, tmp_path_factory.mktemp("data")) as started:
        yield started


class Asked(NamedTuple):
    """A request. Bytes are sent as they are, other bodies as JSON; `user` None: without a token."""

    method: str
    path: str
    body: Any = None
    headers: Mapping[str, str] = MappingProxyType({})
    user: str | None = "ann"
    claims: Mapping[str, Any] = MappingProxyType({})


JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
GUEST, TICKETS, DOCUMENTS = "/v1/auth/guest", "/v1/auth/tickets", "/v1/documents"
POSTED = {"guest": GUEST, "ticket": TICKETS, "document": DOCUMENTS}
DEEP = b"[" * 30_000 + b"]" * 30_000
NONE, READER, BOUND = None, {"role": "reader"}, {"document": "another"}


def of_bodies() -> dict[str, tuple[Asked, int, str]]:
    """What every endpoint that takes a body says to a bad one."""
    rows: dict[str, tuple[Asked, int, str]] = {}
    for name, path in POSTED.items():
        bodies: dict[str, tuple[bytes, dict[str, str], int, str]] = {
            "not JSON": (b"{", JSON, 400, "invalid"),
            "not UTF-8": (b'{"name":"\xff","id":"\xff","document":"\xff"}', JSON, 400, "invalid"),
            "half a pair": (rb'{"name":"\ud83d","id":"\ud83d","document":"\ud83d"}', JSON, 400, "invalid"),
            "a list": (b"[]", JSON, 400, "invalid"),
            "null": (b"null", JSON, 400, "invalid"),
            "numbers for texts": (b'{"name":1,"id":1,"document":1}', JSON, 400, "invalid"),
            "too deep": (b'{"x":' + DEEP + b"}", JSON, 400, "invalid"),
            "a form": (b"name=a", FORM, 415, "invalid"),
            "no type": (b"{}", {"Content-Type": ""}, 415, "invalid"),
            "too large": (b'{"x":"' + b"x" * 70_000 + b'"}', JSON, 413, "too_large"),
            "from another site": (b'{"name":"a"}', {**JSON, "Sec-Fetch-Site": "cross-site"}, 403, "cross_site"),
            "from a neighbour": (b'{"name":"a"}', {**JSON, "Sec-Fetch-Site": "same-site"}, 403, "cross_site"),
        }
        for what, (body, headers, status, code) in bodies.items():
            rows[f"{name}: {what}"] = (Asked("POST", path, body, headers), status, code)
        for method in ("PUT", "PATCH", "DELETE"):
            rows[f"{name}: {method}"] = (Asked(method, path, b"{}", JSON), 405, "method_not_allowed")
    return rows


BAD: dict[str, tuple[Asked, int, str]] = {
    **of_bodies(),
    "guest: no name": (Asked("POST", GUEST, {}), 400, "invalid"),
    "guest: a name of nothing": (Asked("POST", GUEST, {"name": " \n\u202e "}), 400, "invalid"),
    "ticket: no token": (Asked("POST", TICKETS, {}, user=NONE), 401, "unauthenticated"),
    "ticket: expired": (Asked("POST", TICKETS, {}, claims={"exp": 1}), 401, "unauthenticated"),
    "ticket: garbage": (Asked("POST", TICKETS, {}, {"Authorization": "Bearer x"}, NONE), 401, "unauthenticated"),
    "ticket: for another": (Asked("POST", TICKETS, {"document": "notes"}, claims=BOUND), 403, "forbidden"),
    "document: no token": (Asked("POST", DOCUMENTS, {"id": "notes"}, user=NONE), 401, "unauthenticated"),
    "document: by a reader": (Asked("POST", DOCUMENTS, {"id": "notes"}, claims=READER), 403, "forbidden"),
    "document: for another": (Asked("POST", DOCUMENTS, {"id": "notes"}, claims=BOUND), 403, "forbidden"),
    "document: no id": (Asked("POST", DOCUMENTS, {"id": ""}), 400, "invalid"),
    "document: a dotted id": (Asked("POST", DOCUMENTS, {"id": "../a"}), 400, "invalid"),
    "document: a braced id": (Asked("POST", DOCUMENTS, {"id": "{a}"}), 400, "invalid"),
    "document: a long id": (Asked("POST", DOCUMENTS, {"id": "x" * 129}), 400, "invalid"),
    "document: an id with a newline": (Asked("POST", DOCUMENTS, {"id": "a\n"}), 400, "invalid"),
    "document: an id with NUL": (Asked("POST", DOCUMENTS, {"id": "a\0"}), 400, "invalid"),
    "read: no token": (Asked("GET", "/v1/documents/notes", user=NONE), 401, "unauthenticated"),
    "read: for another": (Asked("GET", "/v1/documents/notes", claims=BOUND), 403, "forbidden"),
    "read: not there": (Asked("GET", "/v1/documents/nobody-made-it"), 404, "not_found"),
    "read: a dotted id": (Asked("GET", "/v1/documents/a.b"), 400, "invalid"),
    "read: a slash": (Asked("GET", "/v1/documents/a%2Fb"), 400, "invalid"),
    "read: NUL": (Asked("GET", "/v1/documents/a%00"), 400, "invalid"),
    "read: not UTF-8": (Asked("GET", "/v1/documents/%FF"), 400, "invalid"),
    "read: POST": (Asked("POST", "/v1/documents/notes", {}), 405, "method_not_allowed"),
    "socket: no upgrade": (Asked("GET", "/v1/documents/notes/socket"), 400, "bad_request"),
    "socket: POST": (Asked("POST", "/v1/documents/notes/socket", {}), 405, "method_not_allowed"),
    "page: a dotted id": (Asked("GET", "/d/a.b"), 400, "invalid"),
    "page: not ASCII": (Asked("GET", "/d/%C3%A9"), 400, "invalid"),
    "page: POST": (Asked("POST", "/d/notes", {}), 405, "method_not_allowed"),
    "metrics: POST": (Asked("POST", "/metrics", {}), 405, "method_not_allowed"),
    "nowhere": (Asked("GET", "/v2/documents"), 404, "not_found"),
    "nowhere deep": (Asked("GET", "/v1/documents/notes/history/7"), 404, "not_found"),
    "the root of the API": (Asked("GET", "/v1"), 404, "not_found"),
    **{
        f"static: {path}": (Asked("GET", f"/static/{path}"), 404, "not_found")
        for path in (
            "nothing.js", "", ".", "assets", "..%2Fapp.py", "../app.py", "..%2F..%2Fpyproject.toml", "%2Fetc%2Fpasswd",
            "/etc/passwd", "....//app.py", "..%5Capp.py", "assets/..%2F..%2Fauth.py", "%00", "index.html%00.js",
            "%FF", "x" * 300, "a/" * 900, "~root", "con", "index.html/x",
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
async def test_bad_input_is_a_problem(server: Served, name: str) -> None:
    asked, status, code = BAD[name]
    headers = {**(server.bearer(asked.user, **asked.claims) if asked.user else {}), **asked.headers}
    body: dict[str, Any] = {"data": asked.body} if isinstance(asked.body, bytes) else {"json": asked.body}
    async with (
        aiohttp.ClientSession() as http,
        http.request(asked.method, URL(server.url + asked.path, encoded=True), headers=headers, **body) as response,
    ):
        text = await response.text()
        assert response.status == status, text
        assert response.content_type == "application/problem+json"
        problem = json.loads(text)
        assert (problem["status"], problem["code"]) == (status, code)
        assert problem["title"]
        assert problem["detail"]
        assert not INSIDES.search(text)
        assert "no-store" in response.headers["Cache-Control"]
        assert "Set-Cookie" not in response.headers
        if status == 405:
            assert response.headers["Allow"]


async def ask(server: Served, method: str, path: str, **given: Any) -> tuple[int, Any, Any]:
    """Status, headers and the body, read as JSON if it is some."""
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, server.url + path, allow_redirects=False, **given) as response,
    ):
        body = await response.read()
        return response.status, response.headers, json.loads(body) if body and "json" in response.content_type else body


async def test_a_document_is_made_once_and_read(server: Served) -> None:
    made = await ask(server, "POST", DOCUMENTS, json={"id": "once"}, headers=server.bearer())
    assert (made[0], made[1]["Location"], made[2]["id"]) == (201, "/v1/documents/once", "once")
    again = await ask(server, "POST", DOCUMENTS, json={"id": "once"}, headers=server.bearer("bob"))
    assert (again[0], again[2]["code"]) == (409, "exists")
    nameless = await ask(server, "POST", DOCUMENTS, headers=server.bearer())
    assert nameless[0] == 201
    assert nameless[2]["id"] != "once"
    found = await ask(server, "GET", "/v1/documents/once", headers=server.bearer("cat", role="reader"))
    assert (found[0], found[2]["text"], found[2]["delta"]) == (200, "\n", [{"insert": "\n"}])
    assert found[2]["sections"] == [{"id": "0", "revision": 0}]
    assert "no-store" in found[1]["Cache-Control"]


async def test_what_is_read_is_what_was_written(server: Served) -> None:
    document = await server.written("read")
    assert (await ask(server, "GET", f"/v1/documents/{document}", headers=server.bearer()))[2]["text"] == TEXT


async def test_a_guest_gets_a_cookie_that_scripts_do_not_see(server: Served) -> None:
    status, headers, body = await ask(server, "POST", GUEST, json={"name": " Ann\n"})
    cookie = headers["Set-Cookie"]
    assert status == 201
    assert body["user"]["name"] == "Ann"
    assert "token" not in body
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict", "Path=/"))
    value = cookie.split(";")[0]
    assert (await ask(server, "POST", TICKETS, headers={"Cookie": value}))[0] == 201
    assert "token" in (await ask(server, "POST", f"{GUEST}?token=1", json={"name": "Ann"}))[2]


async def test_our_own_page_may_ask_and_so_may_who_is_no_browser(server: Served) -> None:
    for site in ("same-origin", "none"):
        asked = await ask(server, "POST", GUEST, json={"name": "Ann"}, headers={"Sec-Fetch-Site": site})
        assert asked[0] == 201


async def test_the_root_leads_to_a_new_document_and_nowhere_else(server: Served) -> None:
    for query in ("", "?name=a", "?x=%0d%0aSet-Cookie:%20a=b", "?//evil.example", "?\\\\evil"):
        status, headers, _ = await ask(server, "GET", f"/{query}")
        assert status == 302
        assert headers["Location"].startswith("/d/")
        assert "Set-Cookie" not in headers


async def test_health_says_so(server: Served) -> None:
    assert (await ask(server, "GET", "/healthz"))[::2] == (200, {"status": "ok"})
    status, _, body = await ask(server, "GET", "/readyz")
    assert (status, body["status"], body["hosts"]) == (200, "ready", 1)
    assert b"coscribe_sockets" in (await ask(server, "GET", "/metrics"))[2]
    assert (await ask(server, "HEAD", "/healthz"))[0] == 200
