"""Packed chunks: what was packed comes back, and damage never passes for entries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coscribe.batch import LogEntry
from persistence.chunks import ChunkDamaged, pack, unpack
from tests.persistence.samples import entries

numbers = st.integers(0, 2**53)
contents = st.lists(st.tuples(numbers, numbers, st.text(max_size=20), st.binary(max_size=200)), min_size=1, max_size=20)


@given(first=st.integers(1, 2**53), rows=contents)
def test_what_was_packed_comes_back(first: int, rows: list[tuple[int, int, str, bytes]]) -> None:
    run = [LogEntry(first + i, *row) for i, row in enumerate(rows)]
    assert unpack(pack(run), first) == run


def test_every_flipped_bit_and_every_cut_is_seen() -> None:
    chunk = pack(entries(1, 5))
    for place in range(len(chunk)):
        for bit in range(8):
            damaged = bytearray(chunk)
            damaged[place] ^= 1 << bit
            with pytest.raises(ChunkDamaged):
                unpack(bytes(damaged), 1)
        with pytest.raises(ChunkDamaged):
            unpack(chunk[:place], 1)


def test_repetition_is_squeezed_and_noise_is_not_made_larger() -> None:
    assert len(pack(entries(1, 1000))) < 20_000
    noise = LogEntry(1, 1, 1, "", bytes((n * n * 31 + n // 7) % 251 for n in range(40)))
    assert len(pack([noise])) < 40 + 16
