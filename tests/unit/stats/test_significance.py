"""Homogeneity tests and false discovery control against scipy and the papers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2_contingency, false_discovery_control

from kedge.stats import benjamini_hochberg, chi2_test, e_bh, g_test

# The fifteen p-values of Benjamini and Hochberg 1995, section 4.
PAPER = [
    *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344),
    *(0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0),
]


def test_both_statistics_agree_with_scipy_where_nothing_is_pooled():
    table = [[120, 90, 60, 30], [40, 40, 30, 30]]
    for test, name in ((chi2_test, "pearson"), (g_test, "log-likelihood")):
        expected = chi2_contingency(table, correction=False, lambda_=name)
        assert test(*table) == pytest.approx((expected.statistic, expected.dof, expected.pvalue), rel=1e-12)


def test_cells_expected_under_five_are_tested_as_one():
    # Expected in `current`: 51.6, 44.8, 2.1, 1.0, 0.5 of 100; the last three are pooled, and still under 5,
    # so the smallest other cell joins them.
    r, c = [500, 450, 20, 10, 5], [67, 42, 3, 1, 1]
    expected = chi2_contingency([[500, 485], [67, 47]], correction=False, lambda_="log-likelihood")
    assert g_test(r, c) == pytest.approx((expected.statistic, 1, expected.pvalue), rel=1e-12)


def test_a_pool_that_is_large_enough_stays_apart():
    r, c = [500, 400, 30, 30, 30], [50, 40, 4, 4, 4]
    expected = chi2_contingency([[500, 400, 90], [50, 40, 12]], correction=False, lambda_="log-likelihood")
    assert g_test(r, c) == pytest.approx((expected.statistic, 2, expected.pvalue), rel=1e-12)


@pytest.mark.parametrize(
    ("r", "c"), [([0, 0], [5, 5]), ([50, 50], [0, 0]), ([70], [30]), ([0], [0]), ([1, 1], [1, 1]), ([90, 0], [40, 0])]
)
def test_what_cannot_be_tested_is_not_significant(r, c):
    assert g_test(r, c) == (0, 0, 1)
    assert chi2_test(r, c) == (0, 0, 1)


def test_p_values_are_uniform_when_nothing_drifted():
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(20))
    result = g_test(rng.multinomial(100_000, p, 4000), rng.multinomial(2000, p, 4000))
    for level in (0.001, 0.01, 0.1, 0.5):
        spread = 4 * np.sqrt(level * (1 - level) / 4000)
        assert (result.p_value <= level).mean() == pytest.approx(level, abs=max(spread, 0.2 * level))


def test_benjamini_and_hochberg_reject_the_four_of_their_paper():
    assert benjamini_hochberg(PAPER, 0.05).tolist() == [True] * 4 + [False] * 11


def test_benjamini_hochberg_agrees_with_scipy_over_features():
    rng = np.random.default_rng(2)
    p = rng.uniform(size=(200, 15)) ** 3
    adjusted = false_discovery_control(p, axis=-1)
    assert (benjamini_hochberg(p, 0.05) == (adjusted <= 0.05)).all()


def test_a_hypothesis_that_was_not_tested_takes_no_part():
    assert benjamini_hochberg([0.04, np.nan, np.nan], 0.05).tolist() == [True, False, False]
    assert e_bh([np.log(30.0), np.nan, np.nan], 0.05).tolist() == [True, False, False]


def test_no_hypotheses_are_no_rejections():
    assert benjamini_hochberg([]).size == 0
    assert e_bh([]).size == 0
    assert not benjamini_hochberg([np.nan]).any()
    assert not e_bh([np.nan]).any()


def test_false_discoveries_stay_at_their_level():
    rng = np.random.default_rng(3)
    nulls, real = rng.uniform(size=(3000, 24)), rng.uniform(size=(3000, 8)) * 1e-4
    found = benjamini_hochberg(np.concatenate([nulls, real], axis=1), 0.05)
    share = found[:, :24].sum(axis=1) / np.maximum(found.sum(axis=1), 1)
    assert share.mean() == pytest.approx(0.05 * 24 / 32, abs=4 * share.std() / np.sqrt(3000))


def test_e_bh_is_benjamini_hochberg_on_inverse_e_values():
    rng = np.random.default_rng(4)
    log_e = rng.exponential(4.0, size=(100, 12))
    assert (e_bh(log_e, 0.05) == benjamini_hochberg(np.exp(-log_e), 0.05)).all()


def test_e_bh_needs_k_over_alpha_from_a_lone_e_value_and_less_from_several():
    assert e_bh(np.log([79.0, 1.0, 1.0, 1.0]), 0.05).tolist() == [False] * 4
    assert e_bh(np.log([81.0, 1.0, 1.0, 1.0]), 0.05).tolist() == [True, False, False, False]
    assert e_bh(np.log([41.0, 41.0, 1.0, 1.0]), 0.05).tolist() == [True, True, False, False]


def test_e_values_past_the_float_range_are_still_compared():
    assert e_bh([5000.0, -5000.0, np.inf, -np.inf], 0.001).tolist() == [True, False, True, False]
