"""Laws of charts, run lengths, conformal thresholds and calibration."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kedge.stats import (
    calibration_error,
    cbpe,
    conformal_histogram,
    conformal_quantile,
    coverage_floor,
    cusum,
    cusum_arl,
    cusum_limit,
    ewma,
    ewma_arl,
    page_hinkley,
    shewhart_arl,
    western_electric,
)

VALUES = arrays(np.float64, st.integers(0, 60), elements=st.one_of(st.just(np.nan), st.floats(-6, 6)))


@given(VALUES)
def test_two_sided_charts_mirror(x):
    for chart in (cusum, page_hinkley):
        path, mirrored = chart(x), chart(-x)
        assert path.up == pytest.approx(mirrored.down, abs=1e-9)
        assert (path.up >= 0).all()
    assert np.array_equal(ewma(x, 0.2, 3.0).value, -ewma(-x, 0.2, 3.0).value)
    assert np.array_equal(western_electric(x), western_electric(-x))


@given(VALUES, st.integers(0, 60))
def test_a_chart_knows_no_future(x, cut):
    for path in (lambda v: cusum(v).up, lambda v: page_hinkley(v).down, lambda v: western_electric(v)[1]):
        assert np.array_equal(path(x)[:cut], path(x[:cut]))


@given(VALUES, st.integers(0, 60))
def test_sums_carry_over_a_restart(x, cut):
    first, whole = cusum(x[:cut]), cusum(x)
    start = (first.up[-1], first.down[-1]) if first.up.size else (0.0, 0.0)
    assert np.array_equal(cusum(x[cut:], start=start).up, whole.up[cut:])


@settings(max_examples=30, deadline=None)
@given(st.floats(0.1, 1.5), st.floats(0.5, 8), st.floats(0, 3))
def test_run_lengths_shrink_with_the_shift_and_grow_with_the_limit(k, h, shift):
    arl = cusum_arl(k, h, shift)
    assert arl >= 1
    assert cusum_arl(k, h, -shift) == pytest.approx(arl, rel=1e-6)
    assert cusum_arl(k, h + 0.5, shift) > arl
    assert cusum_arl(k, h, shift + 0.2) < arl


@settings(max_examples=20, deadline=None)
@given(st.floats(0.25, 1.5), st.floats(2, 15))
def test_limit_and_run_length_are_inverse(k, log10_arl):
    arl0 = 10**log10_arl
    assert cusum_arl(k, cusum_limit(k, arl0)) == pytest.approx(arl0, rel=1e-8)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.05, 1), st.floats(2, 4), st.floats(0, 2))
def test_ewma_run_lengths_shrink_with_the_shift(lam, width, shift):
    assert ewma_arl(lam, width, shift + 0.2) < ewma_arl(lam, width, shift)


@settings(max_examples=10, deadline=None)
@given(st.sets(st.integers(1, 4), min_size=1), st.integers(1, 4), st.floats(0, 2))
def test_another_rule_never_lengthens_a_run(rules, other, shift):
    assert 1 <= shewhart_arl(rules | {other}, shift) <= shewhart_arl(rules, shift) * (1 + 1e-9)


SCORES = arrays(np.float64, st.integers(0, 80), elements=st.floats(-5, 5))


@given(SCORES, st.floats(0.01, 0.99), st.integers(1, 40))
def test_thresholds_are_never_below_the_ranked_score(scores, alpha, bins):
    edges, counts, n = conformal_histogram(scores, bins)
    k = math.ceil((n + 1) * (1 - alpha) - 1e-9)
    threshold = float(conformal_quantile(edges, counts, alpha, n))
    if k > n:
        assert threshold == math.inf
    else:
        assert np.sort(scores)[k - 1] <= threshold <= scores.max()


@given(SCORES, st.floats(0.01, 0.9))
def test_a_smaller_miss_rate_never_lowers_the_threshold(scores, alpha):
    edges, counts, n = conformal_histogram(scores)
    lower, higher = conformal_quantile(edges, counts, [alpha, alpha / 2], n)
    assert lower <= higher


@given(st.integers(0, 10**6), st.floats(0.001, 0.5), st.floats(0.0001, 0.4))
def test_a_floor_lies_below_the_promise_and_rises_with_delta(n, alpha, delta):
    floor = float(coverage_floor(n, alpha, delta))
    assert 0 <= floor <= coverage_floor(n, alpha, min(2 * delta, 0.5)) <= 1
    if (n + 1) * alpha >= 1:
        assert floor <= 1 - alpha + 2 / (n + 1)


@st.composite
def reliability(draw):
    bins = draw(st.integers(1, 8))
    n = draw(arrays(np.int64, bins, elements=st.integers(0, 1000)))
    p = draw(arrays(np.float64, bins, elements=st.floats(0, 1)))
    y = draw(arrays(np.float64, bins, elements=st.floats(0, 1)))
    return n, n * p, np.floor(n * y), n * p * (1 - p)


@given(reliability())
def test_calibration_is_in_range(bins):
    got = calibration_error(*bins)
    assert 0 <= got.ece_corrected <= got.ece <= 1 + 1e-12
    assert 0 <= got.p_value <= 1
    assert got.dof <= bins[0].size
    assert not math.isnan(got.statistic)


@given(reliability(), st.integers(0, 1000))
def test_estimated_accuracy_is_a_probability(bins, extra):
    n, _, right, _ = bins
    estimate, error = cbpe(n[::-1], n + extra, right)
    assert 0 < estimate < 1
    assert 0 < error <= 0.75
