"""Laws of e-values, bounds and confidence sequences."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kedge.stats import (
    beta_binomial_e,
    betting_confidence_sequence,
    dirichlet_multinomial_e,
    harm_e,
    harm_e_steps,
    harm_log_k,
    harm_upper,
    shiryaev_roberts_e,
    shiryaev_roberts_log_m,
    smallest_detectable_ratio,
)

SHARE = st.floats(0.01, 0.5)


@st.composite
def events(draw):
    n = draw(st.integers(0, 5000))
    return draw(st.integers(0, n)), n, draw(SHARE)


@st.composite
def steps(draw):
    count = st.one_of(st.just(0), st.integers(0, 20_000))
    step = st.tuples(count, count, count, count, SHARE)
    return draw(st.lists(step, max_size=4))


@given(events(), st.floats(1.0, 3.0))
def test_harm_rises_with_canary_events_and_falls_with_tolerance(event, tolerance):
    k, n, rho = event
    log_e = float(harm_e(k, n, rho))
    assert harm_e(k, n, rho, tolerance) <= log_e + 1e-9
    if k < n:
        assert harm_e(k + 1, n, rho) > log_e
    assert harm_e(k, n + 1, rho) <= log_e + 1e-9


@given(events())
def test_a_canary_with_no_more_than_its_share_is_never_evidence(event):
    k, n, rho = event
    if k <= rho * n:
        assert harm_e(k, n, rho) <= 1e-9


@given(st.lists(events(), max_size=5), st.randoms(use_true_random=False))
def test_steps_add_in_any_order_and_without_events_add_nothing(table, random):
    log_e = harm_e_steps(table)
    shuffled = [*table, (0, 0, 0.3)]
    random.shuffle(shuffled)
    assert harm_e_steps(shuffled) == pytest.approx(log_e, rel=1e-9, abs=1e-9)


@given(events())
def test_a_step_can_be_cut_in_two(event):
    k, n, rho = event
    parts = [(k // 2, n // 2, rho), (k - k // 2, n - n // 2, rho)]
    if parts[0][0] <= parts[0][1] and parts[1][0] <= parts[1][1]:
        assert harm_e_steps(parts) == pytest.approx(float(harm_e(k, n, rho)), rel=1e-9, abs=1e-9)


@given(steps(), st.floats(0.0, 0.5))
def test_capital_against_harm_rises_with_the_harm_tested(table, c):
    path = [harm_log_k(table, m, c) for m in (0.0, 0.001, 0.01, 0.1, 0.5, 1.0)]
    assert all(later >= earlier - 1e-9 for earlier, later in pairwise(path))


@given(steps(), st.floats(0.0, 0.5))
def test_bounds_are_rates_and_wider_for_a_smaller_alpha(table, c):
    at_5, at_1 = harm_upper(table, c, 0.05), harm_upper(table, c, 0.01)
    assert -1 <= at_5 <= at_1 <= 1


@given(st.lists(st.integers(0, 20_000), min_size=4, max_size=4), SHARE, st.floats(0.0, 0.5))
def test_the_bound_stays_above_the_harm_that_was_seen(seen, rho, c):
    """By Jensen's inequality a bettor against the sample's own mean never gains."""
    values = np.array([(1 - c) / rho, -c / rho, -(1 - c) / (1 - rho), c / (1 - rho)])
    if sum(seen):
        assert harm_upper([(*seen, rho)], c) >= min(float(values @ seen) / sum(seen), 1.0) - 1e-9


@given(st.integers(1, 100_000), SHARE, st.floats(1e-6, 0.1))
def test_more_events_detect_a_smaller_ratio(n, rho, alpha):
    ratio = smallest_detectable_ratio(n, rho, alpha)
    assert 1 < smallest_detectable_ratio(2 * n, rho, alpha) <= ratio


@given(events(), st.floats(0.1, 100), st.floats(0.1, 100))
def test_sample_ratio_does_not_mind_which_arm_is_named_first(event, a, d):
    k, n, rho = event
    mirrored = float(beta_binomial_e(n - k, n, 1 - rho, d, a))
    assert beta_binomial_e(k, n, rho, a, d) == pytest.approx(mirrored, rel=1e-6, abs=1e-6)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=8))
def test_cells_of_known_proportions_can_be_shuffled(seen):
    theta = np.arange(1, len(seen) + 1) / np.arange(1, len(seen) + 1).sum()
    prior = 2.0 * theta
    forward = float(dirichlet_multinomial_e(seen, prior, theta))
    assert dirichlet_multinomial_e(seen[::-1], prior[::-1], theta[::-1]) == pytest.approx(forward, rel=1e-9, abs=1e-9)


STREAM = st.lists(st.floats(0, 1), max_size=40)


@given(STREAM, STREAM, st.floats(0.01, 1.0))
def test_detector_state_carries_everything(first, second, m0):
    state = shiryaev_roberts_log_m(first, m0)
    whole = shiryaev_roberts_log_m(first + second, m0)
    assert shiryaev_roberts_log_m(second, m0, start=state) == pytest.approx(whole, rel=1e-9, abs=1e-9)
    assert shiryaev_roberts_e(first + second, m0) >= 0


@given(STREAM, st.floats(0.01, 1.0))
def test_detector_rises_with_what_it_sees(stream, m0):
    higher = [min(1.0, x + 0.1) for x in stream]
    assert shiryaev_roberts_e(higher, m0) >= shiryaev_roberts_e(stream, m0) * (1 - 1e-12)


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_confidence_sequences_hold_the_mean_in_any_order(values, random):
    lower, upper = betting_confidence_sequence(values)
    assert 0 <= lower <= np.mean(values) + 1e-12
    assert np.mean(values) - 1e-12 <= upper <= 1
    random.shuffle(values)
    assert betting_confidence_sequence(values) == pytest.approx((lower, upper), abs=1e-9)


@settings(max_examples=50)
@given(st.lists(st.integers(0, 10**6), min_size=3, max_size=3), st.floats(0.001, 0.5))
def test_confidence_sequences_narrow_as_alpha_grows(seen, alpha):
    narrow, wide = (betting_confidence_sequence([0, 0.5, 1], seen, a) for a in (alpha, alpha / 10))
    assert wide[0] <= narrow[0] + 1e-12
    assert narrow[1] <= wide[1] + 1e-12
    assert not any(math.isnan(x) for x in (*narrow, *wide))
