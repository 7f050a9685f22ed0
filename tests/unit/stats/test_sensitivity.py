"""The smallest windows and shifts that verdicts name."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kedge.stats import g_test, minimum_window, psi, smallest_psi


@pytest.mark.parametrize(("bins", "rows"), [(10, 366), (20, 542), (32, 730)])
def test_minimum_windows_of_the_plan(bins, rows):
    assert minimum_window(bins, 32) == rows


def test_a_window_sees_55_over_its_rows():
    assert smallest_psi(1000, 20, 32) * 1000 == pytest.approx(55.06, abs=0.01)


def test_power_is_as_promised_on_simulated_windows():
    """A shift of the size named is found in nine windows of ten."""
    rng = np.random.default_rng(1)
    rows, p = 5000, np.full(20, 0.05)
    wanted = smallest_psi(rows, 20, 32)
    tilt = np.linspace(-1, 1, 20)
    q = p * np.exp(math.sqrt(wanted / (tilt**2).mean()) * tilt)
    q /= q.sum()
    assert psi(1e9 * p, 1e9 * q) == pytest.approx(wanted, rel=0.02)
    found = g_test(np.full(20, 5_000_000), rng.multinomial(rows, q, 2000)).p_value <= 0.001 / 32
    assert found.mean() == pytest.approx(0.9, abs=0.03)


def test_no_rows_see_nothing():
    assert smallest_psi(0, 20, 32) == math.inf


@pytest.mark.parametrize("call", [(1, 32), (10, 0)])
def test_one_bin_or_no_feature_has_no_window(call):
    with pytest.raises(ValueError, match="at least 2 bins and 1 feature"):
        minimum_window(*call)


def test_power_must_be_more_than_chance():
    with pytest.raises(ValueError, match="power"):
        smallest_psi(1000, 10, 1, power=0.0005)
