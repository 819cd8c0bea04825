"""Names that go into keys, channels, URLs and log lines: checked once here, trusted everywhere behind."""

import re
from typing import Final, NamedTuple

DOCUMENT_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
CLIENT_ID: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")
FIRST_SECTION: Final = "0"


class SectionKey(NamedTuple):
    """One section of one life of a document: the unit of ordering, logging, ownership and fan-out."""

    document: str
    incarnation: str
    section: str

    def placement(self) -> str:
        """What the ring hashes: the document id for section 0, so that a small document has one owner."""
        return self.document if self.section == FIRST_SECTION else f"{self.document}/{self.section}"


def is_document_id(text: str) -> bool:
    return DOCUMENT_ID.fullmatch(text) is not None


def is_client_id(text: str) -> bool:
    return CLIENT_ID.fullmatch(text) is not None
