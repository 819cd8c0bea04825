"""Every trace, through the bytes of the wire, leads to exactly the text or document that its authors saw."""

from typing import Any

import pytest

from coscribe.ot import Content, Delta, History, decode, encode
from tests.ot.traces import delta_of, load


def apply_all(content: Content, deltas: list[Delta]) -> None:
    for delta in deltas:
        read = decode(encode(delta))
        assert read == delta
        content.apply(read)


@pytest.mark.parametrize("name", ["automerge-paper", "sveltecomponent", "friendsforever_flat"])
def test_one_writer(name: str) -> None:
    trace = load(name)
    content = Content(Delta.replace(0, 0, trace["startContent"]))
    apply_all(content, [delta_of(transaction["patches"]) for transaction in trace["txns"]])
    assert content.text() == trace["endContent"]


def test_rich_text() -> None:
    trace = load("rich-json-crdt-blog-post")
    content = Content()
    apply_all(content, [Delta.from_quill(operations) for operations in trace["txns"]])
    assert content.delta().to_quill() == trace["end"]


def test_formats_in_short_segments() -> None:
    trace = load("rich-json-crdt-blog-post")
    content = Content(Delta(), 16, 4)
    apply_all(content, [Delta.from_quill(operations) for operations in trace["txns"]])
    assert content.delta() == Delta.from_quill(trace["end"])


def test_two_writers_at_once() -> None:
    """The owner's order is that of the trace. For each author there is a window of what the other wrote and it had not
    seen, as that reads after all of its own: there it is rebased, and the window is taken on over it."""
    transactions = load("friendsforever")["txns"]
    content = Content()
    windows = [History(0), History(0)]
    for transaction, (author, seen) in zip(transactions, seen_of_the_other(transactions), strict=True):
        made = decode(encode(delta_of(transaction["patches"])))
        window = windows[author]
        window.drop_before(seen)
        unseen = window.between(seen, window.revision)
        rebased = window.rebase(made, seen)
        window.truncate(seen)
        for entry in unseen:
            window.append(made.transform(entry, priority=True))
            made = entry.transform(made, priority=False)
        assert made == rebased
        content.apply(rebased)
        windows[1 - author].append(rebased)
    assert content.text() == load("friendsforever")["endContent"]


def seen_of_the_other(transactions: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """For each transaction its author, and how many of the other's are among what it was made on."""
    known: list[list[int]] = []
    answer = []
    for transaction in transactions:
        author = transaction["agent"]
        before = [known[parent] for parent in transaction["parents"]] or [[0, 0]]
        counts = [max(count) for count in zip(*before, strict=True)]
        answer.append((author, counts[1 - author]))
        counts[author] += 1
        known.append(counts)
    return answer
