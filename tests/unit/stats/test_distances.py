"""Distances against figures of the plan, scipy and what their formulas say at the edges."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp, wasserstein_distance

from kedge.stats import (
    hellinger,
    js_distance,
    ks_binned,
    l_infinity,
    psi,
    psi_corrected,
    total_variation,
    wasserstein_binned,
)

FOUR = ([100, 200, 300, 400], [40, 30, 20, 10])
WITH_EMPTY = ([2000, 3000, 5000, 0, 0], [90, 160, 240, 10, 0])


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        (FOUR, (0.8902172901, 0.8572172901, 0.3918681606, 0.3841998676, 0.3318162917, 0.3255411670)),
        (WITH_EMPTY, (0.1301546934, 0.1238546934, 0.1037294037, 0.0981002897, 0.1025998252, 0.0986875075)),
    ],
)
def test_known_values_of_the_plan(sides, expected):
    got = (
        psi(*sides),
        psi_corrected(*sides),
        js_distance(*sides),
        js_distance(*sides, corrected=True),
        hellinger(*sides),
        hellinger(*sides, corrected=True),
    )
    assert got == pytest.approx(expected, abs=1e-10)


def test_psi_is_the_textbook_sum_with_half_a_count_added():
    p, q = np.array([10.5, 20.5, 70.5]) / 101.5, np.array([30.5, 30.5, 40.5]) / 101.5
    assert psi([10, 20, 70], [30, 30, 40]) == pytest.approx(float(((q - p) * np.log(q / p)).sum()), rel=1e-14)


def test_jensen_shannon_agrees_with_scipy():
    rng = np.random.default_rng(1)
    r, c = rng.integers(0, 50, (20, 12)), rng.integers(0, 50, (20, 12))
    assert js_distance(r, c) == pytest.approx(jensenshannon(r, c, base=2, axis=1), rel=1e-12)


def test_hellinger_of_two_bernoullis():
    assert hellinger([1, 3], [1, 1]) == pytest.approx(np.sqrt(1 - (np.sqrt(0.125) + np.sqrt(0.375))), rel=1e-12)


def test_total_variation_and_largest_cell():
    assert total_variation([50, 30, 20], [20, 30, 50]) == pytest.approx(0.3)
    assert l_infinity([50, 30, 20], [20, 40, 40]) == pytest.approx(0.3)


def test_binned_wasserstein_and_kolmogorov_are_exact_on_values_that_are_their_bins():
    rng = np.random.default_rng(2)
    a, b = rng.integers(0, 8, 300), rng.integers(2, 10, 200)
    r, c = np.bincount(a, minlength=10), np.bincount(b, minlength=10)
    assert wasserstein_binned(r, c, np.arange(10), 2.0) == pytest.approx(wasserstein_distance(a, b) / 2.0, rel=1e-12)
    assert ks_binned(r, c) == pytest.approx(ks_2samp(a, b).statistic, rel=1e-12)


def test_wasserstein_null_mean_is_what_sampling_gives():
    rng = np.random.default_rng(3)
    p, means = np.full(20, 0.05), np.linspace(-1.9, 1.9, 20)
    r, c = rng.multinomial(5000, p, 4000), rng.multinomial(500, p, 4000)
    raw = wasserstein_binned(r, c, means, 1.0)
    null = np.cumsum(p)[:-1]
    expected = (0.2 * np.sqrt(2 * null * (1 - null) * (1 / 5000 + 1 / 500) / np.pi)).sum()
    assert raw.mean() == pytest.approx(expected, rel=0.02)


def test_one_line_on_three_scales():
    """PSI* 0.1 = JS* 0.134 = H* 0.112, here on a small smooth shift of many rows."""
    x = np.linspace(-4, 4, 41)
    p = np.exp(-0.5 * x**2)
    q = np.exp(-0.5 * (x - 0.316) ** 2)
    r, c = 1e8 * p / p.sum(), 1e8 * q / q.sum()
    assert psi_corrected(r, c) == pytest.approx(0.1, rel=0.02)
    assert js_distance(r, c, corrected=True) == pytest.approx(0.134, rel=0.02)
    assert hellinger(r, c, corrected=True) == pytest.approx(0.112, rel=0.02)


@pytest.mark.parametrize(("rows", "share"), [(1000, 0.38), (1_000_000, 0.31)])
def test_raw_psi_cries_wolf_on_small_windows_and_the_corrected_one_does_not(rows, share):
    rng = np.random.default_rng(4)
    r = rng.multinomial(rows, np.full(10, 0.1), size=20_000)
    c = rng.multinomial(100, np.full(10, 0.1), size=20_000)
    assert (psi(r, c) > 0.1).mean() == pytest.approx(share, abs=0.012)
    assert (psi_corrected(r, c) > 0.1).mean() < 0.05


def test_corrected_distances_average_to_nothing_before_they_are_cut_at_zero():
    """The subtracted mean is right when raw distances lie above and below it evenly."""
    rng = np.random.default_rng(5)
    p = np.full(16, 1 / 16)
    r, c = rng.multinomial(20_000, p, 3000), rng.multinomial(2_000, p, 3000)
    mean = 15 * (1 / 20_000 + 1 / 2_000)
    assert psi(r, c).mean() == pytest.approx(mean, rel=0.02)
    assert (js_distance(r, c) ** 2).mean() == pytest.approx(mean / (8 * np.log(2)), rel=0.02)
    assert (hellinger(r, c) ** 2).mean() == pytest.approx(mean / 8, rel=0.02)


def test_features_are_judged_as_if_each_were_alone():
    rng = np.random.default_rng(6)
    r, c = rng.integers(0, 30, (7, 9)), rng.integers(0, 30, (7, 9))
    for distance in (psi, psi_corrected, js_distance, hellinger, total_variation, l_infinity, ks_binned):
        together = distance(r, c)
        assert together.shape == (7,)
        assert together == pytest.approx([float(distance(a, b)) for a, b in zip(r, c, strict=True)], abs=0)


def test_one_reference_broadcasts_over_many_windows():
    windows = np.array([[5, 5], [9, 1], [0, 0]])
    assert psi([50, 50], windows) == pytest.approx([0.0, float(psi([50, 50], [9, 1])), 0.0])


def test_wasserstein_of_a_constant_reference():
    assert wasserstein_binned([10, 0], [5, 0], [1.0, 2.0], 0.0) == 0
    assert wasserstein_binned([10, 0], [0, 5], [1.0, 2.0], 0.0) == np.inf
    assert wasserstein_binned([10, 0], [0, 5], [1.0, 2.0], np.nan) == np.inf


@pytest.mark.parametrize(
    ("r", "c", "message"),
    [([1, -1], [1, 1], "reference"), ([1, 1], [np.nan, 1], "current"), ([1, 1, 1], [1, 1], "3 cells and current 2")],
)
def test_input_that_is_no_pair_of_histograms_is_refused(r, c, message):
    with pytest.raises(ValueError, match=message):
        psi(r, c)


@pytest.mark.parametrize("means", [[1.0], [2.0, 1.0], [0.0, np.nan]])
def test_bin_means_must_be_finite_and_in_order(means):
    with pytest.raises(ValueError, match="bin_means"):
        wasserstein_binned([1, 1], [1, 1], means, 1.0)
