"""The reservoir: bounded, uniform, and made of rows that were offered."""

import numpy as np
from scipy import stats

from kedge.plane.reservoir import Reservoir


def values(reservoir: Reservoir) -> list[int]:
    return [int(row["x"][0, 0]) for row in reservoir.rows()]


def offered(rows: int, size: int, count: int, *, step: int = 7, **keywords: int) -> Reservoir:
    reservoir = Reservoir(rows, size, **keywords)
    for start in range(0, count, step):
        block = np.arange(start, min(start + step, count), dtype=np.int64)[:, None]
        reservoir.offer(["x"], [block], len(block))
    return reservoir


def test_all_rows_are_kept_while_they_fit() -> None:
    assert values(offered(100, 10**6, 60, seed=1)) == list(range(60))


def test_no_more_rows_than_allowed_and_none_twice() -> None:
    kept = values(offered(50, 10**6, 5000, seed=1))
    assert len(kept) == len(set(kept)) == 50


def test_large_rows_are_bounded_by_their_bytes() -> None:
    assert len(values(offered(50, 80, 5000, seed=1))) == 10


def test_every_row_is_as_likely_as_any_other() -> None:
    counts = np.zeros(10)
    for seed in range(400):
        for value in values(offered(10, 10**6, 200, seed=seed)):
            counts[value // 20] += 1
    assert stats.chisquare(counts).pvalue > 0.001


def test_the_sample_is_of_recent_rows() -> None:
    kept = values(offered(20, 10**6, 10_000, seed=3, horizon=1000))
    assert min(kept) >= 8000


def test_rows_are_copies() -> None:
    block = np.zeros((1, 1))
    reservoir = Reservoir(4, 1000, seed=1)
    reservoir.offer(["x"], [block], 1)
    block[0, 0] = 9
    assert values(reservoir) == [0]
