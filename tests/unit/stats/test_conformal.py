"""Split conformal: exact ranks, coverage never below the promise, and the floor to judge it by."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import beta

from kedge.stats import adaptive_alpha, conformal_histogram, conformal_quantile, coverage_floor


def test_upper_edge_of_the_bin_of_the_ranked_score():
    # n = 9, alpha = 0.2: k = ceil(10 x 0.8) = 8, which lies in the third bin.
    assert conformal_quantile([0, 1, 2, 3, 4], [4, 3, 1, 1], 0.2) == 3
    assert conformal_quantile([0, 1, 2, 3, 4], [4, 3, 1, 1], 0.1) == 4


def test_ranks_are_those_of_decimal_miss_rates():
    """(n + 1)(1 - alpha) is 93 for n = 99 and alpha = 0.07, though not in float64."""
    edges, counts = np.arange(100.0), np.ones(99)
    assert conformal_quantile(edges, counts, 0.07) == 93
    assert conformal_quantile(edges, counts, [0.1, 0.05, 0.01]).tolist() == [90, 95, 99]


def test_too_few_scores_cover_everything():
    assert conformal_quantile([0, 1], [8], 0.1) == math.inf
    assert conformal_quantile([0, 1], [9], 0.1) == 1
    assert conformal_quantile([], [], 0.1) == math.inf
    assert conformal_quantile([0, 1], [0], 0.1) == math.inf


def test_adaptive_rates_outside_the_unit_interval():
    thresholds = conformal_quantile([0, 1], [50], [-0.1, 0.0, 1.0, 1.3])
    assert thresholds.tolist() == [math.inf, math.inf, -math.inf, -math.inf]


def test_scores_that_are_no_numbers_count_as_above_all():
    edges, counts, n = conformal_histogram([0.1, 0.2, np.nan, np.inf, 0.3, 0.4, 0.5, 0.6, 0.7])
    assert (counts.sum(), n) == (7, 9)
    assert conformal_quantile(edges, counts, 0.3, n) == 0.7
    assert conformal_quantile(edges, counts, 0.2, n) == math.inf


@pytest.mark.parametrize("scores", [[], [np.nan], [0.5], [0.5] * 40, [0.0, 1.0]])
def test_histograms_of_degenerate_scores(scores):
    edges, counts, n = conformal_histogram(scores)
    finite = np.isfinite(np.asarray(scores, dtype=float)).sum()
    assert counts.sum() == finite
    assert n == len(scores)
    top = conformal_quantile(edges, counts, 0.5, n)
    assert top == math.inf or top >= 0.5


def test_histogram_loses_at_most_a_bin_and_never_coverage():
    rng = np.random.default_rng(1)
    scores = np.abs(rng.standard_cauchy(20_000))
    edges, counts, n = conformal_histogram(scores)
    assert counts.size == 1024
    assert np.ptp(counts) <= 2
    for alpha in (0.01, 0.05, 0.1, 0.5):
        exact = np.sort(scores)[math.ceil((n + 1) * (1 - alpha)) - 1]
        binned = conformal_quantile(edges, counts, alpha)
        assert exact <= binned <= np.quantile(scores, min(1, 1 - alpha + 2 / 1024))


def test_marginal_coverage_is_within_binomial_error():
    rng = np.random.default_rng(2)
    covered = []
    for _ in range(2000):
        edges, counts, _ = conformal_histogram(rng.exponential(size=199))
        covered.append(1 - math.exp(-conformal_quantile(edges, counts, 0.1)))
    spread = 4 * np.std(covered) / math.sqrt(2000)
    # k = 180 of 199 scores; the upper edge is the next score, 181: mean 181 / 200.
    assert np.mean(covered) + spread >= 0.9
    assert np.mean(covered) == pytest.approx(181 / 200, abs=spread)


def test_coverage_falls_below_its_floor_as_rarely_as_promised():
    rng = np.random.default_rng(3)
    scores = np.sort(rng.uniform(size=(20_000, 99)), axis=1)
    assert (scores[:, 89] < coverage_floor(99, 0.1, delta=0.01)).mean() == pytest.approx(0.01, abs=0.003)


def test_floor_is_a_beta_quantile():
    assert coverage_floor(1000, 0.1) == pytest.approx(beta.ppf(0.001, 901, 100), rel=1e-12)
    assert coverage_floor([99, 9, 5], 0.1) == pytest.approx([beta.ppf(0.001, 90, 10), 0.001 ** (1 / 9), 1.0])
    assert coverage_floor(0, 0.1) == 1
    assert coverage_floor(10, 1.0) == 0


def test_adaptive_alpha_adds_single_steps():
    alpha_t = 0.1
    for missed in (1, 0, 0, 1, 0):
        alpha_t = float(adaptive_alpha(alpha_t, 0.1, missed))
    assert alpha_t == pytest.approx(float(adaptive_alpha(0.1, 0.1, 2, n=5)), rel=1e-12)
    assert adaptive_alpha([0.1, 0.2], 0.1, [0, 1]) == pytest.approx([0.1005, 0.1955])


def test_adaptive_alpha_reaches_its_target_on_a_stream_that_turned():
    """Gibbs and Candes' proposition 4.1: the miss rate is within (max(a, 1 - a) + gamma) / (gamma T) of the target."""
    rng = np.random.default_rng(4)
    edges, counts, _ = conformal_histogram(rng.exponential(size=1000))
    alpha_t, missed = 0.1, 0
    scores = rng.exponential(size=6000) * np.where(np.arange(6000) < 2000, 1.0, 2.0)
    for score in scores:
        miss = int(score > conformal_quantile(edges, counts, alpha_t))
        missed += miss
        alpha_t = float(adaptive_alpha(alpha_t, 0.1, miss))
    assert abs(missed / 6000 - 0.1) <= (0.9 + 0.005) / (0.005 * 6000)


@pytest.mark.parametrize(
    "call",
    [
        lambda: conformal_quantile([0, 1], [1, 1], 0.1),
        lambda: conformal_quantile([1, 0], [1], 0.1),
        lambda: conformal_quantile([0, 1], [5], 0.1, n=4),
        lambda: coverage_floor(10, 0.1, delta=0.0),
        lambda: adaptive_alpha(0.1, 0.1, 2),
        lambda: adaptive_alpha(0.1, 0.1, 0, gamma=-1.0),
    ],
)
def test_input_outside_its_domain_is_refused(call):
    with pytest.raises(ValueError, match=r"must|need|n is 4"):
        call()
