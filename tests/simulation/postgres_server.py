"""The Postgres of the simulation: what the statements of `persistence.store_sql` do, on plain state, for ever."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from coscribe.names import SectionKey
from persistence.records import Document, Durable, LogEntry, StoredSnapshot
from persistence.store_sql import KEPT_SNAPSHOTS


class Witness(Protocol):
    """Is told of every change of the sections."""

    def flushed(self, key: SectionKey, entries: Sequence[LogEntry]) -> None: ...

    def snapshotted(self, key: SectionKey, snapshot: StoredSnapshot) -> None: ...


@dataclass(slots=True)
class StoredSection:
    """`entries[r - 1]` leads to revision r."""

    epoch: int = 0
    entries: list[LogEntry] = field(default_factory=list)
    snapshots: list[StoredSnapshot] = field(default_factory=list)


class PostgresServer:
    def __init__(self, witness: Witness | None = None) -> None:
        self.witness = witness
        self.documents: dict[str, Document] = {}
        self.sections: dict[SectionKey, StoredSection] = {}

    def create_document(self, document: Document) -> Document:
        return self.documents.setdefault(document.id, document)

    def document(self, document_id: str) -> Document | None:
        return self.documents.get(document_id)

    def delete_document(self, document_id: str) -> Document | None:
        if found := self.documents.get(document_id):
            self.documents[document_id] = dataclasses.replace(found, deleted=True)
        return self.documents.get(document_id)

    def durable(self, key: SectionKey) -> Durable:
        section = self.sections.get(key)
        return Durable(len(section.entries), section.epoch) if section else Durable(0, 0)

    def flush(self, key: SectionKey, entries: Sequence[LogEntry]) -> bool:
        first, last = entries[0], entries[-1]
        durable = self.durable(key)
        if durable.revision != first.revision - 1 or durable.epoch > first.epoch:
            return False
        section = self.sections.setdefault(key, StoredSection())
        section.entries.extend(entries)
        section.epoch = last.epoch
        if self.witness:
            self.witness.flushed(key, entries)
        return True

    def entries(self, key: SectionKey, after: int, through: int) -> Sequence[LogEntry]:
        section = self.sections.get(key)
        return section.entries[after : max(through, after)] if section else []

    def save_snapshot(self, key: SectionKey, snapshot: StoredSnapshot) -> None:
        assert snapshot.revision <= self.durable(key).revision, "a snapshot is never ahead of its entries"
        section = self.sections.setdefault(key, StoredSection())
        if section.snapshots and section.snapshots[-1].revision > snapshot.revision:
            return
        others = [other for other in section.snapshots if other.revision != snapshot.revision]
        section.snapshots = [*others, snapshot][-KEPT_SNAPSHOTS:]
        if self.witness:
            self.witness.snapshotted(key, snapshot)

    def newest_snapshot(self, key: SectionKey) -> StoredSnapshot | None:
        section = self.sections.get(key)
        return section.snapshots[-1] if section and section.snapshots else None
