"""Calibration error against its null, and accuracy without labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import chi2

from kedge.stats import accuracy_bounds, calibration_error, calibration_null, cbpe, cbpe_thin_share


def test_null_known_values_of_the_plan():
    assert calibration_null([2.5, 4, 1.6, 0.9], 100) == pytest.approx((0.0462352815, 0.0180843082), abs=1e-10)


def test_calibration_error_is_its_formulas():
    got = calibration_error([40, 60], [10.0, 45.0], [14, 41], [7.0, 10.0])
    null = (math.sqrt(14 / math.pi) + math.sqrt(20 / math.pi)) / 100
    assert got.ece == pytest.approx(0.08)
    assert got.null_mean == pytest.approx(null)
    assert got.ece_corrected == pytest.approx(max(0, 0.08 - null))
    assert got.statistic == pytest.approx(16 / 7 + 16 / 10)
    assert (got.dof, got.p_value) == (2, pytest.approx(chi2.sf(16 / 7 + 16 / 10, 2)))


def test_a_calibrated_model_shows_its_null_and_passes_its_test():
    rng = np.random.default_rng(1)
    p = rng.uniform(0, 1, size=(2000, 10, 60))
    p = (np.arange(10)[:, None] + p) / 10
    y = rng.random(p.shape) < p
    got = calibration_error(np.full((2000, 10), 60), p.sum(-1), y.sum(-1), (p * (1 - p)).sum(-1))
    assert got.ece.mean() == pytest.approx(got.null_mean.mean(), rel=0.03)
    assert got.ece.std() == pytest.approx(got.null_sd.mean(), rel=0.05)
    assert (got.p_value < 0.05).mean() == pytest.approx(0.05, abs=0.02)


def test_certain_predictions():
    """Probabilities of exactly 0 and 1 leave no room for chance: right is silent, wrong is proof."""
    right = calibration_error([10, 10], [0.0, 10.0], [0, 10], [0.0, 0.0])
    assert (right.ece, right.dof, right.p_value) == (0, 0, 1)
    wrong = calibration_error([10, 10], [0.0, 10.0], [1, 10], [0.0, 0.0])
    assert (wrong.statistic, wrong.p_value) == (math.inf, 0)


def test_rounding_in_long_sums_is_no_evidence():
    assert calibration_error([10**9], [1e9 - 1e-3], [10**9], [0.0]).p_value == 1


def test_empty_bins_and_no_rows():
    whole = calibration_error([40, 60], [10.0, 45.0], [14, 41], [7.0, 10.0])
    padded = calibration_error([40, 0, 60], [10.0, 0.0, 45.0], [14, 0, 41], [7.0, 0.0, 10.0])
    assert padded == pytest.approx(whole)
    nothing = calibration_error([0, 0], [0, 0], [0, 0], [0, 0])
    assert nothing == (0, 0, 0, 0, 0, 0, 1)
    assert calibration_null([], 0) == (0, 0)


def test_cbpe_is_its_formulas():
    estimate, error = cbpe([30, 70], [100, 400], [60, 380])
    a = np.array([60.5 / 101, 380.5 / 401])
    w = np.array([0.3, 0.7])
    assert estimate == pytest.approx(float((w * a).sum()), rel=1e-13)
    variance = (w**2 * a * (1 - a) / np.array([101, 401])).sum() + (w * a * (1 - a)).sum() / 100
    assert error == pytest.approx(math.sqrt(variance), rel=1e-13)


def test_cbpe_covers_the_truth_when_confidence_means_what_it_meant():
    rng = np.random.default_rng(2)
    truth, shares = np.linspace(0.5, 0.98, 10), rng.dirichlet(np.full(10, 3.0))
    inside = 0
    for _ in range(1500):
        m = rng.multinomial(3000, np.full(10, 0.1))
        n = rng.multinomial(1000, shares)
        estimate, error = cbpe(n, m, rng.binomial(m, truth))
        inside += abs(estimate - rng.binomial(n, truth).sum() / 1000) <= 1.96 * error
    assert inside / 1500 == pytest.approx(0.95, abs=0.025)


def test_cbpe_without_rows_says_nothing():
    assert cbpe([0, 0], [50, 50], [40, 30]) == (0.5, 0.5)
    assert cbpe([], [], []) == (0.5, 0.5)


def test_share_of_rows_without_calibration():
    assert cbpe_thin_share([90, 6, 4], [500, 29, 30]) == pytest.approx(0.06)
    assert cbpe_thin_share([0, 0], [0, 0]) == 0


def test_worst_case_bounds_of_partly_labelled_accuracy():
    assert accuracy_bounds(0.9, 0.8) == pytest.approx((0.72, 0.92))
    assert accuracy_bounds(0.9, 0.0) == (0, 1)
    assert accuracy_bounds(0.9, 1.0) == pytest.approx((0.9, 0.9))


@pytest.mark.parametrize(
    "call",
    [
        lambda: calibration_error([1, 2], [0.5], [1], [0.2]),
        lambda: calibration_error([-1], [0.5], [1], [0.2]),
        lambda: cbpe([1], [1], [2]),
        lambda: cbpe([1, 2], [1], [1]),
        lambda: accuracy_bounds(1.1, 0.5),
    ],
)
def test_input_outside_its_domain_is_refused(call):
    with pytest.raises(ValueError, match="must"):
        call()
