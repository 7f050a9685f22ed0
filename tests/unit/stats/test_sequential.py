"""Sample ratio, known cells and the e-detector."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import betaln

from kedge.stats import (
    beta_binomial_e,
    dirichlet_multinomial_e,
    shiryaev_roberts_e,
    shiryaev_roberts_log_m,
)

TEN = [0, 1, 1, 0, 1, 1, 1, 0, 1, 1]


def test_sample_ratio_known_values_of_the_plan():
    assert beta_binomial_e([600, 520], 1000, 0.5, 1, 1) == pytest.approx([16.88628, -2.42942], abs=5e-6)


def test_sample_ratio_is_its_formula():
    k, n, rho, a, d = 37, 300, 0.1, 10, 90
    expected = betaln(a + k, d + n - k) - betaln(a, d) - k * math.log(rho) - (n - k) * math.log(1 - rho)
    assert beta_binomial_e(k, n, rho, a, d) == pytest.approx(expected, rel=1e-12)


def test_sample_ratio_averages_to_one_when_the_split_is_as_declared():
    n, k = 40, np.arange(41)
    chances = np.array([math.comb(n, i) * 0.25**i * 0.75 ** (n - i) for i in k])
    assert (chances * np.exp(beta_binomial_e(k, n, 0.25, 2, 6))).sum() == pytest.approx(1.0, rel=1e-12)


def test_a_split_that_could_not_happen_is_certain_evidence():
    assert beta_binomial_e(1, 10, 0.0, 1, 1) == math.inf
    assert beta_binomial_e(0, 10, 0.0, 1, 1) < 0
    assert beta_binomial_e(0, 0, 0.5, 1, 1) == 0


def test_two_cells_are_the_sample_ratio():
    two = dirichlet_multinomial_e([37, 263], [10, 90], [0.1, 0.9])
    assert two == pytest.approx(float(beta_binomial_e(37, 300, 0.1, 10, 90)), rel=1e-12)


def test_many_cells_average_to_one_under_their_proportions():
    theta, n = np.array([0.2, 0.3, 0.5]), 12
    total = 0.0
    for i in range(n + 1):
        for j in range(n + 1 - i):
            seen = [i, j, n - i - j]
            ways = math.factorial(n) / math.prod(math.factorial(x) for x in seen)
            total += ways * float(np.prod(theta**seen)) * math.exp(dirichlet_multinomial_e(seen, [1, 1, 1], theta))
    assert total == pytest.approx(1.0, rel=1e-12)


def test_many_cells_side_by_side():
    seen = np.array([[5, 5], [9, 1], [0, 0]])
    got = dirichlet_multinomial_e(seen, [1, 1], [0.5, 0.5])
    assert got == pytest.approx([float(dirichlet_multinomial_e(row, [1, 1], [0.5, 0.5])) for row in seen])
    assert got[2] == 0


def test_one_cell_or_none_tells_nothing():
    assert dirichlet_multinomial_e([1000], [1.0], [1.0]) == pytest.approx(0, abs=1e-9)
    assert dirichlet_multinomial_e([], [], []) == 0


def test_e_detector_known_value_of_the_plan():
    assert shiryaev_roberts_e(TEN, 0.2) == pytest.approx(266.5273849984, abs=1e-9)


def test_e_detector_is_its_recursion():
    m = np.zeros(4)
    bets = 2.0 ** -np.arange(1, 5) / 0.3
    for x in (0.5, 0.0, 1.0, 0.25):
        m = (m + 1) * (1 + bets * (x - 0.3))
    assert shiryaev_roberts_e([0.5, 0.0, 1.0, 0.25], 0.3, J=4) == pytest.approx(m.mean(), rel=1e-13)


def test_e_detector_goes_on_from_a_stored_state():
    state = shiryaev_roberts_log_m(TEN[:4], 0.2)
    whole = shiryaev_roberts_log_m(TEN, 0.2)
    assert shiryaev_roberts_log_m(TEN[4:], 0.2, start=state) == pytest.approx(whole, rel=1e-12)
    assert np.array_equal(shiryaev_roberts_log_m([], 0.2, start=state), state)


def test_e_detector_before_and_far_past_everything():
    assert shiryaev_roberts_e([], 0.2) == 0
    assert shiryaev_roberts_e(np.ones(5000), 0.2) == math.inf
    assert np.isfinite(shiryaev_roberts_log_m(np.ones(5000), 0.2)).all()


def test_e_detector_rises_by_at_most_one_update_at_a_time_on_average():
    """E[M] <= updates under the null, which is what bounds the run length; the mean allowed is the worst case."""
    rng = np.random.default_rng(1)
    runs = [shiryaev_roberts_e(rng.random(50) < 0.1, 0.1) for _ in range(3000)]
    assert np.mean(runs) == pytest.approx(50, abs=4 * np.std(runs) / math.sqrt(3000))


@pytest.mark.parametrize(
    "call",
    [
        lambda: shiryaev_roberts_e([0.5], 0.0),
        lambda: shiryaev_roberts_e([1.5], 0.5),
        lambda: shiryaev_roberts_e([0.5], 0.5, J=0),
        lambda: shiryaev_roberts_log_m([0.5], 0.5, start=[0.0]),
        lambda: beta_binomial_e(3, 2, 0.5, 1, 1),
        lambda: beta_binomial_e(1, 2, 1.5, 1, 1),
        lambda: beta_binomial_e(1, 2, 0.5, 0, 1),
        lambda: dirichlet_multinomial_e([1, 1], [1, 1], [0.5, 0.6]),
        lambda: dirichlet_multinomial_e([1, 1], [1, 0], [0.5, 0.5]),
    ],
)
def test_input_outside_its_domain_is_refused(call):
    with pytest.raises(ValueError, match=r"must|need"):
        call()
