"""Names of keys and channels in Redis. All of a document share the hash tag of its id, so they live in one slot."""

from typing import Final

from coscribe.names import SectionKey

CLUSTER_MAP: Final = "cs:map"
CLUSTER_MAP_NOTICE: Final = "cs:map:notice"
DIRTY: Final = "cs:dirty"
ROUTERS: Final = "cs:routers"
EVERY_META: Final = "cs:{*}:*:*:meta"


def lease(host: str) -> str:
    return f"cs:lease:{host}"


def document(document_id: str) -> str:
    """Hash that caches the document's row, so that opening one needs no Postgres."""
    return f"cs:{{{document_id}}}:document"


def section(key: SectionKey) -> str:
    return f"cs:{{{key.document}}}:{key.incarnation}:{key.section}"


def meta(key: SectionKey) -> str:
    """Hash of the section's epoch, last batch id and last revision."""
    return section(key) + ":meta"


def section_of_meta(name: bytes) -> SectionKey:
    """The section to which a key belongs that `meta` named."""
    document_id, _, rest = name.decode().removeprefix("cs:{").partition("}:")
    incarnation, section_id, _ = rest.split(":")
    return SectionKey(document_id, incarnation, section_id)


def stream(key: SectionKey) -> str:
    return section(key) + ":log"


def live(key: SectionKey) -> str:
    """Hash of the section's live snapshot and its revision."""
    return section(key) + ":live"


def channel(key: SectionKey) -> str:
    """Pub/sub channel of the section's batches."""
    return section(key) + ":bus"


def presence(document_id: str, incarnation: str) -> str:
    """Pub/sub channel of the document's presence."""
    return f"cs:{{{document_id}}}:{incarnation}:presence"


def roster(document_id: str, incarnation: str) -> tuple[str, str]:
    """Hash of the presence of each client, and sorted set of when each expires."""
    name = presence(document_id, incarnation)
    return name + ":states", name + ":ends"


def client(document_id: str, incarnation: str, client_id: str) -> str:
    """The user to whom a client id belongs."""
    return f"cs:{{{document_id}}}:{incarnation}:client:{client_id}"
