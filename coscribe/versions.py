"""Which versions two processes speak with each other: each its own and the one before, a window of one. So everything
may be replaced one after the other, in any order, under people who type.

It holds for the links (coscribe/link.py) and for the sockets of clients (coscribe/protocol.py), each with a version of
its own, and for what processes share in Redis: the cluster map, batches, entries of the log. What may change:

* Within a version, for readers take what they know and pass over the rest: a field with a default at the end of a
  struct that is an array, any field with a default of one that is an object, a server's message to clients. What an
  older writer of the cluster map writes again lacks the fields that it does not know: whoever needs one puts it back.
* With a new version: a kind of link message (an unknown one ruins its whole frame; `link.SINCE`), a client's message,
  a further word where words are listed (roles, nack codes, states of a host), another meaning. It is said only to
  those whose agreed version knows it; the version before is spoken on, until the next new version.
* What is in Redis has no partner to agree with: a new kind of it is read one version before it is written.
"""


def spoken(version: int) -> tuple[int, ...]:
    """The versions that a process of a version speaks, newest first."""
    return tuple(each for each in (version, version - 1) if each >= 1)


def agreed(one: int, other: int) -> int | None:
    """The newest version that both speak; None: they have none in common."""
    return max({*spoken(one)} & {*spoken(other)}, default=None)


def subprotocols(name: str, version: int) -> dict[str, int]:
    """What is offered, and taken, for a WebSocket: newest first, each with its version."""
    return {f"{name}.v{each}": each for each in spoken(version)}


def listed(offers: dict[str, int]) -> str:
    """For people: what one side speaks."""
    return " and ".join(offers)
