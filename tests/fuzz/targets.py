"""What is fuzzed: a target takes bytes, and raises if something that must hold does not.

`decode`: the bytes are a delta as a client sends it. `submit`: lines are steps of several clients, the log and the
owner of a section (see `Run`). Both check by plain means that share nothing with the engine, or by laws.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from coscribe.batch import LogEntry
from coscribe.names import SectionKey
from coscribe.ot import OWN_LIMITS, Content, Delta, DeltaTooLarge, InvalidDelta, Limits, codec, encode
from coscribe.protocol import CaughtUp, NackCode, OpEntry, decode_op_entry, decode_server_frame
from coscribe.section import (
    Doubt,
    Known,
    Later,
    Prepared,
    Refused,
    Section,
    SectionState,
    Submission,
    WindowLimits,
    newborn,
    replay,
)
from tests.fuzz import reference

# --- decode ---

LIMITS: Final = Limits()
SMALL: Final = Limits(
    op_bytes=200, components=6, text_units=12, attribute_bytes=40, depth=3, document_units=30, document_bytes=6_000
)
# A document to compose with is made of so many units at most.
COMPOSED: Final = 2_000


def decode_target(data: bytes) -> None:
    for limits in (LIMITS, SMALL):
        try:
            found: list[reference.Operation] | type = reference.operations(data, limits)
        except reference.Wrong:
            found = InvalidDelta
        except reference.TooLarge:
            found = DeltaTooLarge
        delta, refusal = _decoded(data, limits)
        if delta is not None:
            assert not isinstance(found, type), "accepted, and must not be"
            # What a compiled engine does with short ones.
            short = codec._read_short(data, limits)
            assert short is None or (short == delta and _fields(short) == _fields(delta))
            _check_delta(delta, limits)
            _check_meaning(delta, found)
        else:
            # Of several faults any may be named.
            assert codec._read_short(data, limits) is None
            assert isinstance(found, type), f"refused, and must not be: {refusal}"
            assert 0 < len(refusal) < 120, "the text of a refusal is short, whatever was sent"


def _decoded(data: bytes, limits: Limits) -> tuple[Delta | None, str]:
    try:
        return codec.decode(data, limits), ""
    except (InvalidDelta, DeltaTooLarge) as refusal:
        return None, str(refusal)


def _check_delta(delta: Delta, limits: Limits) -> None:
    raw = encode(delta)
    again = codec.decode(raw, OWN_LIMITS)
    assert again == delta, "reading what was written gives another delta"
    assert hash(again) == hash(delta)
    assert encode(again) == raw, "equal deltas have other bytes"
    assert _fields(again) == _fields(delta)
    assert Delta.from_quill(delta.to_quill()).components == delta.components, "not in normal form"
    assert len(delta.components) <= limits.components
    assert delta.length <= limits.text_units
    nothing = Delta()
    assert delta.compose(nothing) == delta == nothing.compose(delta)
    assert nothing.transform(delta, True) == delta == nothing.transform(delta, False)


def _fields(delta: Delta) -> tuple[int, int, str]:
    return delta.at if delta.by else 0, delta.by, delta.typed


def _check_meaning(delta: Delta, found: list[reference.Operation]) -> None:
    units = reference.base_length(found)
    if units > COMPOSED:
        return
    base = [{"insert": "".join(chr(0x4E00 + number) for number in range(units))}] if units else []
    result = Delta.from_quill(base).compose(delta)
    assert reference.atoms_of(result.to_quill()) == reference.changed(reference.atoms_of(base), found)


# --- submit ---

KEY: Final = SectionKey("fuzzed", "life", "0")
STEPS: Final = 40
RICH: Final = (
    '["one 😀",{"insert":"two","attributes":{"bold":true}},{"insert":{"image":"a"}},'
    '{"insert":"\\n","attributes":{"list":{"kind":"bullet"}}},"three\\n"]'
)


@dataclass(frozen=True)
class Profile:
    limits: Limits
    window: WindowLimits
    start: Callable[[], SectionState]


def _rich(right: str | None) -> SectionState:
    # Many short segments, so that every edit meets their ends.
    return SectionState(Content(codec.decode(RICH.encode()), 8, 2), 0, 0, right)


PROFILES: Final = {
    "0": Profile(LIMITS, WindowLimits(), newborn),
    "1": Profile(SMALL, WindowLimits(entries=4, min_age_ms=2, work=12), newborn),
    "2": Profile(LIMITS, WindowLimits(entries=4, min_age_ms=2), lambda: _rich(None)),
    "3": Profile(LIMITS, WindowLimits(bytes=200, min_age_ms=0), lambda: _rich("1")),
}


def submit_target(data: bytes) -> None:
    head, _, rest = data.partition(b"\n")
    profile = PROFILES.get(head[:1].decode("latin-1"), PROFILES["0"])
    run = Run(profile)
    for line in rest.split(b"\n")[:STEPS]:
        run.step(line)
    run.settle()


@dataclass
class Run:
    """A section beside its model: what is in the log, and the document after each entry.

    A step is a line:
        sA3+[1,"x"]   client A submits the rest of the line, made 3 revisions before the committed one (`/`: after it,
                      `!`: far after it), as its next operation (`=`: under the number of the last one, `-`: the one
                      before)
        rA3+…         the same as a reader, who may not
        d7            an accepted operation is sent again: number 7 from the first, counted round
        f  c          a batch is frozen; it is committed
        t9            time goes on
        v5            what others may see is looked at, from revision 5
        k             the owner dies, and what is in the log is all that its heir has
    Any other line is a submission of client A.
    """

    profile: Profile
    section: Section = field(init=False)
    copy: Content = field(init=False)
    # What was accepted, by revision from 1 on, and the documents, by revision from 0 on.
    entries: list[Delta] = field(default_factory=list)
    documents: list[Delta] = field(default_factory=list)
    log: list[LogEntry] = field(default_factory=list)
    accepted: list[tuple[Submission, int]] = field(default_factory=list)
    cseqs: dict[str, int] = field(default_factory=dict)
    now_ms: int = 0
    epoch: int = 1

    def __post_init__(self) -> None:
        state = self.profile.start()
        self.documents.append(state.content.delta())
        self.copy = Content(self.documents[0], 8, 2)
        self._own(state)

    def _own(self, state: SectionState) -> None:
        self.section = Section(KEY, self.epoch, state, self.profile.limits, self.profile.window)

    def step(self, line: bytes) -> None:
        kind, arguments = line[:1], line[1:]
        number = arguments[0] if arguments else 0
        if kind == b"d":
            self._again(number)
        elif kind == b"f":
            self.section.freeze(f"batch {len(self.log)}")
        elif kind == b"c":
            self._commit()
        elif kind == b"t":
            self.now_ms += number
        elif kind == b"v":
            self._look(number)
        elif kind == b"k":
            self._die()
        elif kind in (b"s", b"r"):
            self._submit(arguments[3:], arguments[:3].decode("latin-1"), kind == b"r")
        else:
            self._submit(line, "A0+", False)

    def _submit(self, raw: bytes, head: str, reader: bool) -> None:
        name, back, numbering = list(head + "A0+"[len(head) :])[:3]
        client = f"client-{ord(name) % 4}"
        # Far ahead now and then, and before the first revision never: the protocol has no such base.
        base = max(0, self.section.committed_revision - (ord(back) - ord("0")))
        last = self.cseqs.get(client, 0)
        cseq = max(1, last + {"=": 0, "-": -1}.get(numbering, 1))
        op = Submission(client, cseq, base, "somebody", "reader" if reader else "writer", raw)
        before, burden = self._fingerprint(), self.section._mainline.content.burden
        outcome = self.section.submit(op, self.now_ms)
        if not isinstance(outcome, Prepared):
            assert self._fingerprint() == before, f"{outcome} changed something"
        match outcome:
            case Prepared(revision):
                assert not reader, "a reader wrote"
                assert cseq > last or base >= self._revision_of(client), "a duplicate was accepted"
                assert revision == len(self.entries) + 1
                self._take(op, burden)
                self.cseqs[client] = cseq
                self.accepted.append((op, revision))
            case Known(revision):
                known = self._entry(revision)
                assert known.client == client
                assert known.cseq >= cseq, "a new operation is no duplicate"
                assert revision > base
            case Refused(code, message):
                assert message
                assert len(message) < 120
                assert code in (NackCode.STALE, NackCode.INVALID, NackCode.TOO_LARGE, NackCode.FORBIDDEN)
                assert (code is NackCode.FORBIDDEN) == reader
                if code is NackCode.STALE:
                    delta, behind = codec.decode(raw, self.profile.limits), self.entries[base:]
                    own = (1 if delta.by else len(delta.components)) * len(behind)
                    theirs = sum(len(entry.components) for entry in behind if not entry.by)
                    assert base < self.section.window_start or own + theirs > self.profile.window.work
            case Later():
                assert base > self.section.committed_revision
                assert self.section.unanswered
            case Doubt():
                assert base > self.section.committed_revision

    def _take(self, op: Submission, burden: int) -> None:
        """What the section accepted is the operation transformed over each entry since its base, and nothing else."""
        expected = codec.decode(op.delta, self.profile.limits)
        for entry in self.entries[op.base :]:
            expected = entry.transform(expected, priority=False)
        content = self.section._mainline.content
        history = self.section._mainline.history
        (entry,) = history.between(history.revision - 1, history.revision)
        assert entry == expected, "the entry is not the operation transformed"
        assert _fields(entry) == _fields(expected)
        logged = bytes(self._entry(history.revision).delta)
        assert logged == encode(expected), "what is logged is another delta"
        assert codec.decode(logged, OWN_LIMITS) == expected, "what is logged is read as another delta"
        self.copy.apply(codec.decode(logged, OWN_LIMITS))
        self.entries.append(expected)
        self.documents.append(self.documents[-1].compose(expected))
        document = self.documents[-1]
        assert content.delta() == document, "the content is not what the entries compose to"
        assert self.copy.delta() == document, "a copy that applied the entries differs"
        assert content.length == document.length
        assert document.is_document
        document.text().encode()  # no half of a pair
        limits = self.profile.limits
        if expected.length_change > 0:
            assert content.length <= limits.document_units
        assert content.burden <= max(burden, limits.document_bytes)
        if self.section.next is None:
            assert document.text().endswith("\n"), "the final newline is gone"

    def _again(self, number: int) -> None:
        if not self.accepted:
            return
        op, revision = self.accepted[number % len(self.accepted)]
        if op.cseq > self.cseqs[op.client]:
            return  # the client has counted down since, and the section goes by its last number
        before = self._fingerprint()
        outcome = self.section.submit(op, self.now_ms)
        assert self._fingerprint() == before, f"{outcome} changed something"
        if op.base < self.section.window_start:
            assert isinstance(outcome, Refused), outcome
            assert outcome.code is NackCode.STALE
        else:
            assert isinstance(outcome, Known), outcome
            assert outcome.revision >= revision

    def _commit(self) -> None:
        batch = self.section.unanswered
        if batch is None:
            return
        assert batch.base == len(self.log)
        self.section.committed()
        self.log += batch.entries
        assert self.section.committed_revision == len(self.log)

    def _look(self, number: int) -> None:
        section = self.section
        after = number % (len(self.log) + 1)
        found = section.snapshot(after)
        if found is not None:
            assert after <= found.revision <= len(self.log)
            assert codec.decode(found.content, OWN_LIMITS) == self.documents[found.revision]
        composed = section.composed_after(after)
        entries = section.entries_after(after, 99)
        assert (composed is None) == (entries is None) == (after < section.window_start)
        if composed is None:
            return
        assert entries == self.log[after:][:99]
        (message,) = decode_server_frame(composed[2])
        assert isinstance(message, CaughtUp)
        delta = codec.decode(bytes(message.delta), OWN_LIMITS)
        assert self.documents[after].compose(delta) == self.documents[len(self.log)]

    def _die(self) -> None:
        del self.entries[len(self.log) :], self.documents[len(self.log) + 1 :]
        self.accepted = [(op, revision) for op, revision in self.accepted if revision <= len(self.log)]
        self.cseqs = {op.client: op.cseq for op, _ in self.accepted}
        self.epoch += 1
        self._own(replay(self.profile.start(), self.log, keep=6))
        self.copy = Content(self.documents[-1], 8, 2)
        assert self.section._mainline.content.delta() == self.documents[-1], "replaying the log gives another content"

    def settle(self) -> None:
        self._commit()
        while self.section.freeze("the last ones"):
            self._commit()
        self._look(len(self.log))
        self._die()

    def _entry(self, revision: int) -> OpEntry:
        entry = self.section._window[revision - self.section.window_start - 1]
        assert entry.revision == revision
        return decode_op_entry(entry.entry)

    def _revision_of(self, client: str) -> int:
        """Of the client's last accepted operation in the window; -1 if there is none."""
        revisions = [revision for op, revision in self.accepted if op.client == client]
        return revisions[-1] if revisions and revisions[-1] > self.section.window_start else -1

    def _fingerprint(self) -> tuple[object, ...]:
        section, mainline = self.section, self.section._mainline
        history = mainline.history
        return (
            mainline.content.encode(),
            (mainline.content.length, mainline.content.burden),
            (history.start, history.revision, tuple(history.between(history.start, history.revision))),
            (section.committed_revision, section.unanswered, tuple(section._window), section._window_bytes),
            (dict(section._latest), tuple(section._pending.entries)),
        )


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {"decode": decode_target, "submit": submit_target}
