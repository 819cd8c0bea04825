"""What a router checks of a client's frame before it acts on it. Pure; no delta is parsed here."""

import re
from typing import Any, Final

import msgspec

from coscribe import protocol
from coscribe.protocol import BadMessage

LARGEST_NUMBER: Final = 2**53 - 1  # exact in JavaScript; and a link frame takes no number of more than 64 bits
PRESENCE_DEPTH: Final = 16  # every client of the document must read it, however deep its own stack is by then


def read_frame(frame: str) -> protocol.ClientMessage:
    """Half a surrogate pair, which an editor can put into an operation, is no JSON to our decoder: such an operation
    is for the owner to refuse, like any other that is `invalid`; the client goes on. Raises BadMessage."""
    try:
        return protocol.decode_client_message(frame)
    except BadMessage:
        if "\\ud" not in frame and "\\uD" not in frame:
            raise
        whole = _SURROGATE.sub(lambda found: found[0] if len(found[0]) != _HALF else "\\u0000", frame)
        message = protocol.decode_client_message(whole)
        if not isinstance(message, protocol.Op):
            raise
        return message


_HALF: Final = len(r"\ud83d")
_SURROGATE: Final = re.compile(
    r"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
"""An escaped backslash, a pair, or half of one."""


def check_numbers(*numbers: int) -> None:
    """Revisions, epochs and cseqs. Raises BadMessage."""
    if not all(0 <= number <= LARGEST_NUMBER for number in numbers):
        raise BadMessage("a revision, an epoch or a cseq is a number from 0 to 2^53 - 1")


def check_presence(state: bytes, most_bytes: int) -> None:
    """A presence's state, which the decoder has found to be JSON. Raises BadMessage."""
    if len(state) > most_bytes:
        raise BadMessage(f"a presence has at most {most_bytes} bytes")
    if state != b"null" and not state.startswith(b"{"):
        raise BadMessage("a presence is an object or null")
    if _depth(msgspec.json.decode(state)) > PRESENCE_DEPTH:
        raise BadMessage(f"a presence is at most {PRESENCE_DEPTH} levels deep")


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return 0
    return 1 + max(map(_depth, value), default=0)
