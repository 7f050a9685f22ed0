"""Harm e-values and bounds: figures of the plan, their definitions, and what they promise under the null."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kedge.stats import harm_e, harm_e_steps, harm_log_k, harm_upper, smallest_detectable_ratio, smallest_ratio

# (canary events, canary rest, control events, control rest, rho)
EVEN = [(50, 4950, 450, 44_550, 0.1)]


@pytest.mark.parametrize(
    ("call", "log_e"),
    [((9, 40, 0.1), 1.4498051123), ((0, 40, 0.1), -1.5840450403), ((3, 3, 0.01), 7.1900993976)],
)
def test_known_values_of_the_plan(call, log_e):
    assert harm_e(*call) == pytest.approx(log_e, abs=1e-10)


def test_known_values_with_a_tolerance_and_over_steps():
    assert harm_e(60, 200, 0.2, tolerance=1.25) == pytest.approx(0.9095974175, abs=1e-10)
    assert harm_e_steps([(2, 25, 0.05), (20, 50, 0.25)]) == pytest.approx(1.7040015486, abs=1e-10)


def test_it_is_the_average_of_six_likelihood_ratios():
    tilts = 0.1 * 2.0 ** np.arange(6)
    ratios = [math.exp(7 * g) / (1 + 0.3 * (math.exp(g) - 1)) ** 20 for g in tilts]
    assert harm_e(7, 20, 0.3) == pytest.approx(math.log(np.mean(ratios)), rel=1e-13)


def test_one_step_is_no_steps_apart_and_equal_steps_join():
    assert harm_e_steps([]) == 0
    assert harm_e_steps([(9, 40, 0.1)]) == float(harm_e(9, 40, 0.1))
    assert harm_e_steps([(4, 15, 0.1), (5, 25, 0.1)]) == pytest.approx(float(harm_e(9, 40, 0.1)), rel=1e-13)


def test_e_values_average_to_one_when_the_canary_is_just_tolerable():
    """E is a likelihood ratio at the edge of the null, so its mean over all outcomes is exactly 1."""
    n, rho, tolerance = 30, 0.2, 1.5
    edge = rho * tolerance / (1 - rho + rho * tolerance)
    k = np.arange(n + 1)
    chances = np.array([math.comb(n, i) * edge**i * (1 - edge) ** (n - i) for i in k])
    assert (chances * np.exp(harm_e(k, n, rho, tolerance))).sum() == pytest.approx(1.0, rel=1e-12)


def test_a_better_canary_never_fires():
    rng = np.random.default_rng(1)
    k = rng.binomial(1, 0.05, size=(500, 2000)).cumsum(axis=1)
    log_e = harm_e(k[:, 9::10], np.arange(10, 2001, 10), 0.1)
    assert log_e.max() < math.log(100)


def test_a_canary_that_fails_every_request_is_found_in_about_75_requests_at_5_percent():
    """Every event is the canary's; the plan's figure counts requests at share 0.05."""
    needed = next(k for k in range(1, 50) if harm_e(k, k, 0.05) >= math.log(600))
    assert needed / 0.05 == pytest.approx(75, abs=15)


@pytest.mark.parametrize(
    "call", [(5, 4, 0.1), (-1, 4, 0.1), (1, 4, 1.1), (1, 4, -0.1), (1, 4, 0.1, 0.0), (float("nan"), 4, 0.1)]
)
def test_counts_and_shares_outside_their_domain_are_refused(call):
    with pytest.raises(ValueError, match=r"need 0 <= k|rho must|tolerance must"):
        harm_e(*call)


def test_share_of_everything_is_never_evidence():
    assert harm_e(20, 20, 1.0) == pytest.approx(0.0, abs=1e-12)


def test_upper_bound_known_values_of_the_plan():
    assert harm_log_k(EVEN, 0.005) == pytest.approx(2.3379941788, abs=1e-10)
    assert harm_upper(EVEN) == pytest.approx(0.0054789191, abs=1e-10)


def test_the_bound_is_where_the_capital_reaches_the_level():
    for steps, c, alpha in ((EVEN, 0.01, 0.05), ([(3, 997, 40, 9000, 0.1), (9, 991, 8, 992, 0.5)], 0.004, 0.01)):
        bound = harm_upper(steps, c, alpha)
        assert harm_log_k(steps, bound, c) == pytest.approx(-math.log(alpha), abs=1e-6)
        assert harm_log_k(steps, bound - 1e-6, c) < -math.log(alpha)


def test_capital_is_the_product_over_units_in_any_order():
    rho, c, m = 0.2, 0.03, 0.01
    units = [(1, 1)] * 3 + [(0, 1)] * 40 + [(1, 0)] * 7 + [(0, 0)] * 150
    bets = 0.9 * 0.2 * 2.0 ** -np.arange(10)
    capital = np.ones(10)
    for y, a in units:
        capital *= 1 + bets * (m - (y - c) * (a - rho) / (rho * (1 - rho)))
    assert harm_log_k([(3, 40, 7, 150, rho)], m, c) == pytest.approx(math.log(capital.mean()), rel=1e-11)


def test_a_known_control_rate_sharpens_the_bound():
    assert harm_upper(EVEN, c=0.01) < harm_upper(EVEN, c=0.0)
    frequent = [(2000, 3000, 18_000, 27_000, 0.1)]
    assert harm_upper(frequent, c=0.4) < 0.8 * harm_upper(frequent, c=0.0)


def test_without_units_nothing_is_excluded():
    assert harm_upper([]) == 1
    assert harm_upper([(0, 0, 0, 0, 0.1)]) == 1
    assert harm_upper([(0, 3, 0, 30, 0.1)]) == 1


def test_a_much_better_canary_has_a_bound_below_zero_and_a_ruined_one_stays_at_one():
    assert -0.3 < harm_upper([(0, 50_000, 9_000, 41_000, 0.5)]) < -0.15
    assert harm_upper([(5000, 0, 0, 5000, 0.5)]) == 1
    assert harm_upper([(0, 10**6, 10**6, 0, 0.01)], c=0.9) <= 0


@pytest.mark.parametrize("step", [(1, 1, 1, 1, 0.0), (1, 1, 1, 1, 1.0), (-1, 1, 1, 1, 0.5)])
def test_steps_outside_their_domain_are_refused(step):
    with pytest.raises(ValueError, match="four counts"):
        harm_upper([step])


def test_control_rate_must_be_a_rate():
    with pytest.raises(ValueError, match="c is a rate"):
        harm_upper(EVEN, c=1.5)


@pytest.mark.parametrize(("n", "rho", "alpha", "tolerance"), [(1000, 0.1, 0.01 / 6, 1.0), (300, 0.5, 0.01, 1.5)])
def test_smallest_detectable_ratio_solves_its_equation(n, rho, alpha, tolerance):
    theta = smallest_detectable_ratio(n, rho, alpha, tolerance)
    p = rho * theta / (1 - rho + rho * theta)
    null = rho * tolerance / (1 - rho + rho * tolerance)
    divergence = p * math.log(p / null) + (1 - p) * math.log((1 - p) / (1 - null))
    assert n * divergence == pytest.approx(math.log(6 / alpha), rel=1e-10)
    assert theta > tolerance


def test_too_few_events_detect_no_ratio():
    assert smallest_detectable_ratio(0, 0.1, 0.01) == math.inf
    assert smallest_detectable_ratio(2, 0.1, 0.01) == math.inf
    assert smallest_detectable_ratio(3, 0.1, 0.01) < math.inf


def test_steps_of_many_runs_are_one_call():
    k, n = np.array([[2, 5], [0, 9]]), np.array([[25, 40], [10, 30]])
    together = harm_e_steps([(k, n, 0.05), (k + 3, n + 8, 0.25)], 1.5)
    for run in np.ndindex(2, 2):
        alone = harm_e_steps([(k[run], n[run], 0.05), (k[run] + 3, n[run] + 8, 0.25)], 1.5)
        assert together[run] == pytest.approx(float(alone), rel=1e-12)


def test_the_smallest_ratio_of_steps_is_that_of_their_sum():
    whole = smallest_detectable_ratio(300, 0.2, 0.01, 1.5)
    assert smallest_ratio([(300, 0.2)], 0.01, 1.5) == whole
    assert smallest_ratio([(120, 0.2), (180, 0.2)], 0.01, 1.5) == pytest.approx(whole, rel=1e-10)
    mixed = smallest_ratio([(150, 0.05), (150, 0.5)], 0.01)
    apart = [smallest_detectable_ratio(300, rho, 0.01) for rho in (0.05, 0.5)]
    assert min(apart) < mixed < max(apart)
    assert smallest_ratio([], 0.01) == smallest_ratio([(0, 0.1)], 0.01) == math.inf
