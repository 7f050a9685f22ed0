"""Run lengths against published tables, and against the charts themselves."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kedge.stats import cusum, cusum_arl, cusum_limit, ewma, ewma_arl, shewhart_arl, western_electric


@pytest.mark.parametrize(
    ("shift", "arl"),
    [(0, 465.4), (0.25, 139.5), (0.5, 38.0), (0.75, 17.05), (1, 10.38), (1.5, 5.75), (2, 4.01), (3, 2.57)],
)
def test_cusum_table_of_the_plan(shift, arl):
    assert cusum_arl(0.5, 5, shift) == pytest.approx(arl, abs=0.05 if arl > 20 else 0.005)


def test_longer_cusum_figures_of_the_plan():
    assert cusum_arl(0.5, 8) == pytest.approx(9483, abs=0.5)
    assert cusum_arl(0.5, 9) == pytest.approx(25793, abs=1)
    assert cusum_limit(0.5, 276_480) == pytest.approx(11.371628, abs=5e-7)
    assert cusum_arl(0.5, 12, 1) == pytest.approx(24.37175, abs=5e-6)


def test_cusum_table_of_montgomery_for_h_4():
    """Table 9.3 of "Introduction to statistical quality control"."""
    shifts = (0, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4)
    published = (168, 74.2, 26.6, 13.3, 8.38, 4.75, 3.34, 2.62, 2.19, 1.71)
    assert [cusum_arl(0.5, 4, shift) for shift in shifts] == pytest.approx(published, rel=0.003)


@pytest.mark.parametrize(("k", "h"), [(0.25, 8.01), (0.5, 4.77), (0.75, 3.34), (1.0, 2.52), (1.25, 1.99), (1.5, 1.61)])
def test_limits_of_hawkins_for_a_run_length_of_370(k, h):
    """Hawkins 1993, as in Montgomery's table 9.4."""
    assert cusum_limit(k, 370) == pytest.approx(h, abs=0.008)


def test_a_limit_of_zero_is_a_shewhart_chart():
    assert cusum_arl(0.5, 0) == pytest.approx(1 / (2 * 0.30853753872598694), rel=1e-9)
    assert cusum_limit(0.5, 1.0) == 0


@pytest.mark.parametrize("h", [12, 24, 60, 100])
def test_very_long_run_lengths_keep_their_precision(h):
    """Siegmund's approximation, (e^b - b - 1) / 0.5 a side for k = 0.5 with b = h + 1.166, is within 2 % here."""
    b = h + 1.166
    assert cusum_arl(0.5, h) == pytest.approx((math.exp(b) - b - 1), rel=0.02)
    assert cusum_arl(0.5, h) / cusum_arl(0.5, h - 1) == pytest.approx(math.e, rel=1e-3)


def test_a_shift_away_from_one_side_leaves_the_other_in_charge():
    assert cusum_arl(0.5, 100, 3) == pytest.approx(40.578367, abs=1e-5)
    assert ewma_arl(0.5, 60.0) == math.inf


@pytest.mark.parametrize(("shift", "arl"), [(0, 500), (0.25, 255), (0.5, 88.8), (1, 17.5), (2, 3.63), (3, 1.93)])
def test_ewma_table_of_lucas_and_saccucci(shift, arl):
    assert ewma_arl(0.5, 3.071, shift) == pytest.approx(arl, rel=0.003)


@pytest.mark.parametrize(
    ("lam", "limit", "published"),
    [
        (0.4, 3.054, (500, 224, 71.2, 28.4, 14.3, 5.9, 3.5, 2.5, 2.0, 1.4)),
        (0.25, 2.998, (500, 170, 48.2, 20.1, 11.1, 5.5, 3.6, 2.7, 2.3, 1.7)),
        (0.2, 2.962, (500, 150, 41.8, 18.2, 10.5, 5.5, 3.7, 2.9, 2.4, 1.9)),
        (0.1, 2.814, (500, 106, 31.3, 15.9, 10.3, 6.1, 4.4, 3.4, 2.9, 2.2)),
        (0.05, 2.615, (500, 84.1, 28.8, 16.4, 11.4, 7.1, 5.2, 4.2, 3.5, 2.7)),
    ],
)
def test_ewma_table_of_montgomery(lam, limit, published):
    """Table 9.11, from Lucas and Saccucci 1990."""
    shifts = (0, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4)
    got = [ewma_arl(lam, limit, shift) for shift in shifts]
    assert got == pytest.approx(published, rel=0.005, abs=0.06)


def test_an_ewma_without_memory_is_a_shewhart_chart():
    assert ewma_arl(1.0, 3.0, 0.7) == pytest.approx(shewhart_arl([1], 0.7), rel=1e-9)


@pytest.mark.parametrize(
    ("rules", "at_0", "at_1"),
    [
        ([1], 370.40, 43.89),
        ([1, 2], 225.44, 20.01),
        ([1, 3], 166.05, 12.66),
        ([1, 4], 152.73, 14.58),
        ([1, 2, 3, 4], 91.75, 9.22),
    ],
)
def test_western_electric_table_of_champ_and_woodall(rules, at_0, at_1):
    assert shewhart_arl(rules) == pytest.approx(at_0, abs=0.006)
    assert shewhart_arl(rules, 1.0) == pytest.approx(at_1, abs=0.006)
    assert shewhart_arl(rules, -1.0) == pytest.approx(at_1, abs=0.006)


@pytest.mark.parametrize(("rules", "arl"), [([1, 2, 3], 132.89), ([1, 2, 4], 122.05), ([1, 3, 4], 105.78)])
def test_combined_rules_of_champ_and_woodall(rules, arl):
    assert shewhart_arl(rules) == pytest.approx(arl, abs=0.006)


def test_eight_on_one_side_is_a_run_of_fair_coins():
    """The expected wait for a run of 8 equal faces is 2^8 - 1."""
    assert shewhart_arl([4]) == pytest.approx(255, rel=1e-9)


def test_no_rules_never_signal():
    assert shewhart_arl([]) == math.inf


def _first(alarm):
    """Mean number of values to the first alarm; every run has one."""
    assert alarm.any(axis=-1).all()
    return (alarm.argmax(axis=-1) + 1).mean()


def test_simulated_charts_run_as_long_as_computed():
    x = np.random.default_rng(11).standard_normal((3000, 1400))
    assert _first(cusum(x, 0.5, 3.6).alarm) == pytest.approx(cusum_arl(0.5, 3.6), rel=0.05)
    all_rules = western_electric(x, [1, 2, 3, 4]).any(axis=0)
    assert _first(all_rules) == pytest.approx(shewhart_arl([1, 2, 3, 4]), rel=0.05)
    shifted = x[:, :600] + 0.5
    assert _first(cusum(shifted, 0.5, 5).alarm) == pytest.approx(cusum_arl(0.5, 5, 0.5), rel=0.05)
    assert _first(ewma(shifted, 0.2, 2.962).alarm) == pytest.approx(ewma_arl(0.2, 2.962, 0.5), rel=0.05)
    two_rules = western_electric(shifted + 0.5, [1, 2]).any(axis=0)
    assert _first(two_rules) == pytest.approx(shewhart_arl([1, 2], 1.0), rel=0.05)


@pytest.mark.parametrize(
    "call",
    [
        lambda: cusum_arl(-0.1, 5),
        lambda: cusum_arl(0.5, 101),
        lambda: cusum_limit(0.0, 500),
        lambda: cusum_limit(0.001, 1e11),
        lambda: cusum_limit(0.5, math.inf),
        lambda: ewma_arl(0.001, 3),
        lambda: shewhart_arl([9]),
    ],
)
def test_settings_outside_their_domain_are_refused(call):
    with pytest.raises(ValueError, match=r"need|no limit|must|unknown rule"):
        call()
