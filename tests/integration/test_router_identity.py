"""Who is let in to which document, over a real socket: how a client connects, and the code that closes."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from persistence.documents import Documents
from persistence.script_calls import ScriptCalls
from persistence.store import PostgresStore
from tests.router.test_tokens import by_hand
from tests.support.cluster import SECRET
from tests.support.served import Raw, Served, accepted, raw, served
from tests.support.services import Postgres, Valkey

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def server(_valkey: Valkey, _postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(_valkey, _postgres, tmp_path_factory.mktemp("data")) as started:
        yield started


async def delete(server: Served, document: str) -> None:
    store = await PostgresStore.connect(server.system.postgres_url)
    async with ScriptCalls.connect(server.system.redis_url) as calls:
        assert await Documents(calls, store).delete(document, time.time_ns() // 1_000_000)
    await store.aclose()


# --- Tokens: what changes in a good one ---

TOKENS: dict[str, tuple[dict[str, Any], int]] = {
    "expired": ({"exp": int(time.time()) - 60}, 4401),
    "without an expiry": ({"exp": None}, 4401),
    "without a time of issue": ({"iat": None}, 4401),
    "without an audience": ({"aud": None}, 4401),
    "for another audience": ({"aud": "payments"}, 4401),
    "of another issuer": ({"iss": "somebody"}, 4401),
    "without a user": ({"sub": None}, 4401),
    "without a role": ({"role": None}, 4401),
    "of another role": ({"role": "admin"}, 4401),
    "for another document": ({"document": "another"}, 4403),
}

HEADERS: dict[str, dict[str, str]] = {
    "no token": {},
    "an empty token": {"Authorization": "Bearer "},
    "garbage": {"Authorization": "Bearer garbage"},
    "two dots": {"Authorization": "Bearer .."},
    "another scheme": {"Authorization": "Basic YW5uOmFubg=="},
    "garbage in the cookie": {"Cookie": "coscribe_access=garbage"},
    "the key itself": {"Authorization": f"Bearer {SECRET}"},
}


async def refused(server: Served, document: str, code: int, **given: Any) -> None:
    """The socket is accepted, and closed with a code before it is told anything."""
    before = await server.read(document)
    async with raw(server.url, document, **given) as eve:
        assert await eve.closed() == code
        assert eve.heard == []
        await server.is_well(document, before, eve)


@pytest.mark.parametrize("name", TOKENS)
async def test_a_token_that_does_not_do(server: Served, name: str) -> None:
    changed, code = TOKENS[name]
    await refused(server, await server.written(name), code, headers=server.bearer("ann", **changed))


@pytest.mark.parametrize("name", HEADERS)
async def test_without_a_token(server: Served, name: str) -> None:
    await refused(server, await server.written(name), 4401, headers=HEADERS[name])


async def test_a_token_that_nobody_signed(server: Served) -> None:
    claims = {"sub": "eve", "role": "owner", "iss": "coscribe", "aud": "coscribe", "jti": "1", "iat": 1, "exp": 2**40}
    document = await server.written("unsigned")
    for algorithm in ("none", "None", "nOnE", "HS512", "RS256"):
        token = by_hand({"alg": algorithm, "typ": "JWT"}, claims)
        await refused(server, document, 4401, headers={"Authorization": f"Bearer {token}"})


# --- Documents ---

IDS: dict[str, str] = {
    "nobody made it": "nobody-made-it",
    "a dot": "a.b",
    "a space": "a%20b",
    "a slash": "a%2Fb",
    "up and away": "..%2F..%2Fetc",
    "a brace, as in keys": "%7Ba%7D",
    "a newline": "a%0Ab",
    "NUL": "a%00b",
    "129 characters": "x" * 129,
    "not ASCII": "%C3%A9",
    "not UTF-8": "%FF",
}


@pytest.mark.parametrize("name", IDS)
async def test_a_document_that_is_not_there(server: Served, name: str) -> None:
    async with raw(server.url, IDS[name], headers=server.bearer()) as ann:
        assert await ann.closed() == 4404
        await server.is_well(document := await server.written(name), await server.read(document), ann)


async def test_a_document_that_was_deleted(server: Served) -> None:
    document = await server.written("deleted")
    await delete(server, document)
    async with raw(server.url, document, headers=server.bearer()) as ann:
        assert await ann.closed() == 4410


# --- The upgrade ---


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1", "http://[", "file://", "\u00e9", ""],
)
async def test_a_page_of_another_origin_may_not_connect(server: Served, origin: str) -> None:
    document = await server.written("origin")
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with raw(server.url, document, headers={**server.bearer(), "Origin": origin}):
            pass
    assert caught.value.status == 403


async def test_our_own_page_and_who_is_no_browser_may(server: Served) -> None:
    document = await server.written("origin")
    for headers in ({"Origin": server.url}, {}):
        async with raw(server.url, document, headers={**server.bearer(), **headers}) as ann:
            assert (await ann.join("client-row"))["rev"] == 1


@pytest.mark.parametrize("offered", [["coscribe.v2"], ["graphql-ws", "coscribe.v9"], ["coscribe"]])
async def test_another_subprotocol(server: Served, offered: list[str]) -> None:
    await refused(server, await server.written("subprotocol"), 4400, headers=server.bearer(), protocols=offered)


async def test_a_client_of_the_next_version_is_answered_in_ours(server: Served) -> None:
    document = await server.written("versions")
    async with raw(server.url, document, headers=server.bearer(), protocols=["coscribe.v2", "coscribe.v1"]) as ann:
        await ann.say({"t": "hello", "v": 2, "client": "client-row"})
        assert (await ann.until(lambda message: message.get("t") == "welcome"))["v"] == 1


async def test_ours_among_others_and_none_at_all_will_do(server: Served) -> None:
    document = await server.written("subprotocol")
    for offered in (["coscribe.v2", "coscribe.v1"], []):
        async with raw(server.url, document, headers=server.bearer(), protocols=offered) as ann:
            await ann.join("client-row")
            assert ann.socket.protocol == (offered[-1] if offered else None)


# --- Tickets ---


async def ticket(server: Served, wanted: str | None, user: str = "ann", **claims: Any) -> str:
    """A ticket for a document, or for all that the token is good for."""
    address, headers = f"{server.url}/v1/auth/tickets", server.bearer(user, **claims)
    async with aiohttp.ClientSession() as http, http.post(address, json={"document": wanted}, headers=headers) as found:
        assert found.status == 201, await found.text()
        return str((await found.json())["ticket"])


async def test_a_ticket_lets_in_once(server: Served) -> None:
    document = await server.written("ticket")
    good = await ticket(server, document)
    async with raw(server.url, document, params={"ticket": good}) as ann:
        assert await ann.join("client-row")
        await refused(server, document, 4401, params={"ticket": good})


@pytest.mark.parametrize("text", ["", "nothing", "x" * 5_000, "\u00e9\n", "*"])
async def test_a_ticket_that_is_none(server: Served, text: str) -> None:
    """A good token beside it does not help: who shows a ticket means it."""
    await refused(server, await server.written("ticket"), 4401, params={"ticket": text}, headers=server.bearer())


async def test_a_ticket_for_another_document_or_of_a_token_for_another_one(server: Served) -> None:
    document = await server.written("ticket")
    for wrong in (await ticket(server, "another"), await ticket(server, None, document="another")):
        await refused(server, document, 4401, params={"ticket": wrong})


async def test_a_ticket_renews_the_identity_on_the_open_socket_once(server: Served) -> None:
    document = await server.written("renew")
    good = await ticket(server, document, exp=int(time.time()) + 3_600)
    async with raw(server.url, document, headers=server.bearer(exp=int(time.time()) + 30)) as ann:
        await ann.join("client-row")
        assert await ann.until(lambda message: message.get("t") == "expiring")
        await ann.say({"t": "auth", "ticket": good})
        assert accepted(await ann.write(1, 1, ["x"]), 1)
        before = await server.read(document)
        await ann.say({"t": "auth", "ticket": good})
        assert await ann.closed() == 4401
        await server.is_well(document, before, ann)


async def test_anothers_ticket_does_not_renew(server: Served) -> None:
    document = await server.written("renew")
    before = await server.read(document)
    async with raw(server.url, document, headers=server.bearer()) as ann:
        await ann.join("client-row")
        await ann.say({"t": "auth", "ticket": await ticket(server, document, "bob")})
        assert await ann.closed() == 4401
        await server.is_well(document, before, ann)


async def test_a_token_that_runs_out_ends_the_socket(server: Served) -> None:
    """Within the leeway for clocks it still opens one, which is told so at once."""
    document = await server.written("expiring")
    async with raw(server.url, document, headers=server.bearer(exp=int(time.time()) - 2)) as ann:
        assert await ann.join("client-row")
        assert await ann.closed() == 4401


# --- Make before break ---


async def test_two_sockets_of_one_client_are_both_served(server: Served) -> None:
    document = await server.written("twice")
    async with (
        raw(server.url, document, headers=server.bearer()) as old,
        raw(server.url, document, headers=server.bearer()) as new,
    ):
        heads = await asyncio.gather(old.join("client-row"), new.join("client-row"))
        assert [head["rev"] for head in heads] == [1, 1]

        async def one(socket: Raw) -> Any:
            return await socket.write(1, 1, ["once "])

        assert all(accepted(heard, 1) for heard in await asyncio.gather(one(old), one(new)))
        await old.socket.close()
        assert accepted(await new.write(2, 2, ["and again "]), 2)
    assert (await server.read(document))["text"].startswith("and again once some")
