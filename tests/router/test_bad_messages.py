"""What a client may not say: each closes with 4400 and reaches neither an owner nor another client."""

import json
from typing import Any

import pytest

from coscribe import link
from coscribe.protocol import CloseCode
from tests.router.bench import bench, settle

BEYOND = 2**53  # not exact in JavaScript
FAR_BEYOND = 10**30  # not in MessagePack at all
OP = {"t": "op", "s": "0", "base": 0, "cseq": 1, "delta": ["x"]}
CATCHUP = {"t": "catchup", "s": "0", "from": 0, "epoch": 0}
PRESENCE = {"t": "presence", "s": "0", "rev": 0, "state": {}}


def nested(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


BAD: dict[str, dict[str, Any]] = {
    "cseq 0": {**OP, "cseq": 0},
    "cseq not exact": {**OP, "cseq": BEYOND},
    "cseq huge": {**OP, "cseq": FAR_BEYOND},
    "base negative": {**OP, "base": -1},
    "base not exact": {**OP, "base": BEYOND},
    "base huge": {**OP, "base": FAR_BEYOND},
    "op of another section": {**OP, "s": "1"},
    "from negative": {**CATCHUP, "from": -1},
    "from huge": {**CATCHUP, "from": FAR_BEYOND},
    "catchup of another section": {**CATCHUP, "s": ""},
    "fetch of another section": {"t": "fetch", "s": "7"},
    "view of another section": {"t": "view", "live": ["0", "7"]},
    "presence in another section": {**PRESENCE, "s": "7"},
    "presence before the first revision": {**PRESENCE, "rev": -1},
    "presence at a huge revision": {**PRESENCE, "rev": FAR_BEYOND},
    "presence that is a list": {**PRESENCE, "state": []},
    "presence that is a text": {**PRESENCE, "state": "{}"},
    "presence too large": {**PRESENCE, "state": {"a": "x" * 128}},
    "presence too deep": {**PRESENCE, "state": nested(17)},
}

HELLO = {"t": "hello", "v": 1, "client": "client-1"}


def resume(**sections: Any) -> dict[str, Any]:
    return {**HELLO, "resume": {"incarnation": "life1", "sections": sections}}


BAD_HELLOS: dict[str, dict[str, Any]] = {
    "version": {**HELLO, "v": 3},
    "client id too short": {**HELLO, "client": "short"},
    "client id with a quote": {**HELLO, "client": 'client-"1'},
    "client id with a newline at its end": {**HELLO, "client": "client-1\n"},
    "resume before the first revision": resume(**{"0": [-1, 1]}),
    "resume at a huge revision": resume(**{"0": [FAR_BEYOND, 1]}),
    "resume with half a place": resume(**{"0": [1]}),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_message_closes_and_goes_nowhere(name: str) -> None:
    async with bench() as b:
        ann, bob = await b.join("client-1"), await b.join("client-2")
        bob.heard.clear()
        before = len(b.host.received)
        ann.say_text(json.dumps(BAD[name]))
        await settle()
        assert ann.code is CloseCode.BAD_MESSAGE
        assert ann.heard[-1]["code"] == "bad_message"
        assert len(ann.reason.encode()) <= 123
        assert bob.heard == []
        assert b.host.received[before:] == []
        await ann.leave()
        bob.op(1)
        await settle()
        assert bob.revisions == [1]


@pytest.mark.parametrize("name", BAD_HELLOS)
async def test_a_bad_hello_closes(name: str) -> None:
    async with bench() as b:
        tab = b.connect()
        tab.say_text(json.dumps(BAD_HELLOS[name]))
        await settle()
        assert tab.code is CloseCode.BAD_MESSAGE
        assert tab.kinds == ["error"]
        assert b.host.received == []


async def test_what_is_just_allowed_is_taken() -> None:
    async with bench() as b:
        ann, bob = await b.join("client-1"), await b.join("client-2")
        ann.say_text(json.dumps({**PRESENCE, "rev": BEYOND - 1, "state": nested(16)}))
        ann.say_text(json.dumps({**OP, "base": BEYOND - 1, "cseq": BEYOND - 1}))
        await settle()
        assert ann.code is None
        assert bob.all("presence")[-1]["p"]["client-1"]["state"] == nested(16)
        assert [(m.base, m.cseq) for m in b.host.received if isinstance(m, link.Submit)] == [(BEYOND - 1, BEYOND - 1)]


async def test_a_frame_may_be_as_long_as_the_limit_in_bytes_not_in_characters() -> None:
    async with bench() as b:
        limit = b.router.settings.limits.frame_bytes
        tab = await b.join()
        empty = len(json.dumps({"t": "ping", "x": ""}))
        tab.say_text(json.dumps({"t": "ping", "x": "x" * (limit - empty)}))
        assert tab.code is None
        tab.say_text(json.dumps({"t": "ping", "x": "\u00e9" * (limit - empty)}, ensure_ascii=False))
        assert tab.code is CloseCode.FRAME_TOO_LARGE


async def test_too_many_messages_close_with_the_time_to_wait() -> None:
    async with bench() as b:
        tab = await b.join()
        count = 0
        while tab.code is None:
            tab.say("ping")
            count += 1
            assert count < 10_000
        assert tab.code is CloseCode.TOO_MANY_MESSAGES
        assert 0 < json.loads(tab.reason)["retry_after_s"] < 1
