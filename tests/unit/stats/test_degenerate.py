"""Empty, constant, single-class and all-NaN traffic: no warning, no crash, and no finding."""

from __future__ import annotations

import numpy as np
import pytest

from kedge import stats

EMPTY = np.zeros((3, 4))
ALL_IN_ONE = np.array([[0, 0, 900, 0]] * 3)

DISTANCES = [
    stats.psi,
    stats.psi_corrected,
    stats.js_distance,
    stats.hellinger,
    stats.total_variation,
    stats.l_infinity,
    stats.ks_binned,
    lambda r, c: stats.js_distance(r, c, corrected=True),
    lambda r, c: stats.hellinger(r, c, corrected=True),
    lambda r, c: stats.wasserstein_binned(r, c, np.arange(np.shape(r)[-1]), 1.0),
    lambda r, c: stats.wasserstein_binned(r, c, np.arange(np.shape(r)[-1]), 0.0, corrected=True),
]


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize(
    ("r", "c"),
    [(EMPTY, EMPTY), (EMPTY, ALL_IN_ONE), (ALL_IN_ONE, EMPTY), (ALL_IN_ONE, ALL_IN_ONE), ([], []), ([7], [9])],
)
def test_nothing_to_compare_is_no_distance(distance, r, c):
    assert np.all(distance(r, c) == 0)


@pytest.mark.parametrize("distance", DISTANCES)
def test_every_row_turning_nan_is_the_largest_move_there_is(distance):
    """All mass leaves the bins for the NaN slot, the last one here."""
    valid, missing = [500, 500, 0], [0, 0, 1000]
    assert distance(valid, missing) > 0.5


@pytest.mark.parametrize("test", [stats.g_test, stats.chi2_test])
@pytest.mark.parametrize(("r", "c"), [(EMPTY, ALL_IN_ONE), (ALL_IN_ONE, ALL_IN_ONE), ([], []), ([3], [4])])
def test_nothing_to_compare_is_not_significant(test, r, c):
    assert np.all(test(r, c).p_value == 1)


def test_no_features_at_all():
    none = np.zeros((0, 5))
    assert stats.psi(none, none).shape == (0,)
    assert stats.g_test(none, none).p_value.shape == (0,)
    assert stats.benjamini_hochberg(stats.g_test(none, none).p_value).shape == (0,)
    assert stats.harm_e([], [], []).shape == (0,)
    assert stats.beta_binomial_e([], [], [], 1, 1).shape == (0,)
    assert stats.clopper_pearson_upper([], []).shape == (0,)
    assert stats.empirical_process_radius([], 0.05).shape == (0,)
    assert stats.coverage_floor([], 0.1).shape == (0,)


def test_charts_without_time_or_without_values():
    for shape in ((0,), (3, 0)):
        x = np.zeros(shape)
        assert stats.cusum(x).alarm.shape == shape
        assert stats.ewma(x, 0.2, 3.0).alarm.shape == shape
        assert stats.page_hinkley(x).alarm.shape == shape
        assert stats.western_electric(x).shape == (4, *shape)
        assert np.all(stats.residual_scale(x) == 0)
    for x in (np.full(50, np.nan), np.zeros(50)):
        assert not stats.cusum(x).alarm.any()
        assert not stats.ewma(x, 0.2, 3.0).alarm.any()
        assert not stats.page_hinkley(x).alarm.any()
        assert not stats.western_electric(x).any()


def test_charts_on_infinite_values_alarm():
    for x in (np.inf, -np.inf):
        assert stats.cusum([x]).alarm.all()
        assert stats.ewma([x], 0.2, 3.0).alarm.all()
        assert stats.western_electric([x], [1]).all()


def test_single_class_confidence():
    """One class predicted with certainty in every row, always right."""
    assert stats.calibration_error([1000], [1000.0], [1000], [0.0]).p_value == 1
    estimate, error = stats.cbpe([1000], [5000], [5000])
    assert estimate > 0.999
    assert error < 0.001
    edges, counts, n = stats.conformal_histogram(np.zeros(1000))
    assert stats.conformal_quantile(edges, counts, 0.1, n) == 0


def test_one_feature_gives_one_number():
    for value in (stats.psi([1, 2], [3, 4]), stats.harm_e(1, 2, 0.1), stats.empirical_process_radius(200, 0.05)):
        assert isinstance(value, float)
