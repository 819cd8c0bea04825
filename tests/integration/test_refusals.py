"""What the server refuses, over a real socket: one table of what a client does and what docs/protocol.md says to it.

After each row the document is as it was, others are served, and nothing of our insides was told.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.support.served import Raw, Served, accepted, raw, served
from tests.support.services import Postgres, Valkey

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def server(_valkey: Valkey, _postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(_valkey, _postgres, tmp_path_factory.mktemp("data")) as started:
        yield started


class Resume(NamedTuple):
    """A hello that stands at a revision, under an epoch so much later than that of the head, which is 1."""

    revision: int
    later: int = 0


HELLO = {"t": "hello", "v": 1, "client": "client-row"}
OP = {"t": "op", "s": "0", "base": 1, "cseq": 1, "delta": ["x"]}


def deep(depth: int) -> str:
    return "[" * depth + "]" * depth


# --- Before hello: frames, and the code that closes ---

OPENINGS: dict[str, tuple[list[Any], int]] = {
    "not JSON": (["hello"], 4400),
    "an empty frame": ([""], 4400),
    "a JSON array": ([[HELLO]], 4400),
    "a number": ([7], 4400),
    "JSON and more": (['{"t":"ping"} {"t":"ping"}'], 4400),
    "nested a hundred thousand times": (['{"t":"ping","x":' + deep(4_000) + "}"], 4400),
    "no type": ([{"v": 1, "client": "client-row"}], 4400),
    "an unknown type": ([{"t": "helo"}], 4400),
    "a type that is none": ([{"t": 7}], 4400),
    "a binary frame": ([b'{"t":"hello","v":1,"client":"client-row"}'], 4400),
    "no hello first": ([OP], 4400),
    "hello without a version": ([{"t": "hello", "client": "client-row"}], 4400),
    "hello of a version two ahead": ([{**HELLO, "v": 3}], 4400),
    "hello of version 1.0": (['{"t":"hello","v":1.0,"client":"client-row"}'], 4400),
    "hello without a client id": ([{"t": "hello", "v": 1}], 4400),
    "a short client id": ([{**HELLO, "client": "short"}], 4400),
    "a long client id": ([{**HELLO, "client": "x" * 65}], 4400),
    "a client id with a quote": ([{**HELLO, "client": 'client"row'}], 4400),
    "a client id with a newline": ([{**HELLO, "client": "client-row\n"}], 4400),
    "a client id that is a number": ([{**HELLO, "client": 12345678}], 4400),
    "hello twice": ([HELLO, HELLO], 4400),
    "a client id of somebody else": ([{**HELLO, "client": "client-of-bob"}], 4403),
    "a resume that is a text": ([{**HELLO, "resume": "0"}], 4400),
    "a resume without an incarnation": ([{**HELLO, "resume": {"sections": {}}}], 4400),
    "a resume of another incarnation": ([{**HELLO, "resume": {"incarnation": "x", "sections": {"0": [1, 1]}}}], 4409),
    "a resume under another epoch": ([Resume(1, later=-1)], 4409),
    "a resume from beyond the head": ([Resume(2)], 4409),
    "a resume from far beyond": ([Resume(2**53 - 1)], 4409),
    "a resume from before the beginning": ([Resume(-1)], 4400),
    "a resume from where no number leads": ([Resume(10**30)], 4400),
    "a frame that is too large": (["x" * 9_000], 4413),
    "a frame that is far too large": (["x" * 3_000_000], 4413),
}

# --- After hello: frames, and the code that closes ---

FRAMES: dict[str, tuple[list[Any], int]] = {
    "not JSON": (["{"], 4400),
    "an array of messages": ([[{"t": "ping"}]], 4400),
    "an unknown type": ([{"t": "shout"}], 4400),
    "a binary frame": ([b"\x00\x01"], 4400),
    "an operation without a cseq": ([{"t": "op", "s": "0", "base": 1, "delta": ["x"]}], 4400),
    "an operation without a delta": ([{"t": "op", "s": "0", "base": 1, "cseq": 1}], 4400),
    "a cseq of 0": ([{**OP, "cseq": 0}], 4400),
    "a cseq of -1": ([{**OP, "cseq": -1}], 4400),
    "a cseq that is a text": ([{**OP, "cseq": "1"}], 4400),
    "a cseq beyond any number": ([{**OP, "cseq": 10**30}], 4400),
    "a negative base": ([{**OP, "base": -1}], 4400),
    "a base of 1.0": (['{"t":"op","s":"0","base":1.0,"cseq":1,"delta":["x"]}'], 4400),
    "a base beyond any number": ([{**OP, "base": 2**64}], 4400),
    "a base that is true": ([{**OP, "base": True}], 4400),
    "a section that is not there": ([{**OP, "s": "7"}], 4400),
    "a section that is a number": ([{**OP, "s": 0}], 4400),
    "a catch-up from -1": ([{"t": "catchup", "s": "0", "from": -1, "epoch": 1}], 4400),
    "a catch-up under another epoch": ([{"t": "catchup", "s": "0", "from": 1, "epoch": 1}], 4409),
    "a catch-up from beyond": ([{"t": "catchup", "s": "0", "from": 99, "epoch": 1}], 4409),
    "a composed one from beyond": ([{"t": "catchup", "s": "0", "from": 99, "epoch": 1, "composed": True}], 4409),
    "a fetch of another section": ([{"t": "fetch", "s": "00"}], 4400),
    "a view that is a text": ([{"t": "view", "live": "0"}], 4400),
    "a presence that is too large": ([{"t": "presence", "s": "0", "rev": 1, "state": {"a": "x" * 300}}], 4400),
    "a presence that is a list": ([{"t": "presence", "s": "0", "rev": 1, "state": [1]}], 4400),
    "a presence that is broken": (['{"t":"presence","s":"0","rev":1,"state":{"a":"\\q"}}'], 4400),
    "a presence before the beginning": ([{"t": "presence", "s": "0", "rev": -1, "state": {}}], 4400),
    "a ticket that is none": ([{"t": "auth", "ticket": "nothing"}], 4401),
    "a ticket that is a number": ([{"t": "auth", "ticket": 7}], 4400),
    "a frame that is too large": ([{"t": "ping", "x": "x" * 9_000}], 4413),
    "too many messages": (['{"t":"ping"}'] * 1_500, 4429),
}

# --- Operations, and the nack ---

NEVER, LATER, CATCHUP, RIGHTS = "never", "later", "catchup", "rights"
DELTAS: dict[str, str] = {
    "no list": "5",
    "a text": '"x"',
    "an object": '{"insert":"x"}',
    "null": "null",
    "nothing but null": "[null]",
    "zero": "[0]",
    "a float": "[5.0,-1]",
    "a float in an object": '[{"retain":5.0},-1]',
    "true": "[true]",
    "a huge number": f"[{10**30}]",
    "a huge delete": f"[{-(10**30)}]",
    "a list in the list": "[[1]]",
    "a deep list": f"[{deep(500)}]",
    "an operation that is none": '[{"move":1}]',
    "two operations in one": '[{"insert":"x","delete":1}]',
    "an operation with more": '[{"insert":"x","why":1}]',
    "an empty object": "[{}]",
    "an empty text": '[""]',
    "NUL": '["a\\u0000b"]',
    "half a pair": '["\\ud83d"]',
    "the other half": '["\\ude00x"]',
    "half a pair in an attribute": '[{"insert":"x","attributes":{"a":"\\ud83d"}}]',
    "into the middle of a pair": '[11,"x"]',
    "a delete of half a pair": "[10,-1]",
    "a format of half a pair": '[{"retain":11,"attributes":{"b":1}}]',
    "past the end": '[14,"x"]',
    "a delete past the end": "[12,-2]",
    "a retain past the end": '[{"retain":14,"attributes":{"b":1}}]',
    "attributes that are a list": '[{"insert":"x","attributes":[1]}]',
    "attributes that are too deep": '[{"insert":"x","attributes":{"a":' + deep(16) + "}}]",
    "an embed with two names": '[{"insert":{"a":1,"b":2}}]',
    "a delete with attributes": '[{"delete":1,"attributes":{"b":1}}]',
    "a delete of the final newline": "[12,-1]",
    "a delete of everything": "[-13]",
    "text behind the final newline": '[13,"x"]',
    "an embed behind the final newline": '[13,{"insert":{"image":"x"}}]',
    "a final newline that is replaced by text": '[12,"x",-1]',
}
OPERATIONS: dict[str, tuple[Any, str, str]] = {
    **{name: (f'{{"t":"op","s":"0","base":1,"cseq":1,"delta":{d}}}', "invalid", NEVER) for name, d in DELTAS.items()},
    "a base beyond the head": ({**OP, "base": 2}, "ahead", NEVER),
    "a base far beyond": ({**OP, "base": 2**53 - 1}, "ahead", NEVER),
    "too long": ({**OP, "delta": ["x" * 2_000]}, "too_large", NEVER),
    "too many components": ({**OP, "delta": [1, {"retain": 1, "attributes": {"a": 1}}] * 40}, "invalid", NEVER),
}


# --- The rows, played ---


@pytest.mark.parametrize("name", OPENINGS)
async def test_an_opening_that_closes(server: Served, name: str) -> None:
    frames, code = OPENINGS[name]
    document = await server.written(name)
    before = await server.read(document)
    async with (
        raw(server.url, document, headers=server.bearer()) as ann,
        raw(server.url, document, headers=server.bearer("bob")) as bob,
    ):
        epoch = (await bob.join("client-of-bob"))["epoch"]
        for frame in frames:
            if isinstance(frame, Resume):
                place = [frame.revision, epoch + frame.later]
                frame = {**HELLO, "resume": {"incarnation": before["incarnation"], "sections": {"0": place}}}
            await ann.say(frame)
        assert await ann.closed() == code
        await server.is_well(document, before, ann)
        assert await bob.until(lambda message: accepted(message, 1))


@pytest.mark.parametrize("name", FRAMES)
async def test_a_frame_that_closes(server: Served, name: str) -> None:
    frames, code = FRAMES[name]
    document = await server.written(name)
    before = await server.read(document)
    async with raw(server.url, document, headers=server.bearer()) as ann:
        await ann.join("client-row")
        for frame in frames:
            await ann.say(frame)
        assert await ann.closed() == code
        await server.is_well(document, before, ann)


async def good_after(ann: Raw, cseq: int, revision: int) -> None:
    """What was refused is over, and the next one is taken."""
    assert accepted(await ann.write(cseq, revision, [1, "good"]), cseq)


@pytest.mark.parametrize("name", OPERATIONS)
async def test_an_operation_that_is_refused(server: Served, name: str) -> None:
    frame, code, retry = OPERATIONS[name]
    document = await server.written(name)
    before = await server.read(document)
    async with raw(server.url, document, headers=server.bearer()) as ann:
        await ann.join("client-row")
        await ann.say(frame)
        nack = await ann.until(lambda message: message.get("t") == "nack")
        assert (nack["code"], nack["retry"], nack["cseq"], nack["s"]) == (code, retry, 1, "0")
        await server.is_well(document, before, ann)
        await good_after(ann, 2, 1)
