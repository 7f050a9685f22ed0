"""The generator's histogram against numpy, and its schedules against their distributions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from kedge.load.report import PRECISION, Latency

native = pytest.importorskip("kedge._load", reason="this build has no load generator")

times = st.lists(st.integers(0, 2**40 - 1) | st.integers(0, 10**7), min_size=1, max_size=300)


@settings(max_examples=80, deadline=None)
@given(times, st.floats(0.001, 1.0))
def test_percentiles_are_numpys_within_the_precision(values: list[int], share: float) -> None:
    histogram = native.Histogram()
    histogram.record(np.array(values, np.int64))
    exact = int(np.percentile(values, 100 * share, method="inverted_cdf"))
    # A share that falls on a rank may be rounded to either side of it: what is next to it counts as well.
    below = int(np.percentile(values, max(0.0, 100 * (share - 1e-12)), method="inverted_cdf"))
    assert below <= histogram.at(share) <= exact * (1 + PRECISION)


@settings(max_examples=25, deadline=None)
@given(times, times)
def test_two_histograms_add_up_to_one(first: list[int], second: list[int]) -> None:
    left, right, both = native.Histogram(), native.Histogram(), native.Histogram()
    left.record(np.array(first, np.int64))
    right.record(np.array(second, np.int64))
    both.record(np.array(first + second, np.int64))
    left.add(right)
    assert left.cells() == both.cells()
    assert (left.count, left.min, left.max) == (len(first + second), min(first + second), max(first + second))


def test_latencies_are_in_seconds() -> None:
    histogram = native.Histogram()
    histogram.record(np.arange(1, 1001) * 1_000_000)
    found = Latency.of(histogram)
    assert found.count == 1000
    assert found.max == 1.0
    assert found.min == 0.001
    assert found.mean == pytest.approx(0.5005)
    assert [found.p50, found.p90, found.p99, found.p999] == pytest.approx([0.5, 0.9, 0.99, 0.999], rel=PRECISION)


@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_poisson_arrivals_have_exponential_gaps_that_know_nothing_of_each_other(seed: int) -> None:
    rate, count = 5_000.0, 50_000
    at = native.arrivals(True, rate, seed, count)
    gaps = np.diff(at) / 1e9
    assert scipy.stats.kstest(gaps, scipy.stats.expon(scale=1 / rate).cdf).pvalue > 0.001
    per_10ms = np.bincount((at // 10_000_000).astype(int))[:-1]
    dispersion = per_10ms.var(ddof=1) / per_10ms.mean()  # of Poisson counts: 1, give or take sqrt(2 / n)
    assert abs(dispersion - 1) < 4 * np.sqrt(2 / len(per_10ms))
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 4 / np.sqrt(len(gaps))


def test_uniform_arrivals_are_evenly_apart() -> None:
    assert native.arrivals(False, 4_000.0, 0, 5).tolist() == [0, 250_000, 500_000, 750_000, 1_000_000]


def test_a_seed_gives_the_same_arrivals() -> None:
    first, again, other = (native.arrivals(True, 1_000.0, seed, 100) for seed in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()
