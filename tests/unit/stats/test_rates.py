"""Rates against a reference, with scipy's exact tests beside them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from kedge.stats import binomial_excess, clopper_pearson_upper, harm_e, tolerance_e, tolerance_rates


@pytest.mark.parametrize(("k", "n"), [(0, 100), (3, 100), (99, 100), (100, 100), (7, 12_345)])
def test_upper_bound_is_scipys_clopper_pearson(k, n):
    expected = binomtest(k, n, alternative="less").proportion_ci(0.9995, "exact").high
    assert clopper_pearson_upper(k, n) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("k", "n", "rate"), [(0, 50, 0.1), (9, 50, 0.1), (50, 50, 0.9), (4, 10_000, 1e-5)])
def test_excess_is_scipys_binomial_test(k, n, rate):
    assert binomial_excess(k, n, rate) == pytest.approx(binomtest(k, n, rate, "greater").pvalue, rel=1e-9)


def test_nothing_seen_bounds_nothing_and_proves_nothing():
    assert clopper_pearson_upper(0, 0) == 1
    assert binomial_excess(0, 0, 0.0) == 1
    assert binomial_excess(1, 10, 0.0) == 0


def test_features_side_by_side():
    upper = clopper_pearson_upper([0, 5, 40], [1000, 1000, 40])
    assert upper.shape == (3,)
    assert binomial_excess([1, 1, 1], 10, upper).shape == (3,)


def test_tolerance_rates_are_bounds_of_all_cells_plus_a_tolerance():
    rates = tolerance_rates([100, 200, 0], 0.012, eps=0.01)
    assert rates == pytest.approx(clopper_pearson_upper([100, 200, 0], 300, 1 - 0.002) + 0.01)
    assert tolerance_rates([0, 0], 0.01).tolist() == [1, 1]
    assert tolerance_rates([50], 0.01).tolist() == [1]


def test_tolerance_e_is_the_average_over_cells():
    upper = np.array([0.5, 0.4, 0.3])
    each = [math.exp(harm_e(k, 100, u)) for k, u in zip([30, 20, 50], upper, strict=True)]
    assert tolerance_e([30, 20, 50], upper) == pytest.approx(math.log(np.mean(each)), rel=1e-12)
    assert tolerance_e([0, 0], [0.5, 0.5]) == 0
    assert tolerance_e([], []) == 0


def test_long_null_streams_stay_quiet_against_an_estimated_reference_and_a_real_shift_does_not():
    rng = np.random.default_rng(1)
    p, fires = rng.dirichlet(np.full(20, 5.0)), 0
    for _ in range(100):
        upper = tolerance_rates(rng.multinomial(5000, p), 0.01)
        stream = rng.multinomial(2000, p, size=100).cumsum(axis=0)
        fires += bool((tolerance_e(stream, upper) >= math.log(2 / 0.01)).any())
    assert fires <= 5
    shifted = 0.9 * p
    shifted[3] += 0.1
    assert tolerance_e(rng.multinomial(5000, shifted), tolerance_rates(1e5 * p, 0.01)) > math.log(200)


@pytest.mark.parametrize(
    "call",
    [
        lambda: clopper_pearson_upper(2, 1),
        lambda: clopper_pearson_upper(1, 2, 1.0),
        lambda: binomial_excess(2, 1, 0.5),
        lambda: binomial_excess(1, 2, 1.5),
        lambda: tolerance_rates([1], 0.0),
    ],
)
def test_input_outside_its_domain_is_refused(call):
    with pytest.raises(ValueError, match=r"must|need"):
        call()
