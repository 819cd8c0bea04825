"""What must hold, whatever happens. Every checker is told of events as they come and says at once what is wrong.

`Logs` watches the two stores, `Words` what people typed; `at_rest` looks at everything once the
faults have ended. The first violation ends the run.
"""

from collections.abc import Callable, Sequence

from coscribe.batch import Batch
from coscribe.names import SectionKey
from coscribe.ot import OWN_LIMITS, Content, Delta, decode
from persistence.records import LiveSnapshot, LogEntry, StoredSnapshot
from tests.simulation.histories import Debt, History, Owner, delta_of, operation_of
from tests.simulation.postgres_server import PostgresServer
from tests.simulation.redis_server import RedisServer, SectionLog
from tests.simulation.texts import deleted, inserted

Fail = Callable[[str], None]


class Logs:
    """One writer an epoch; one entry a revision; each (client, cseq) once and in order; nothing trimmed that is not
    stored; what a failover lost and its owner still has is appended again as it was. Implements the witnesses of both
    servers."""

    def __init__(self, fail: Fail, words: Callable[[str], "Words"]) -> None:
        self.of: dict[SectionKey, History] = {}
        self._fail, self._words = fail, words
        self._reclaiming = False

    def history(self, key: SectionKey) -> History:
        if key not in self.of:
            self.of[key] = History()
        return self.of[key]

    # --- The log ---

    def reclaims(self, who: str, key: SectionKey) -> None:
        debt = self.history(key).debt
        self._reclaiming = debt is not None and debt.owner.who == who

    def activated(self, who: str, key: SectionKey, epoch: int, head: int) -> None:
        history = self.history(key)
        if epoch <= history.newest:
            self._fail(f"{who} activated epoch {epoch} after {history.newest}")
        if head > len(history.entries):  # one below shows what Postgres said before the keys expired; it asks again
            self._fail(f"{who} activated at revision {head}, and the log ends at {len(history.entries)}")
        history.epoch = history.newest = epoch
        history.writers[epoch] = who
        if not self._reclaiming:
            self._another_owner(key, history)
        elif history.debt and history.debt.owner.excused(head):
            self._forgive(key, history)  # it does not remember so much
        self._reclaiming = False

    def offered(self, who: str, key: SectionKey, missing: bool) -> None:
        """An owner asks the log to commit."""
        history = self.history(key)
        if history.debt and history.debt.owner.who == who:
            history.debt.tried = True
            if missing:
                self._forgive(key, history)

    def appended(self, who: str, key: SectionKey, batch: Batch, marked: bool) -> None:
        history = self.history(key)
        if not marked and not history.failovers:  # one may lose the mark; Sweeper.reclaim flushes what nobody marked
            self._fail(f"{who} wrote to a section without a mark: if it dies, nobody flushes that")
        if batch.epoch != history.epoch:
            self._fail(f"{who} wrote under epoch {batch.epoch}, and {history.epoch} was activated")
        if history.writers.get(batch.epoch) != who:
            self._fail(f"{who} wrote under epoch {batch.epoch} of {history.writers.get(batch.epoch)}")
        if history.debt and history.debt.owner.who != who:
            self._another_owner(key, history)
        for entry in batch.entries:
            self._append(key, history, entry, batch.epoch)

    def _append(self, key: SectionKey, history: History, entry: LogEntry, epoch: int) -> None:
        (client, cseq), delta = operation_of(entry), delta_of(entry)
        name = f"entry {entry.revision} ({client}, {cseq})"
        if history.went_back and entry == _at(history, entry.revision):
            return  # Postgres has it already, from before the failover
        if entry.revision != len(history.entries) + 1:
            self._fail(f"{name} came after revision {len(history.entries)}")
        again = entry.epoch < epoch and history.went_back  # what may have been seen keeps its epoch
        if (entry.epoch != epoch and not again) or entry.epoch < history.epoch_at(len(history.entries)):
            self._fail(f"{name} has epoch {entry.epoch} in a batch of epoch {epoch}")
        if cseq <= history.cseqs.get(client, 0):
            self._fail(f"{name} came after cseq {history.cseqs[client]} of its client")
        self._words(key.document).entered(name, delta)
        history.append(entry, delta)
        self._settle(history, entry, name)

    def _settle(self, history: History, entry: LogEntry, name: str) -> None:
        if debt := history.debt:
            if debt.entries[0] != entry:
                self._fail(f"{name} came in the place of {operation_of(debt.entries[0])}, which was lost and is owed")
            del debt.entries[0]
            history.debt = debt if debt.entries else None

    # --- A log that lost its tail ---

    def failed_over(self, key: SectionKey, log: SectionLog | None, owner: Owner | None) -> None:
        """The log goes on as `log`. `owner` has everything that it lost, if anybody has."""
        history = self.history(key)
        there = log.revision if log else 0
        history.failovers += 1
        history.went_back |= log is None or (there, log.epoch) != (len(history.entries), history.epoch)
        base = max(there, history.stored)
        before = len(history.entries)
        lost = [*history.truncate(base), *(history.debt.entries if history.debt else ())]
        history.void.update(((entry.revision, entry.epoch), entry) for entry in lost)
        history.epoch, history.debt = log.epoch if log else 0, None
        if not lost:
            return
        self._words(key.document).withdrawn([delta_of(entry) for entry in lost if entry.revision <= before])
        history.debt = Debt(owner or Owner("nobody", lambda revision: True), lost)
        if log is None or owner is None:
            self._forgive(key, history)

    def _another_owner(self, key: SectionKey, history: History) -> None:
        """Somebody else goes on from the log as it is. Whoever has what it lost cannot append it any more."""
        if debt := history.debt:
            if debt.tried and not debt.owner.excused(len(history.entries)):
                self._fail(f"{debt.owner.who} could have appended {len(debt.entries)} lost entries again and did not")
            self._forgive(key, history)

    def owes(self, key: SectionKey) -> str:
        """Who goes on as the owner and has not appended what the log lost, empty if nobody does."""
        debt = self.history(key).debt
        return debt.owner.who if debt and not debt.owner.excused(len(self.history(key).entries)) else ""

    def _forgive(self, key: SectionKey, history: History) -> None:
        assert history.debt is not None, "something is owed"
        lost, history.debt = history.debt.entries, None
        history.forgiven.update(map(operation_of, lost))
        content = history.content_at(len(history.entries))
        for entry in lost:
            delta = delta_of(entry)
            self._words(key.document).left_behind(delta, content.delta())
            content.apply(delta)

    # --- What becomes of it ---

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
            if entry == history.void.get((entry.revision, entry.epoch)) and history.head[0] == entry.revision - 1:
                self._append(key, history, entry, entry.epoch)  # read before the log lost it
            if entry != _at(history, entry.revision):
                self._fail(f"Postgres got another entry {entry.revision} than the log has")
            if entry.revision != history.stored:
                self._fail(f"Postgres got entry {entry.revision} after {history.stored - 1}")

    def snapshotted(self, key: SectionKey, snapshot: StoredSnapshot) -> None:
        self.seen("a stored snapshot", key, snapshot.revision, snapshot.epoch, snapshot.content)
        self.on_line("a stored snapshot", key, snapshot.revision, snapshot.epoch)

    def kept_live(self, key: SectionKey, live: LiveSnapshot) -> None:
        at = live.snapshot
        self.seen("a live snapshot", key, at.revision, at.epoch, at.content)
        if live.durable.revision > self.history(key).stored:
            self._fail(f"a live snapshot says that {live.durable.revision} entries are stored, and they are not")

    def seen(self, name: str, key: SectionKey, revision: int, epoch: int, content: bytes) -> None:
        """Somebody shows the section at a revision: it must be what the log says of it, or said before it lost it."""
        found = self.history(key).seen.get((revision, epoch))
        if found is None:
            self._fail(f"{name} is at revision {revision} of epoch {epoch}, which the log never had")
        elif content != found:
            self._fail(f"{name} at revision {revision} is not what the log says")

    def on_line(self, name: str, key: SectionKey, revision: int, epoch: int) -> None:
        """It is of the history that counts."""
        history = self.history(key)
        if revision > len(history.entries) or history.epoch_at(revision) != epoch:
            self._fail(f"{name} is at revision {revision} of epoch {epoch}, and the log ends at {history.head}")

    def acknowledged(self, client: str, key: SectionKey, cseq: int, revision: int) -> None:
        history = self.history(key)
        if revision not in history.stood.get((client, cseq), ()):
            self._fail(f"cseq {cseq} of {client} was acknowledged at revision {revision}, where it is not")
        history.acknowledged[client, cseq] = None


def _at(history: History, revision: int) -> LogEntry | None:
    return history.entries[revision - 1] if 0 < revision <= len(history.entries) else None


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

    def withdrawn(self, deltas: Sequence[Delta]) -> None:
        """The log lost them; they may enter again."""
        for delta in deltas:
            self._entered.difference_update(inserted(delta))

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
    """Postgres and the stream have everything between them, all that was acknowledged is in it, and it leads to what
    the log led to."""
    entries = list(postgres.entries(key, 0, len(history.entries)))
    entries += [entry for entry in redis.read(key, 0, len(history.entries)) if entry.revision > len(entries)]
    if entries != history.entries:
        fail(f"Postgres and the stream have {len(entries)} entries of {len(history.entries)}, or others")
    if gone := history.acknowledged.keys() - set(map(operation_of, entries)) - history.forgiven:
        fail(f"{len(gone)} acknowledged operations are in no entry, {min(gone)} is one")
    snapshot = postgres.newest_snapshot(key)
    if snapshot is None:
        return
    content = Content.from_delta(decode(snapshot.content, OWN_LIMITS))
    for entry in history.entries[snapshot.revision :]:
        content.apply(delta_of(entry))
    if content.encode() != history.contents[-1]:
        fail("the newest snapshot and the entries after it do not lead to the document")
