"""Laws of distances and tests on counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kedge.stats import (
    benjamini_hochberg,
    e_bh,
    g_test,
    hellinger,
    js_distance,
    ks_binned,
    l_infinity,
    psi,
    psi_corrected,
    total_variation,
    wasserstein_binned,
)

CELLS = st.integers(1, 12)
COUNT = st.one_of(st.just(0), st.integers(0, 50), st.integers(0, 10**9))


@st.composite
def sides(draw):
    cells = draw(CELLS)
    return draw(arrays(np.int64, cells, elements=COUNT)), draw(arrays(np.int64, cells, elements=COUNT))


BOUNDED = [js_distance, hellinger, total_variation, l_infinity, ks_binned]
SYMMETRIC = [psi, psi_corrected, *BOUNDED]
WITHOUT_ORDER = [psi, psi_corrected, js_distance, hellinger, total_variation, l_infinity]


@given(sides())
def test_distances_are_finite_and_in_their_range(both):
    for distance in SYMMETRIC:
        assert 0 <= distance(*both) < np.inf
    for distance in BOUNDED:
        assert distance(*both) <= 1 + 1e-12


@given(sides())
def test_sides_can_be_swapped(both):
    r, c = both
    for distance in SYMMETRIC:
        assert distance(r, c) == pytest.approx(float(distance(c, r)), rel=1e-9, abs=1e-9)


@given(sides(), st.randoms(use_true_random=False))
def test_cells_without_order_can_be_shuffled(both, random):
    r, c = both
    order = list(range(r.size))
    random.shuffle(order)
    for distance in WITHOUT_ORDER:
        assert distance(r[order], c[order]) == pytest.approx(float(distance(r, c)), rel=1e-9, abs=1e-9)
    assert g_test(r[order], c[order]).dof == g_test(r, c).dof


@given(sides())
def test_cells_empty_on_both_sides_change_nothing(both):
    r, c = both
    for distance in SYMMETRIC:
        assert distance(np.append(r, 0), np.append(c, 0)) == pytest.approx(float(distance(r, c)), rel=1e-9, abs=1e-9)
    assert g_test(np.append(r, 0), np.append(c, 0)) == pytest.approx(g_test(r, c), rel=1e-9, abs=1e-9)


@given(arrays(np.int64, CELLS, elements=COUNT), st.integers(1, 50))
def test_the_same_proportions_are_no_distance(r, times):
    for distance in BOUNDED:
        assert distance(r, r * times) == pytest.approx(0, abs=1e-7)
    assert psi_corrected(r, r) == 0
    # Twice a difference of sums near 1e9 keeps about seven digits, which moves p by a hair at 1.
    assert g_test(r, r * times).p_value > 0.98


@given(sides())
def test_correction_only_takes_away(both):
    assert psi_corrected(*both) <= psi(*both)
    assert js_distance(*both, corrected=True) <= js_distance(*both)
    assert hellinger(*both, corrected=True) <= hellinger(*both)


@given(sides())
def test_inequalities_between_distances(both):
    """Le Cam's: H^2 <= TV <= sqrt(2) H. And Lin's: JS^2 <= TV."""
    h, tv, js = (float(distance(*both)) for distance in (hellinger, total_variation, js_distance))
    assert h**2 <= tv + 1e-9
    assert tv <= np.sqrt(2) * h + 1e-9
    assert js**2 <= tv + 1e-9
    assert l_infinity(*both) <= tv + 1e-9
    assert ks_binned(*both) <= tv + 1e-9


@given(sides(), st.floats(0.01, 100), st.floats(-100, 100))
def test_wasserstein_does_not_mind_units(both, scale, offset):
    means = np.arange(both[0].size, dtype=np.float64) ** 1.5
    plain = float(wasserstein_binned(*both, means, 2.0))
    assert wasserstein_binned(*both, scale * means + offset, 2.0 * scale) == pytest.approx(plain, rel=1e-6, abs=1e-9)
    assert wasserstein_binned(*both, means, 2.0, corrected=True) <= plain
    assert plain <= float(ks_binned(*both)) * np.ptp(means) / 2.0 + 1e-9


P_VALUES = arrays(np.float64, st.integers(0, 20), elements=st.floats(0, 1))


@given(P_VALUES, st.floats(0.001, 0.5))
def test_benjamini_hochberg_rejects_the_smallest_and_more_at_a_higher_rate(p, q):
    found = benjamini_hochberg(p, q)
    if found.any():
        assert p[found].max() <= p[~found].min(initial=1.0)
        assert p[found].max() <= q * found.sum() / p.size
    assert not (found & ~benjamini_hochberg(p, min(2 * q, 0.9))).any()
    assert not (found & (p > q)).any()


@given(arrays(np.float64, st.integers(0, 20), elements=st.floats(-50, 50)), st.floats(0.001, 0.5))
def test_more_evidence_never_loses_a_rejection(log_e, alpha):
    found = e_bh(log_e, alpha)
    assert not (found & ~e_bh(log_e + 1.0, alpha)).any()
    assert not (found & (log_e < -np.log(alpha) - 1e-9)).any()
