"""Bands and confidence sequences against the plan and confseq."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kedge.stats import (
    band_excess,
    betting_confidence_sequence,
    betting_log_e,
    empirical_process_constant,
    empirical_process_radius,
)


def test_constants_of_the_plan():
    assert empirical_process_constant(0.05) == pytest.approx(8.1227, abs=5e-5)
    assert empirical_process_constant(0.01) == pytest.approx(9.28354, abs=5e-6)


@pytest.mark.parametrize(
    ("alpha", "radii"),
    [
        (0.05, (0.242253270925, 0.159230305142, 0.082047787709, 0.026672139646, 0.002747238964)),
        (0.01, (0.258985715307, 0.169437514912, 0.087008820322, 0.028200577439, 0.002895862095)),
    ],
)
def test_radii_of_confseq(alpha, radii):
    """Values of empirical_process_lil_bound(t, alpha, 100, 0.85) of gostevehoward/confseq, compiled from its header."""
    got = empirical_process_radius([100, 250, 1000, 10_000, 1_000_000], alpha, 100)
    assert got == pytest.approx(radii, abs=1e-11)


def test_no_band_before_its_first_size():
    assert empirical_process_radius([0, 99], 0.05).tolist() == [math.inf, math.inf]
    assert empirical_process_radius(1, 0.05, m=1) < math.inf


def test_the_constant_is_monotone_and_defined_for_any_level():
    constants = [empirical_process_constant(alpha) for alpha in (1e-9, 1e-4, 0.01, 0.2, 0.9)]
    assert constants == sorted(constants, reverse=True)


def test_band_holds_at_every_look():
    rng = np.random.default_rng(1)
    cells = rng.multinomial(50, np.full(20, 0.05), size=(300, 100)).cumsum(axis=1)
    sizes = cells.sum(axis=-1)
    away = np.abs(np.cumsum(cells / sizes[..., None], axis=-1) - np.linspace(0.05, 1, 20)).max(axis=-1)
    left = (away > empirical_process_radius(sizes, 0.05)).any(axis=1)
    assert left.mean() <= 0.05


def test_arms_are_apart_only_when_surely_so():
    near = band_excess([500, 500], [510, 490], 0.01)
    far = band_excess([5000, 0], [0, 5000], 0.01)
    assert near < 0
    assert 0.9 < far < 1
    assert band_excess([99, 0], [0, 5000], 0.01) == -math.inf
    radii = empirical_process_radius(5000, 0.005)
    assert far == pytest.approx(1 - 2 * float(radii), rel=1e-12)


def _capital(x, m):
    return np.mean([np.prod(1 + 2.0**-j * (np.asarray(x) - m) / m) for j in range(1, 15)])


def test_one_bet_of_the_capital_is_confseqs_martingale():
    """betting_mart(x, 0.2, theta=1) of confseq with fixed bets 2^-3 / m and 2^-4 / m, generator seed 3."""
    x = np.round(np.random.default_rng(3).beta(2, 5, 60), 2)
    for j, value in ((3, 13.128884416206555), (4, 3.9057468075015604)):
        assert np.prod(1 + 2.0**-j * (x - 0.2) / 0.2) == pytest.approx(value, rel=1e-12)


def test_bounds_are_where_the_capital_reaches_its_level():
    x = np.round(np.random.default_rng(3).beta(2, 5, 60), 2)
    lower, upper = betting_confidence_sequence(x, alpha=0.05)
    assert _capital(x, lower) == pytest.approx(40, rel=1e-6)
    assert _capital(1 - x, 1 - upper) == pytest.approx(40, rel=1e-6)


def test_a_histogram_says_as_much_as_its_values():
    x = [0.0, 0.5, 0.5, 1.0, 0.5]
    assert betting_confidence_sequence(x) == pytest.approx(betting_confidence_sequence([0, 0.5, 1], [1, 3, 1]))


def test_sides_mirror_and_time_is_an_axis():
    counts = np.array([[0, 0], [9, 1], [90, 10], [9000, 1000]])
    lower, upper = betting_confidence_sequence([0, 1], counts)
    mirrored = betting_confidence_sequence([1, 0], counts)
    assert lower == pytest.approx(1 - mirrored[1], abs=1e-12)
    assert (lower[0], upper[0]) == (0, 1)
    assert (np.diff(upper - lower) < 0).all()
    assert ((lower < 0.1) & (upper > 0.1))[1:].all()


def test_width_is_near_what_is_possible():
    """Within twice the fixed-size Gaussian interval at a million rows, for a rare and for an even rate."""
    for p in (0.001, 0.5):
        lower, upper = betting_confidence_sequence([0, 1], [1e6 * (1 - p), 1e6 * p])
        assert upper - lower < 2 * 2 * 1.96 * math.sqrt(p * (1 - p) / 1e6)


def test_constant_streams():
    for value in (0.0, 0.3, 1.0):
        lower, upper = betting_confidence_sequence([value], [10_000])
        assert lower <= value <= upper
        assert upper - lower < 0.01


def test_sequence_covers_at_all_times():
    rng = np.random.default_rng(2)
    ones = rng.binomial(20, 0.03, size=(400, 40)).cumsum(axis=1)
    total = np.arange(20, 801, 20)
    lower, upper = betting_confidence_sequence([0, 1], np.stack([total - ones, ones], axis=-1), alpha=0.1)
    missed = ((lower > 0.03) | (upper < 0.03)).any(axis=1)
    assert missed.mean() <= 0.1


@pytest.mark.parametrize(
    "call",
    [
        lambda: betting_confidence_sequence([1.2]),
        lambda: betting_confidence_sequence([0, 1], [1, 1, 1]),
        lambda: betting_confidence_sequence([0, 1], [1, -1]),
        lambda: betting_confidence_sequence([0, 1], alpha=0.0),
        lambda: empirical_process_radius(100, 1.0),
        lambda: empirical_process_radius(100, 0.05, m=0),
    ],
)
def test_input_outside_its_domain_is_refused(call):
    with pytest.raises(ValueError, match="must"):
        call()


def test_the_bet_against_a_mean_reaches_its_level_at_the_lower_bound():
    for values, counts in (([0, 1], [60, 40]), (np.arange(64) / 64, np.arange(64)[::-1])):
        lower, _ = betting_confidence_sequence(values, counts, alpha=0.1)
        assert betting_log_e(values, counts, float(lower)) == pytest.approx(math.log(20), abs=1e-6)
        assert betting_log_e(values, counts, float(lower) + 0.02) < math.log(20)


def test_the_bet_against_a_mean_is_a_product_over_observations():
    x, m = [0.0, 1.0, 0.25], 0.1
    bets = 2.0 ** -np.arange(1, 15)
    capital = np.ones(14)
    for value in [0.0] * 7 + [1.0] * 2 + [0.25] * 3:
        capital *= 1 + bets * (value - m) / m
    assert betting_log_e(x, [7, 2, 3], m) == pytest.approx(math.log(capital.mean()), rel=1e-12)
    assert betting_log_e(x, [0, 0, 0], m) == 0
    assert betting_log_e(x, [[7, 2, 3], [0, 0, 0]], m).shape == (2,)


def test_a_mean_within_its_tolerance_is_seldom_condemned_however_often_it_is_looked_at():
    rng = np.random.default_rng(12)
    yes = np.cumsum(rng.binomial(20, 0.1, (400, 60)), axis=1)
    n = np.arange(20, 1201, 20)
    log_e = betting_log_e([0, 1], np.stack([n - yes, yes], axis=-1), 0.1)
    assert (log_e >= math.log(20)).any(axis=1).mean() <= 0.05


@pytest.mark.parametrize("m", [0.0, 1.0, math.nan])
def test_a_mean_to_bet_against_lies_inside(m):
    with pytest.raises(ValueError, match="m"):
        betting_log_e([0, 1], [1, 1], m)
