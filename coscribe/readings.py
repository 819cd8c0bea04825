"""A server's message with every delta in it read: a frame is checked whole before any of it changes a session."""

from dataclasses import dataclass

from coscribe import protocol
from coscribe.ot import OWN_LIMITS, Content, Delta, DeltaTooLarge, InvalidDelta, decode
from coscribe.protocol import BadMessage, CaughtUp, Entries, Snapshot
from coscribe.versions import spoken


@dataclass(frozen=True, slots=True)
class EntryRun:
    """Log entries, read: (client, cseq, delta) of each."""

    message: Entries
    entries: list[tuple[str, int, Delta]]


@dataclass(frozen=True, slots=True)
class WholeSection:
    """A snapshot, read."""

    message: Snapshot
    content: Content


@dataclass(frozen=True, slots=True)
class ComposedChange:
    """A composed change, read."""

    message: CaughtUp
    delta: Delta


Reading = protocol.ServerMessage | Entries | EntryRun | WholeSection | ComposedChange


def read_message(message: protocol.ServerMessage | Entries) -> Reading:
    """The message with every delta in it read. Raises BadMessage."""
    try:
        match message:
            case Entries(e=raws, rev=rev):
                if rev < 1:
                    raise BadMessage(f"no entry leads to revision {rev}")
                ops = [protocol.decode_op_entry(raw) for raw in raws]
                return EntryRun(message, [(op.client, op.cseq, decode(bytes(op.delta), OWN_LIMITS)) for op in ops])
            case Snapshot(delta=raw):
                return WholeSection(message, Content.from_delta(decode(bytes(raw), OWN_LIMITS)))
            case CaughtUp(delta=raw, from_=from_, rev=rev):
                if rev < from_:
                    raise BadMessage(f"a change from revision {from_} does not lead to {rev}")
                return ComposedChange(message, decode(bytes(raw), OWN_LIMITS))
            case protocol.Welcome(v=version):
                if version not in spoken(protocol.VERSION):
                    raise BadMessage(f"version {version} of the protocol is not spoken here")
                return message
            case _:
                return message
    except (InvalidDelta, DeltaTooLarge) as error:
        raise BadMessage(str(error)) from None


def read_frame(frame: str | bytes) -> list[Reading]:
    """The messages of a frame. Raises BadMessage."""
    return [read_message(message) for message in protocol.decode_server_frame(frame)]


def welcomes(frame: str | bytes) -> bool:
    """Whether this is the frame by which a server lets a client in. Raises BadMessage."""
    return isinstance(next(iter(protocol.decode_server_frame(frame)), None), protocol.Welcome)
