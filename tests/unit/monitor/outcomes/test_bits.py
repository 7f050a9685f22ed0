"""Sets of 16-bit numbers against Python's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kedge.monitor.outcomes.bits import SPARSE, Bits


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 3000), st.sampled_from([5000, 65536])), max_size=6))
def test_it_is_a_set(parts: list[tuple[int, int, int]]) -> None:
    bits, model = Bits(), set[int]()
    for seed, count, span in parts:
        numbers = np.random.default_rng(seed).integers(0, span, count).astype(np.uint16)
        expected = []
        for number in numbers.tolist():
            expected.append(number not in model)
            model.add(number)
        assert bits.add(numbers).tolist() == expected
        bits = Bits.parse(bits.to_bytes())
        assert len(bits) == len(model)


def test_it_never_takes_more_than_a_bitmap() -> None:
    bits = Bits()
    for start in range(0, 65536, 1000):
        bits.add(np.arange(start, min(start + 1000, 65536)).astype(np.uint16))
        assert bits.size <= 2 * SPARSE == 8192
    assert len(bits) == 65536
    assert len(bits.to_bytes()) < 100


@pytest.mark.parametrize("damaged", [b"", b"no zlib", bytes.fromhex("789c63000000010001")])
def test_damage_is_refused(damaged: bytes) -> None:
    with pytest.raises(ValueError, match="bitmap of remembered labels"):
        Bits.parse(damaged)
