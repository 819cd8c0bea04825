"""What a client does after a close, and how long it waits. Pure: chance is an argument, uniform in 0…1."""

import contextlib
from typing import Final, NamedTuple

import msgspec

from coscribe.events import Forked
from coscribe.protocol import CloseCode

CONNECT_TIMEOUT_S: Final = 10.0
"""For a socket to open, and a second one to be welcomed."""

BACKOFF_BASE_S: Final = 0.25
BACKOFF_CAP_S: Final = 15.0

STOPS: Final = frozenset(
    {CloseCode.NORMAL, CloseCode.BAD_MESSAGE, CloseCode.UNAUTHENTICATED, CloseCode.FORBIDDEN, CloseCode.NOT_FOUND,
     CloseCode.DELETED, CloseCode.FORK, CloseCode.FRAME_TOO_LARGE}
)  # fmt: skip

STOPS_BESIDE: Final = STOPS - {CloseCode.UNAUTHENTICATED}
"""Those of a second socket while a first one serves: whoever is let in there need not stop for being refused here."""

MOVE_SPREAD: Final = 0.5
"""Of the time for a move: over the first half clients spread, the second is for those that must try again."""


class Closed(Exception):
    """The server closed for good: `code` is a close code of docs/protocol.md."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with {code}: {reason}" if reason else f"closed with {code}")
        self.code, self.reason = code, reason


class End(NamedTuple):
    """How a socket ended."""

    code: int
    reason: str

    @property
    def asked_wait_s(self) -> float:
        """How long the server asks to wait."""
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(self.reason, type=_Reason).retry_after_s
        return 0.0

    def check(self, stops: frozenset[CloseCode]) -> None:
        """Raises Closed, or Forked, for a code after which no other socket is tried."""
        if self.code == CloseCode.FORK:
            raise Forked("the server has another history")
        if self.code in stops:
            raise Closed(self.code, self.reason)


class _Reason(msgspec.Struct):
    retry_after_s: float = 0.0


def backoff_s(attempt: int, draw: float) -> float:
    """Full jitter: `draw` of the step for the `attempt`-th try, counted from 0."""
    step: float = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0 ** min(attempt, 16))
    return draw * step


def retry_wait_s(asked_s: float, attempt: int, draw: float) -> float:
    """The wait before the next try, after a server that asked for `asked_s`."""
    return max(asked_s * (1 + draw / 2), backoff_s(attempt, draw))


def move_wait_s(within_s: float, draw: float) -> float:
    """Full jitter before the first try of a move: a router asks all its clients at once."""
    return draw * within_s * MOVE_SPREAD
