"""Is it real: fixed-size tests for one disjoint window, and control of false discoveries across features."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import chdtrc, rel_entr

from ._counts import Bools, Floats, level, pair, unwrap

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_LEAST_EXPECTED = 5.0


class Homogeneity(NamedTuple):
    """Outcome of a test that two histograms have one distribution; each field has the shape of the leading axes.

    Attributes:
        statistic: the test statistic, at least 0.
        dof: degrees of freedom left after pooling; 0 where nothing could be tested.
        p_value: in [0, 1]; 1 where nothing could be tested.
    """

    statistic: Floats
    dof: Floats
    p_value: Floats


def _least_expected(r: Floats, c: Floats) -> Floats:
    """The smaller of a cell's two expected counts under one common distribution."""
    n, m = r.sum(axis=-1, keepdims=True), c.sum(axis=-1, keepdims=True)
    total = n + m
    share = np.divide(np.minimum(n, m), total, out=np.zeros_like(total), where=total > 0)
    return np.asarray((r + c) * share, dtype=np.float64)


def _pool(r: Floats, c: Floats) -> tuple[Floats, Floats]:
    """Merge cells expected under 5 into one further cell; if that is still too small, add the smallest kept cell."""
    expected = _least_expected(r, c)
    kept = expected >= _LEAST_EXPECTED
    pool_expected = np.where(kept, 0.0, expected).sum(axis=-1)
    smallest = np.where(kept, expected, np.inf).argmin(axis=-1)
    short = (pool_expected > 0) & (pool_expected < _LEAST_EXPECTED)
    is_smallest = np.arange(r.shape[-1]) == smallest[..., None]
    kept = kept & ~(short[..., None] & is_smallest)
    pooled = [
        np.concatenate([np.where(kept, side, 0.0), np.where(kept, 0.0, side).sum(axis=-1, keepdims=True)], axis=-1)
        for side in (r, c)
    ]
    return pooled[0], pooled[1]


def _homogeneity(reference: ArrayLike, current: ArrayLike, *, likelihood: bool) -> Homogeneity:
    r, c = _pool(*pair(reference, current))
    n, m = r.sum(axis=-1, keepdims=True), c.sum(axis=-1, keepdims=True)
    both = r + c
    total = np.maximum(n + m, 1.0)
    statistic = np.zeros(r.shape[:-1])
    for side, size in ((r, n), (c, m)):
        expected = both * size / total
        if likelihood:
            term = 2.0 * rel_entr(side, expected)
        else:
            term = np.divide((side - expected) ** 2, expected, out=np.zeros_like(both), where=expected > 0)
        statistic = statistic + term.sum(axis=-1)
    testable = (n[..., 0] > 0) & (m[..., 0] > 0)
    dof = np.where(testable, np.maximum((both > 0).sum(axis=-1) - 1.0, 0.0), 0.0)
    # Rounding can leave a likelihood ratio a hair under 0, or an untestable one a hair over.
    statistic = np.where(dof > 0, np.maximum(statistic, 0.0), 0.0)
    p_value = np.where(dof > 0, chdtrc(np.maximum(dof, 1.0), statistic), 1.0)
    return Homogeneity(unwrap(statistic), unwrap(dof), unwrap(p_value))


def chi2_test(reference: ArrayLike, current: ArrayLike) -> Homogeneity:
    """Test with Pearson's statistic that reference and current counts come from one distribution.

    X^2 = sum (O - E)^2 / E over both rows of the 2 x cells table, against chi-square with cells - 1 degrees of freedom.
    Cells expected under 5 on either side are pooled into one (and that one with the smallest other cell if it is still
    under 5).

    Args:
        reference: counts (..., cells).
        current: counts (..., cells).

    One cell left after pooling, or an empty side, tests nothing: statistic 0, dof 0, p 1.

    Source: Pearson 1900; pooling as Cochran 1954 advises.
    """
    return _homogeneity(reference, current, likelihood=False)


def g_test(reference: ArrayLike, current: ArrayLike) -> Homogeneity:
    """Test with the likelihood ratio that reference and current counts come from one distribution.

    G = 2 sum O ln(O / E) over both rows of the 2 x cells table. Shapes, pooling and edges are those of `chi2_test`.

    Source: Wilks 1938; Sokal and Rohlf, "Biometry".
    """
    return _homogeneity(reference, current, likelihood=True)


def benjamini_hochberg(p_values: ArrayLike, q: float = 0.001) -> Bools:
    """Return which hypotheses are rejected with the false discovery rate held at `q`.

    With p_(1) <= ... <= p_(K) sorted, the k smallest are rejected for the largest k with p_(k) <= q k / K.

    Args:
        p_values: (..., hypotheses) in [0, 1]; NaN was not tested: never rejected, not counted in K.
        q: the false discovery rate, strictly between 0 and 1.

    Returns:
        A mask of the same shape; all false for no hypotheses.

    Source: Benjamini and Hochberg 1995; valid for independent and positively dependent tests.
    """
    p = np.atleast_1d(np.asarray(p_values, dtype=np.float64))
    level(q, "q")
    tested = ~np.isnan(p)
    return _step_up(np.where(tested, p, np.inf), tested.sum(axis=-1, keepdims=True), q)


def e_bh(log_e: ArrayLike, alpha: float = 0.001) -> Bools:
    """Return which hypotheses are rejected from e-values, with the false discovery rate held at `alpha`.

    The k largest e-values are rejected for the largest k with E_[k] >= K / (alpha k): Benjamini-Hochberg on 1 / E,
    valid under any dependence.

    Args:
        log_e: (..., hypotheses) logarithms, as every e-value of this package is returned; NaN is not tested.
        alpha: the false discovery rate, strictly between 0 and 1.

    Returns:
        A mask of the same shape; all false for no hypotheses.

    Source: Wang and Ramdas 2022, "False discovery rate control with e-values".
    """
    log_values = np.atleast_1d(np.asarray(log_e, dtype=np.float64))
    level(alpha)
    tested = ~np.isnan(log_values)
    # -log E orders like 1/E; comparing logarithms keeps E past the float64 range apart.
    costs = np.where(tested, -log_values, np.inf)
    size = tested.sum(axis=-1, keepdims=True)
    rank = np.arange(1, costs.shape[-1] + 1)
    limits = np.log(alpha) + np.log(rank) - np.log(np.maximum(size, 1))
    return _largest_prefix(costs, limits)


def _step_up(p: Floats, size: Floats, q: float) -> Bools:
    rank = np.arange(1, p.shape[-1] + 1)
    return _largest_prefix(p, q * rank / np.maximum(size, 1))


def _largest_prefix(costs: Floats, limits: Floats) -> Bools:
    """Mark the k cheapest for the largest k whose k-th cheapest is within its limit."""
    if costs.shape[-1] == 0:
        return np.zeros(costs.shape, dtype=np.bool_)
    ordered = np.sort(costs, axis=-1)
    within = (ordered <= limits) & (ordered < np.inf)
    last = costs.shape[-1] - 1 - within[..., ::-1].argmax(axis=-1, keepdims=True)
    threshold = np.where(within.any(axis=-1, keepdims=True), np.take_along_axis(ordered, last, axis=-1), -np.inf)
    return np.asarray((costs <= threshold) & (costs < np.inf), dtype=np.bool_)
