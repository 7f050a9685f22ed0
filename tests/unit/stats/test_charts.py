"""Charts against Montgomery's worked examples and river."""

from __future__ import annotations

import numpy as np
import pytest

from kedge.stats import cusum, ewma, page_hinkley, residual_scale, western_electric

# Montgomery, "Introduction to statistical quality control", table 9.1: target 10, sigma 1, shifted after the 20th.
MONTGOMERY = np.array(
    [
        *(9.45, 7.99, 9.29, 11.66, 12.16, 10.18, 8.04, 11.46, 9.20, 10.34, 9.03, 11.47, 10.51, 9.40, 10.08),
        *(9.37, 10.62, 10.31, 8.52, 10.84, 10.90, 9.33, 12.29, 11.50, 10.60, 11.08, 10.38, 11.62, 11.31, 10.52),
    ]
)


def test_cusum_of_montgomerys_example():
    path = cusum(MONTGOMERY - 10, k=0.5, h=5)
    assert path.up[[3, 4, 22, 27, 28, 29]] == pytest.approx([1.16, 2.82, 1.79, 4.47, 5.28, 5.30], abs=1e-9)
    assert path.down[[0, 1, 2, 3, 18]] == pytest.approx([0.05, 1.56, 1.77, 0.0, 0.98], abs=1e-9)
    assert np.flatnonzero(path.alarm).tolist() == [28, 29]


def test_ewma_of_montgomerys_example():
    path = ewma(MONTGOMERY - 10, 0.1, 2.7)
    assert path.value[:2] + 10 == pytest.approx([9.945, 9.7495], abs=1e-9)
    assert path.limit == pytest.approx(0.62, abs=0.005)
    assert np.flatnonzero(path.alarm).tolist() == [28, 29]


def test_a_chart_goes_on_from_where_it_stood():
    x = MONTGOMERY - 10
    whole, first = cusum(x), cusum(x[:13])
    rest = cusum(x[13:], start=(first.up[-1], first.down[-1]))
    assert np.array_equal(np.concatenate([first.up, rest.up]), whole.up)
    averaged, start = ewma(x, 0.2, 3.0), ewma(x[:13], 0.2, 3.0)
    assert np.array_equal(ewma(x[13:], 0.2, 3.0, start.value[-1]).value, averaged.value[13:])


def test_a_missing_window_changes_nothing():
    assert cusum([1, np.nan, 1]).up.tolist() == [0.5, 0.5, 1.0]
    assert ewma([1, np.nan, 1], 0.5, 3.0).value.tolist() == [0.5, 0.5, 0.75]
    assert page_hinkley([1, np.nan, 4], 0.0, 9.0).up.tolist() == [0.0, 0.0, 1.5]
    assert not western_electric([np.nan] * 9).any()


def test_charts_run_features_side_by_side():
    both = np.stack([MONTGOMERY - 10, 10 - MONTGOMERY])
    path = cusum(both)
    assert np.array_equal(path.up[0], path.down[1])
    assert path.alarm.shape == both.shape


@pytest.mark.parametrize(
    ("rule", "quiet", "signalling"),
    [
        (1, [3.0, -3.0], [0.0, -3.01]),
        (2, [2.5, 0.0, 0.0, 2.5], [2.5, 0.0, 2.5]),
        (2, [2.5, 0.0, -2.5], [-2.5, -2.1, 0.0]),
        (3, [1.5, 1.5, 0.0, 0.0, 1.5, 1.5], [1.5, 1.5, 0.0, 1.5, 1.5]),
        (4, [0.1] * 7 + [-0.1] * 7, [0.1] * 8),
        (4, [0.1] * 7 + [0.0] + [0.1] * 7, [-0.1] * 8),
    ],
)
def test_western_electric_rules(rule, quiet, signalling):
    assert not western_electric(quiet, [rule]).any()
    found = western_electric(signalling, [rule])[0]
    assert found[-1]
    assert not found[: len(signalling) - 2].any() or rule == 2


def test_rules_come_in_the_order_asked_for():
    signals = western_electric(np.array([[4.0, 0.0], [0.0, 0.0]]), [4, 1])
    assert signals.shape == (2, 2, 2)
    assert signals[1].tolist() == [[True, False], [False, False]]


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="unknown rule 5"):
        western_electric([0.0], [5])


# river 0.26.1, drift.PageHinkley(min_instances=1, alpha=1.0, mode="up"), on round(normal, 3) with generator seed 7:
# forty values of mean 0, then forty of mean 1.5; (delta, threshold, first alarm, statistic there).
RIVER = [(0.005, 10.0, 44, 12.097871574573858), (0.5, 8.0, 46, 8.34500242932057), (0.1, 20.0, 50, 21.38635117076109)]


@pytest.mark.parametrize(("delta", "threshold", "first", "statistic"), RIVER)
def test_page_hinkley_alarms_where_river_does(delta, threshold, first, statistic):
    rng = np.random.default_rng(7)
    x = np.round(np.concatenate([rng.normal(0, 1, 40), rng.normal(1.5, 1, 40)]), 3)
    path = page_hinkley(x, delta, threshold)
    assert np.flatnonzero(path.alarm)[0] == first
    assert path.up[first] == pytest.approx(statistic, rel=1e-12)
    mirrored = page_hinkley(-x, delta, threshold)
    assert mirrored.down == pytest.approx(path.up, abs=1e-12)


def test_residual_scale_of_independent_and_of_correlated_residuals():
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 2, (40, 3000))
    assert residual_scale(noise).mean() == pytest.approx(2 * np.sqrt(8 / 7), rel=0.03)
    correlated = np.empty_like(noise)
    correlated[:, 0] = noise[:, 0]
    for i in range(1, noise.shape[1]):
        correlated[:, i] = 0.5 * correlated[:, i - 1] + noise[:, i]
    spread = 2 / np.sqrt(1 - 0.25)
    assert residual_scale(correlated).mean() == pytest.approx(spread * np.sqrt(8 / 7) * np.sqrt(3), rel=0.03)


def test_residual_scale_of_alternating_constant_and_missing_residuals():
    assert residual_scale([1.0, -1.0, 1.0, -1.0]) == pytest.approx(np.sqrt(4 / 3 * 8 / 7))
    assert residual_scale([5.0, 5.0, 5.0]) == 0
    assert residual_scale([np.nan, np.nan]) == 0
    assert residual_scale([1.0, np.nan, 3.0]) == pytest.approx(np.sqrt(2 * 8 / 7))


@pytest.mark.parametrize(
    "call",
    [
        lambda: cusum([1.0], k=-1),
        lambda: ewma([1.0], 0.0, 3.0),
        lambda: ewma([1.0], 0.5, 0.0),
        lambda: page_hinkley([1.0], threshold=0.0),
    ],
)
def test_settings_outside_their_domain_are_refused(call):
    with pytest.raises(ValueError, match="must"):
        call()
