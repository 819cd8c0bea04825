"""What must hold, whatever happens. Every checker is told of events as they come and says at once what is wrong.

`Logs` watches the two stores, `Words` what people typed, `Reader` one client; `at_rest` looks at everything once the
faults have ended. The first violation ends the run.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from coscribe.batch import Batch
from coscribe.names import SectionKey
from coscribe.ot import OWN_LIMITS, Content, Delta, Embed, Insert, Retain, decode
from coscribe.protocol import decode_op_entry
from persistence.records import LiveSnapshot, LogEntry, StoredSnapshot
from tests.simulation.postgres_server import PostgresServer
from tests.simulation.redis_server import RedisServer

Fail = Callable[[str], None]


@dataclass(slots=True)
class History:
    """Everything that a section's log ever accepted, and what it led to. `contents[r]` is the content at revision r."""

    entries: list[LogEntry] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    content: Content = field(default_factory=lambda: Content(Delta.replace(0, 0, "\n")))
    cseqs: dict[str, int] = field(default_factory=dict)  # client -> its last cseq
    epoch: int = 0  # of the newest activation
    writers: dict[int, str] = field(default_factory=dict)  # epoch -> who activated it
    stored: int = 0  # revisions that Postgres holds
    kept: int = 0  # the stream begins after this revision

    def __post_init__(self) -> None:
        self.contents.append(self.content.encode())

    def epoch_at(self, revision: int) -> int:
        return self.entries[revision - 1].epoch if revision else 0


class Logs:
    """One writer an epoch; one entry a revision; each (client, cseq) once and in order; nothing trimmed that is not
    stored. Implements the witnesses of both servers."""

    def __init__(self, fail: Fail, words: Callable[[str], "Words"]) -> None:
        self.of: dict[SectionKey, History] = {}
        self._fail, self._words = fail, words

    def history(self, key: SectionKey) -> History:
        if key not in self.of:
            self.of[key] = History()
        return self.of[key]

    def activated(self, who: str, key: SectionKey, epoch: int, head: int) -> None:
        history = self.history(key)
        if epoch <= history.epoch:
            self._fail(f"{who} activated epoch {epoch} after {history.epoch}")
        if head > len(history.entries):  # one below shows what Postgres said before the keys expired; it asks again
            self._fail(f"{who} activated at revision {head}, and the log ends at {len(history.entries)}")
        history.epoch = epoch
        history.writers[epoch] = who

    def appended(self, who: str, key: SectionKey, batch: Batch, marked: bool) -> None:
        history = self.history(key)
        if not marked:
            self._fail(f"{who} wrote to a section without a mark: if it dies, nobody flushes that")
        if batch.epoch != history.epoch:
            self._fail(f"{who} wrote under epoch {batch.epoch}, and {history.epoch} was activated")
        if history.writers.get(batch.epoch) != who:
            self._fail(f"{who} wrote under epoch {batch.epoch} of {history.writers.get(batch.epoch)}")
        for entry in batch.entries:
            self._append(key, history, entry, batch.epoch)

    def _append(self, key: SectionKey, history: History, entry: LogEntry, epoch: int) -> None:
        op = decode_op_entry(entry.entry)
        name = f"entry {entry.revision} ({op.client}, {op.cseq})"
        if entry.revision != len(history.entries) + 1:
            self._fail(f"{name} came after revision {len(history.entries)}")
        if entry.epoch != epoch or entry.epoch < history.epoch_at(len(history.entries)):
            self._fail(f"{name} has epoch {entry.epoch} in a batch of epoch {epoch}")
        if op.cseq <= history.cseqs.get(op.client, 0):
            self._fail(f"{name} came after cseq {history.cseqs[op.client]} of its client")
        history.cseqs[op.client] = op.cseq
        delta = decode(bytes(op.delta), OWN_LIMITS)
        self._words(key.document).entered(name, delta)
        history.content.apply(delta)
        history.entries.append(entry)
        history.contents.append(history.content.encode())

    def unmarked(self, key: SectionKey) -> None:
        history = self.history(key)
        if history.stored < len(history.entries):
            self._fail(f"the mark is gone, and Postgres has {history.stored} of {len(history.entries)} entries")

    def trimmed(self, key: SectionKey, through: int) -> None:
        history = self.history(key)
        history.kept = max(history.kept, min(through, len(history.entries)))
        if history.kept > history.stored:
            self._fail(f"entries up to {history.kept} were trimmed and Postgres has {history.stored}")

    def vanished(self, key: SectionKey, revision: int) -> None:
        self.trimmed(key, revision)

    def flushed(self, key: SectionKey, entries: Sequence[LogEntry]) -> None:
        history = self.history(key)
        for entry in entries:
            history.stored += 1
            if entry.revision > len(history.entries) or entry != history.entries[entry.revision - 1]:
                self._fail(f"Postgres got another entry {entry.revision} than the log has")
            if entry.revision != history.stored:
                self._fail(f"Postgres got entry {entry.revision} after {history.stored - 1}")

    def snapshotted(self, key: SectionKey, snapshot: StoredSnapshot) -> None:
        self.seen("a stored snapshot", key, snapshot.revision, snapshot.epoch, snapshot.content)

    def kept_live(self, key: SectionKey, live: LiveSnapshot) -> None:
        at = live.snapshot
        self.seen("a live snapshot", key, at.revision, at.epoch, at.content)
        if live.durable.revision > self.history(key).stored:
            self._fail(f"a live snapshot says that {live.durable.revision} entries are stored, and they are not")

    def seen(self, name: str, key: SectionKey, revision: int, epoch: int, content: bytes) -> None:
        """Somebody shows the section at a revision: it must be what the log says of it."""
        history = self.history(key)
        if revision > len(history.entries):
            self._fail(f"{name} is at revision {revision}, and the log ends at {len(history.entries)}")
        elif content != history.contents[revision]:
            self._fail(f"{name} at revision {revision} is not what the log says")
        elif epoch != history.epoch_at(revision):
            self._fail(f"{name} has epoch {epoch} for revision {revision} of epoch {history.epoch_at(revision)}")

    def acknowledged(self, client: str, key: SectionKey, cseq: int, revision: int) -> None:
        history = self.history(key)
        found = history.entries[revision - 1 : revision]
        op = decode_op_entry(found[0].entry) if found else None
        if op is None or (op.client, op.cseq) != (client, cseq):
            self._fail(f"cseq {cseq} of {client} was acknowledged at revision {revision}, where it is not")


class Words:
    """Of one document. Every typed character is another one: there once if nobody deleted it, and never twice."""

    def __init__(self, fail: Fail) -> None:
        self._fail = fail
        self._typed: dict[str, None] = {}
        self._entered: set[str] = set()
        self._deleted: dict[str, set[str]] = {}  # character -> who deleted it
        self._doubtful: set[str] = set()  # typed or deleted by somebody who left before it was acknowledged

    def typed(self, client: str, new: str, gone: str) -> None:
        self._typed.update(dict.fromkeys(new))
        for character in gone:
            self._deleted.setdefault(character, set()).add(client)

    def refused(self, client: str, delta: Delta, base: Delta) -> None:
        """The operation is undone: what it typed is withdrawn, what it deleted stays."""
        for character in inserted(delta):
            self._typed.pop(character, None)
            self._doubtful.discard(character)
        for character in deleted(delta, base):
            self._deleted.get(character, set()).discard(client)

    def left_behind(self, delta: Delta, base: Delta) -> None:
        """Its author is gone; whether the operation was accepted, only the log can say."""
        self._doubtful.update(inserted(delta), deleted(delta, base))

    def entered(self, name: str, delta: Delta) -> None:
        for character in inserted(delta):
            if character in self._entered:
                self._fail(f"{name}: the character {character!r} entered the document twice")
            self._entered.add(character)

    def at_rest(self, content: Delta) -> None:
        there = inserted(content).removesuffix("\n")
        if len(set(there)) != len(there):
            self._fail("a character is in the document twice")
        wanted = {character for character in self._typed if not self._deleted.get(character)}
        lost = wanted - self._doubtful - set(there)
        if lost:
            self._fail(f"{len(lost)} typed characters are lost, {min(lost)!r} is one")
        risen = set(there) - wanted - self._doubtful
        if risen:
            self._fail(f"{len(risen)} deleted or refused characters are there, {min(risen)!r} is one")


def at_rest(fail: Fail, key: SectionKey, history: History, redis: RedisServer, postgres: PostgresServer) -> None:
    """Postgres and the stream have everything between them, and lead to what the log led to."""
    entries = list(postgres.entries(key, 0, len(history.entries)))
    entries += [entry for entry in redis.read(key, 0, len(history.entries)) if entry.revision > len(entries)]
    if entries != history.entries:
        fail(f"Postgres and the stream have {len(entries)} entries of {len(history.entries)}, or others")
    snapshot = postgres.newest_snapshot(key)
    if snapshot is None:
        return
    content = Content.from_delta(decode(snapshot.content, OWN_LIMITS))
    for entry in history.entries[snapshot.revision :]:
        content.apply(decode(bytes(decode_op_entry(entry.entry).delta), OWN_LIMITS))
    if content.encode() != history.contents[-1]:
        fail("the newest snapshot and the entries after it do not lead to the document")


def units(document: Delta) -> str:
    """A document unit by unit: surrogates stand by themselves, an embed is one object replacement character."""
    return "".join(_texts(document))


def _texts(delta: Delta) -> Iterator[str]:
    for component in delta.components:
        match component:
            case str():
                yield component
            case Insert():
                yield component.text
            case Embed():
                yield "\ufffc"


def inserted(delta: Delta) -> str:
    """The characters that it inserts; embeds and astral characters as one each."""
    return collapse("".join(_texts(delta))).replace("\ufffc", "")


def deleted(delta: Delta, base: Delta) -> str:
    """The characters of `base` that it deletes."""
    text, at, gone = units(base), 0, ""
    for component in delta.components:
        if isinstance(component, Retain):
            at += component.length
        elif isinstance(component, int):
            gone += text[at : at - component] if component < 0 else ""
            at += abs(component)
    return collapse(gone)


def collapse(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
