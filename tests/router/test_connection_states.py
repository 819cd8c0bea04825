"""Every message in every state of a connection: before hello, while it is being opened, open, closing."""

import json
from typing import Any

import pytest

from coscribe.protocol import CloseCode
from tests.router.bench import Bench, Tab, bench, settle

MESSAGES: dict[str, dict[str, Any]] = {
    "hello": {"t": "hello", "v": 1, "client": "client-1"},
    "op": {"t": "op", "s": "0", "base": 0, "cseq": 1, "delta": ["x"]},
    "catchup": {"t": "catchup", "s": "0", "from": 0, "epoch": 0},
    "composed": {"t": "catchup", "s": "0", "from": 0, "epoch": 0, "composed": True},
    "fetch": {"t": "fetch", "s": "0"},
    "view": {"t": "view", "live": ["0"]},
    "presence": {"t": "presence", "s": "0", "rev": 0, "state": {}},
    "ping": {"t": "ping"},
    "auth": {"t": "auth", "ticket": "good"},
}


async def _before_hello(b: Bench) -> Tab:
    return b.connect()


async def _opening(b: Bench) -> Tab:
    b.bus.held = True
    return await b.join()


async def _open(b: Bench) -> Tab:
    return await b.join()


async def _closing(b: Bench) -> Tab:
    tab = await b.join()
    tab.connection.close(CloseCode.GOING_AWAY)
    return tab


STATES = {"before hello": _before_hello, "opening": _opening, "open": _open, "closing": _closing}

# What a message leads to: the close code, and the types of what the client hears (None: entries).
Outcome = tuple[CloseCode | None, list[str | None]]
BAD: Outcome = (CloseCode.BAD_MESSAGE, ["error"])
STAYS: Outcome = (None, [])
GONE: Outcome = (CloseCode.GOING_AWAY, [])
LEVEL: list[str | None] = ["head"]

TABLE: dict[str, dict[str, Outcome]] = {
    "before hello": {
        **dict.fromkeys(MESSAGES, BAD),
        "hello": (None, ["welcome", "presence", "snapshot", "head"]),
    },
    "opening": {
        **dict.fromkeys(MESSAGES, BAD),
        "ping": (None, ["pong"]),
        "auth": STAYS,
    },
    "open": {
        "hello": BAD,
        "op": (None, [None]),
        "catchup": (None, LEVEL),
        "composed": (None, ["catchup", *LEVEL]),
        "fetch": (None, ["snapshot", *LEVEL]),
        "view": STAYS,
        "presence": (None, ["presence"]),
        "ping": (None, ["pong", "head"]),
        "auth": STAYS,
    },
    "closing": dict.fromkeys(MESSAGES, GONE),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("message", MESSAGES)
async def test_every_message_in_every_state(state: str, message: str) -> None:
    async with bench() as b:
        tab = await STATES[state](b)
        b.tickets["good"] = tab.connection.identity
        tab.heard.clear()
        tab.say_text(json.dumps(MESSAGES[message]))
        await settle()
        assert (tab.code, tab.kinds) == TABLE[state][message]
