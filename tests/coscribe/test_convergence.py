"""Sessions and owners together, over a wire that delays, drops, doubles and reorders, with connections that break or
move, and owners that change: at rest all read the log's text, each operation is in it once, and what was typed is
whole."""

import random

import pytest

from coscribe import session as session_module
from coscribe.ot import Delta
from coscribe.protocol import decode_op_entry
from coscribe.session import Changed, Joined
from tests.coscribe.model_server import Model

SEEDS = range(60)


@pytest.fixture(autouse=True)
def composed_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "COMPOSED_FROM", 4)


class Typists(Model):
    """Each session has an editor that applies what it is told, and a cursor that types a text of its own."""

    def __init__(self, rng: random.Random, texts: list[str], clients: int, deletes: bool) -> None:
        self.deletes = deletes
        self.editors: dict[int, Delta] = {}
        self.cursors: dict[int, int] = {}
        self.typed = dict.fromkeys(range(clients), "")
        super().__init__(rng, texts, clients)

    def received(self, number: int, frame: bytes, beside: bool = False) -> None:
        for event in self.read(number, frame, beside):
            if isinstance(event, Joined):
                self.editors[number] = event.content
                self.cursors[number] = self.rng.randint(0, event.content.length - 1)
            elif isinstance(event, Changed):
                self.editors[number] = self.editors[number].compose(event.delta)
                cursor = event.delta.transform_position(self.cursors[number], priority=True)
                self.cursors[number] = min(cursor, self.editors[number].length - 1)
        if number not in self.editors:
            return
        assert self.sessions[number].content() == self.editors[number]
        if self.typed[number] and not self.deletes:
            text = self.editors[number].text()
            assert text.count(self.typed[number]) == 1
            self.cursors[number] = text.index(self.typed[number]) + len(self.typed[number])

    def edit(self, number: int, delta: Delta) -> None:
        self.sessions[number].edit(delta, self.now)
        self.editors[number] = self.editors[number].compose(delta)

    def type(self, number: int) -> None:
        """The next letter of this client: its letters, numbered, are its text."""
        typed = self.typed[number]
        letter = chr(ord("A") + number) if len(typed) % 3 == 0 else str(len(typed) % 10)
        self.edit(number, Delta.replace(self.cursors[number], 0, letter))
        self.cursors[number] += 1
        self.typed[number] += letter

    def change(self, number: int) -> None:
        """Any edit but of the last newline."""
        length = self.editors[number].length
        at = self.rng.randint(0, length - 1)
        units = self.rng.randint(0, min(4, length - 1 - at))
        if units and self.rng.random() < 0.3:
            self.edit(number, Delta.format(at, units, {"bold": self.rng.choice([True, None])}))
        else:
            self.edit(number, Delta.replace(at, units, self.rng.choice(["", "x", "yz", "\n"])))
        self.cursors[number] = self.rng.randint(0, self.editors[number].length - 1)

    def step(self) -> None:
        self.now += 0.05
        number = self.rng.randrange(len(self.sessions))
        kind = self.rng.random()
        if kind < 0.1 and len(self.editors) == len(self.sessions):
            if self.deletes and self.rng.random() < 0.5:
                self.change(number)
            else:
                self.type(number)
        elif kind < 0.2:
            self.commit(self.rng.choice(list(self.logs)))
        elif kind < 0.22:
            self.connect(number)
        elif kind < 0.24:
            self.greet_beside(number)
        elif kind < 0.27:
            self.switch(number)
        elif kind < 0.28:
            self.logs[self.rng.choice(list(self.logs))].activate()
        elif kind < 0.35:
            self.sessions[number].tick(self.now)
        else:
            self.move()

    def check(self) -> None:
        for number, session in enumerate(self.sessions):
            assert session.content() == self.editors[number]
            assert session.content().text() == self.text()
        for log in self.logs.values():
            operations = [(op.client, op.cseq) for op in (decode_op_entry(entry.entry) for entry in log.entries)]
            assert len(operations) == len(set(operations))
            for client in {client for client, _ in operations}:
                cseqs = [cseq for author, cseq in operations if author == client]
                assert cseqs == sorted(cseqs)


TEXTS = [["\n"], ["some text\n"], ["first ", "second\n"], ["one\n", "two ", "three\n"]]


@pytest.mark.parametrize("seed", SEEDS)
def test_at_rest_everybody_reads_the_log(seed: int) -> None:
    rng = random.Random(seed)
    model = Typists(rng, TEXTS[seed % len(TEXTS)], rng.randint(2, 4), deletes=True)
    for _ in range(600):
        model.step()
    model.heal()
    model.check()


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_typed_is_whole(seed: int) -> None:
    """All begin at random places of one text, often the same; nobody deletes."""
    rng = random.Random(seed)
    model = Typists(rng, TEXTS[seed % len(TEXTS)], rng.randint(2, 4), deletes=False)
    for _ in range(600):
        model.step()
    model.heal()
    model.check()
    text = model.text()
    for typed in model.typed.values():
        assert typed in text, (typed, text)
    assert len(text) == sum(map(len, TEXTS[seed % len(TEXTS)])) + sum(map(len, model.typed.values()))
