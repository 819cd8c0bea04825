"""Operations that depend on what came before, over a real socket: rate, rights, history, limits, duplicates; and what
is taken though it looks odd."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.served import DOCUMENT_BYTES, LIMITS, TEXT, WINDOW, Raw, Served, accepted, raw, served
from tests.support.services import Postgres, Valkey

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def server(_valkey: Valkey, _postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(_valkey, _postgres, tmp_path_factory.mktemp("data")) as started:
        yield started


def told(nack: Any) -> tuple[str, str]:
    assert nack["t"] == "nack", nack
    return nack["code"], nack["retry"]


async def test_a_reader_reads_and_may_not_write(server: Served) -> None:
    document = await server.written("reader")
    before = await server.read(document)
    async with raw(server.url, document, headers=server.bearer("ann", role="reader")) as ann:
        await ann.join("client-row")
        assert ann.heard[0]["role"] == "reader"
        assert told(await ann.write(1, 1, ["x"])) == ("forbidden", "rights")
        await server.is_well(document, before, ann)
        assert await ann.until(lambda message: message.get("rev") == 2), "it reads on"


async def test_over_the_rate_is_put_off_for_a_time_that_is_named(server: Served) -> None:
    document = await server.written("rate")
    burst = 2 * LIMITS["limit_ops_per_s"]
    async with raw(server.url, document, headers=server.bearer()) as ann:
        await ann.join("client-row")
        for _ in range(burst + 50):  # the same one again and again, for each counts
            await ann.say({"t": "op", "s": "0", "base": 1, "cseq": 1, "delta": ["once "]})
        nack = await ann.until(lambda message: message.get("t") == "nack")
        assert told(nack) == ("rate", "later")
        assert 0 < nack["retry_after_s"] <= 1
        assert await ann.until(lambda message: accepted(message, 1)), "one of those before it was accepted"
        await ann.say({"t": "ping"})
        assert await ann.until(lambda message: message.get("t") == "pong"), "all are answered by now"
        await asyncio.sleep([message for message in ann.heard if message.get("t") == "nack"][-1]["retry_after_s"])
        assert accepted(await ann.write(2, 2, ["then "]), 2)
    assert (await server.read(document))["text"] == "then once " + TEXT


async def test_before_the_history_window_is_stale(server: Served) -> None:
    document = await server.written("stale")
    async with (
        raw(server.url, document, headers=server.bearer("bob")) as bob,
        raw(server.url, document, headers=server.bearer()) as ann,
    ):
        await ann.join("client-row")
        await bob.join("client-busy")
        for cseq in range(1, WINDOW + 3):
            assert accepted(await bob.write(cseq, cseq, ["b"]), cseq)
        before = await server.read(document)
        assert told(await ann.write(1, 1, ["x"])) == ("stale", "catchup")
        await server.is_well(document, before, ann)
        head = before["sections"][0]["revision"] + 1
        assert await ann.until(lambda message: message.get("rev") == head)
        await ann.say({"t": "op", "s": "0", "base": head, "cseq": 1, "delta": ["x"]})
        assert await ann.until(lambda message: accepted(message, 1, "client-row")), "then it is taken"


async def test_a_document_has_a_limit_and_shrinks_again(server: Served) -> None:
    document = await server.written("full")
    async with raw(server.url, document, headers=server.bearer()) as ann:
        await ann.join("client-row")
        heard: Any = {}
        cseq = 0
        while not heard.get("t"):
            cseq += 1
            heard = await ann.write(cseq, cseq, ["x" * 1_500])
        assert told(heard) == ("too_large", "never")
        assert 1_500 * cseq <= 2 * DOCUMENT_BYTES
        before = await server.read(document)
        assert accepted(await ann.write(cseq + 1, cseq, [-1_400]), cseq + 1)
        assert len((await server.read(document))["text"]) == len(before["text"]) - 1_400
        assert accepted(await ann.write(cseq + 2, cseq + 1, ["good"]), cseq + 2)


async def test_a_duplicate_is_accepted_once_however_often_it_is_sent(server: Served) -> None:
    document = await server.written("duplicate")
    async with (
        raw(server.url, document, headers=server.bearer()) as ann,
        raw(server.url, document, headers=server.bearer("bob")) as bob,
    ):
        await ann.join("client-row")
        await bob.join("client-of-bob")
        for _ in range(3):
            await ann.say({"t": "op", "s": "0", "base": 1, "cseq": 1, "delta": ["once "]})
        assert await ann.until(lambda message: accepted(message, 1, ann.client))
        await ann.say({"t": "op", "s": "0", "base": 1, "cseq": 1, "delta": ["once "]})
        assert accepted(await ann.write(2, 2, ["then "]), 2)
        assert await bob.until(lambda message: accepted(message, 2))
        assert [nack for nack in ann.heard if nack.get("t") == "nack"] == []
        found = await server.read(document)
        assert (found["text"], found["sections"][0]["revision"]) == ("then once " + TEXT, 3)


async def test_what_a_stranger_says_under_the_same_cseq_is_another_operation(server: Served) -> None:
    document = await server.written("cseq")
    async with (
        raw(server.url, document, headers=server.bearer()) as ann,
        raw(server.url, document, headers=server.bearer("bob")) as bob,
    ):
        await ann.join("client-row")
        await bob.join("client-row-2")
        assert accepted(await ann.write(1, 1, ["ann "]), 1)
        assert accepted(await bob.write(1, 1, ["bob "]), 1, "client-row-2")
        assert sorted((await server.read(document))["text"].split()[:2]) == ["ann", "bob"]


# --- What is taken: the delta as it is sent, and the document it makes ---

TAKEN: dict[str, tuple[str, list[Any]]] = {
    "an empty operation": ("[]", [{"insert": TEXT}]),
    "a retain to the very end": ("[13]", [{"insert": TEXT}]),
    "a null attribute of an insert, which is none": (
        '[{"insert":"x","attributes":{"bold":null}}]', [{"insert": "x" + TEXT}],
    ),
    "a null attribute of a retain, which takes away": (
        '[{"retain":4,"attributes":{"bold":null}}]', [{"insert": TEXT}],
    ),
    "a whole pair that is escaped": ('["\\ud83d\\ude00"]', [{"insert": "\U0001f600" + TEXT}]),
    "before and behind a pair": ('[10,"a",2,"b"]', [{"insert": "some text a\U0001f600b\n"}]),
    "without a whole pair": ("[10,-2]", [{"insert": "some text \n"}]),
    "everything but the final newline": ("[-12]", [{"insert": "\n"}]),
    "text with a newline behind the final one": ('[13,"more\\n"]', [{"insert": TEXT + "more\n"}]),
    "the final newline formatted": (
        '[12,{"retain":1,"attributes":{"header":1}}]',
        [{"insert": TEXT[:-1]}, {"insert": "\n", "attributes": {"header": 1}}],
    ),
    "an embed": ('[{"insert":{"image":"x"}}]', [{"insert": {"image": "x"}}, {"insert": TEXT}]),
    "as plain Quill": ('[{"retain":4},{"insert":"x"},{"delete":5}]', [{"insert": "somex \U0001f600\n"}]),
    "with spaces and in parts": ('[ 1, 1 , "a" , "b" ]', [{"insert": "so" + "ab" + TEXT[2:]}]),
    "a field that nobody knows": ('["x"],"why":[1,{"a":2}]', [{"insert": "x" + TEXT}]),
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
async def test_what_is_taken(server: Served, name: str) -> None:
    sent, content = TAKEN[name]
    document = await server.written(name)
    async with raw(server.url, document, headers=server.bearer()) as ann:
        await ann.join("client-row")
        await ann.say('{"t":"op","s":"0","base":1,"cseq":1,"delta":' + sent + "}")
        heard = await ann.until(lambda message: accepted(message, 1) or message.get("t") == "nack")
        assert accepted(heard, 1), heard
        assert (await server.read(document))["delta"] == content
        await _reads_alike(server, document, ann)


async def _reads_alike(server: Served, document: str, ann: Raw) -> None:
    """Who joins now reads what the others were told."""
    async with raw(server.url, document, headers=server.bearer("bob")) as bob:
        head = await bob.join("client-of-bob-2")
        assert head["rev"] == 2
        assert ann.code is None
