"""The outbox: everything once and in order, joined into frames of a bounded size."""

import json
import random

from router.outbox import FRAME_BYTES, SHARED_BYTES, Outbox
from router.run import Joined


class Woken:
    count = 0

    def __call__(self) -> None:
        self.count += 1


def test_what_waits_leaves_in_one_frame_as_an_array() -> None:
    woken = Woken()
    outbox = Outbox(woken)
    assert outbox.take() is None
    for message in (b'{"a":1}', b'{"b":2},{"b":3}', b'{"c":4}'):
        outbox.push(message)
    assert outbox.size == 29
    assert json.loads(outbox.take() or b"") == [{"a": 1}, {"b": 2}, {"b": 3}, {"c": 4}]
    assert (outbox.take(), outbox.size, woken.count) == (None, 0, 3)


def test_a_frame_is_bounded_but_for_a_message_that_is_longer_by_itself() -> None:
    outbox = Outbox(Woken())
    sizes = [10, FRAME_BYTES - 10, 1, FRAME_BYTES * 3, 5, 5]
    for size in sizes:
        outbox.push(b"x" * size)
    frames = []
    while frame := outbox.take():
        frames.append(frame)
    assert [len(frame) for frame in frames] == [FRAME_BYTES + 3, 3, FRAME_BYTES * 3 + 2, 13]


def test_nothing_is_lost_doubled_or_turned_round() -> None:
    rng = random.Random(7)
    outbox = Outbox(Woken())
    pushed, taken = [], []
    for number in range(5_000):
        pushed.append(number)
        outbox.push(b"[%d,%s]" % (number, b'"%s"' % (b"x" * rng.randrange(200))))
        if rng.random() < 0.01:
            while frame := outbox.take():
                taken += [message[0] for message in json.loads(frame)]
            assert outbox.size == 0
    while frame := outbox.take():
        taken += [message[0] for message in json.loads(frame)]
    assert taken == pushed


def test_what_is_long_and_shared_is_a_frame_by_itself_and_one_object_for_all() -> None:
    snapshot = Joined(b'{"t":"snapshot","x":"%s"}' % (b"x" * SHARED_BYTES))
    first, second = Outbox(Woken()), Outbox(Woken())
    for outbox in (first, second):
        outbox.push(b'{"a":1}')
        outbox.share(snapshot)
        outbox.push(b'{"b":2}')
        outbox.share(Joined(b'{"c":3}'))
    frames = [[outbox.take() for _ in range(4)] for outbox in (first, second)]
    assert frames[0] == frames[1] == [b'[{"a":1}]', b"[%s]" % snapshot.messages, b'[{"b":2},{"c":3}]', None]
    assert frames[0][1] is frames[1][1]
    assert first.size == second.size == 0


def test_the_two_bounds() -> None:
    outbox = Outbox(Woken(), soft_bytes=100, hard_bytes=300)
    bounds = []
    for size in (100, 1, 199, 1):
        outbox.push(b"x" * size)
        bounds.append((outbox.full, outbox.overrun))
    assert bounds == [(False, False), (True, False), (True, False), (True, True)]
    outbox.take()
    assert (outbox.full, outbox.overrun) == (False, False)


def test_cleared_it_gives_nothing_more() -> None:
    outbox = Outbox(Woken())
    outbox.push(b"x")
    outbox.clear()
    assert (outbox.take(), outbox.size) == (None, 0)
