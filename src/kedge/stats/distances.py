"""Effect size: how far a histogram of current counts lies from a reference histogram.

Every function takes `reference` and `current`, counts of shape (..., cells) over the same cells, and returns float64 of
the leading shape (one number for one feature). N and M are the totals, p = r/N and q = c/M the proportions,
kappa = 1/N + 1/M. Cells empty on both sides are left out; B counts the rest. With N = 0 or M = 0 there is no evidence
and every distance is 0; so it is with one cell, where the two sides cannot differ. The `corrected` forms subtract the
mean that sampling alone gives when nothing drifted, so one threshold serves windows of every size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import rel_entr

from ._counts import Floats, pair, proportions, unwrap

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_PSEUDO_COUNT = 0.5


class _Sides:
    """Both sides as counts and as proportions, with what the null means need."""

    __slots__ = ("c", "empty", "kappa", "p", "present", "q", "r", "spare")

    def __init__(self, reference: ArrayLike, current: ArrayLike) -> None:
        r, c = pair(reference, current)
        self.r, self.c = r, c
        n, m = r.sum(axis=-1), c.sum(axis=-1)
        self.empty = (n == 0) | (m == 0)
        self.p, self.q = proportions(r, n), proportions(c, m)
        self.present = (r > 0) | (c > 0)
        # An empty side has no kappa; its distance is set to 0 in `answer`, so any finite stand-in will do.
        self.kappa = 1.0 / np.maximum(n, 1.0) + 1.0 / np.maximum(m, 1.0)
        self.spare = np.maximum(self.present.sum(axis=-1) - 1, 0)

    def answer(self, distance: Floats) -> Floats:
        return unwrap(np.where(self.empty, 0.0, np.maximum(distance, 0.0)))


def _psi(reference: ArrayLike, current: ArrayLike, *, corrected: bool) -> Floats:
    sides = _Sides(reference, current)
    smoothed_r, smoothed_c = (np.where(sides.present, side + _PSEUDO_COUNT, 0.0) for side in (sides.r, sides.c))
    p = proportions(smoothed_r, smoothed_r.sum(axis=-1))
    q = proportions(smoothed_c, smoothed_c.sum(axis=-1))
    # Present cells are above 0 on both sides, the others 0 on both.
    ratio = np.divide(q, p, out=np.ones_like(q), where=sides.present)
    value = ((q - p) * np.log(ratio)).sum(axis=-1)
    return sides.answer(value - sides.spare * sides.kappa if corrected else value)


def psi(reference: ArrayLike, current: ArrayLike) -> Floats:
    """Return the population stability index, sum (q - p) ln(q / p), with 0.5 added to each cell of both sides.

    Range [0, inf). Under no drift it is about kappa times chi-square with B - 1 degrees of freedom, so it cries wolf on
    small windows: use `psi_corrected` for verdicts. Shapes and edges: see the module.

    Source: Jeffreys 1946 (the J divergence); Yurdakul 2018, "Statistical properties of population stability index".
    """
    return _psi(reference, current, corrected=False)


def psi_corrected(reference: ArrayLike, current: ArrayLike) -> Floats:
    """Return PSI* = max(0, PSI - (B - 1) kappa), the index less its mean under no drift.

    Range [0, inf). 0.1 is a mean shift of about a third of a standard deviation. Shapes and edges: see the module.

    Source: null distribution in Yurdakul 2018.
    """
    return _psi(reference, current, corrected=True)


def js_distance(reference: ArrayLike, current: ArrayLike, corrected: bool = False) -> Floats:
    """Return the Jensen-Shannon distance: the square root of the divergence in base 2.

    JS^2 = (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2; range [0, 1], 1 for sides that share no cell. With
    `corrected` JS*^2 = max(0, JS^2 - (B - 1) kappa / (8 ln 2)). No pseudo-counts. Shapes and edges: see the module.

    Source: Lin 1991; Endres and Schindelin 2003 (that the root is a metric).
    """
    sides = _Sides(reference, current)
    middle = (sides.p + sides.q) / 2.0
    squared = (rel_entr(sides.p, middle) + rel_entr(sides.q, middle)).sum(axis=-1) / (2.0 * np.log(2.0))
    if corrected:
        squared = squared - sides.spare * sides.kappa / (8.0 * np.log(2.0))
    # Rounding may carry disjoint sides a few ulp past 1.
    return sides.answer(np.sqrt(np.clip(squared, 0.0, 1.0)))


def hellinger(reference: ArrayLike, current: ArrayLike, corrected: bool = False) -> Floats:
    """Return the Hellinger distance, H^2 = sum (sqrt(p) - sqrt(q))^2 / 2.

    Range [0, 1]. With `corrected` H*^2 = max(0, H^2 - (B - 1) kappa / 8). No pseudo-counts. Shapes and edges: see the
    module.

    Source: Hellinger 1909; the null mean by the delta method.
    """
    sides = _Sides(reference, current)
    squared = ((np.sqrt(sides.p) - np.sqrt(sides.q)) ** 2).sum(axis=-1) / 2.0
    if corrected:
        squared = squared - sides.spare * sides.kappa / 8.0
    return sides.answer(np.sqrt(np.clip(squared, 0.0, 1.0)))


def total_variation(reference: ArrayLike, current: ArrayLike) -> Floats:
    """Return the total variation distance, sum |p - q| / 2: the largest difference in probability of any set of cells.

    Range [0, 1]. Shapes and edges: see the module.

    Source: Levin, Peres and Wilmer 2009, "Markov chains and mixing times", section 4.1.
    """
    sides = _Sides(reference, current)
    return sides.answer(np.abs(sides.p - sides.q).sum(axis=-1) / 2.0)


def l_infinity(reference: ArrayLike, current: ArrayLike) -> Floats:
    """Return the largest difference in one cell's proportion, max |p - q|.

    Range [0, 1]. Shapes and edges: see the module.

    Source: as used for categorical features by TensorFlow Data Validation.
    """
    sides = _Sides(reference, current)
    return sides.answer(np.abs(sides.p - sides.q).max(axis=-1, initial=0.0))


def ks_binned(reference: ArrayLike, current: ArrayLike) -> Floats:
    """Return the Kolmogorov-Smirnov distance at the bin edges, max |F - G| with F and G the running sums of p and q.

    Cells must be in the order of their values. Range [0, 1]; never above the distance of the unbinned samples. Shapes
    and edges: see the module.

    Source: Smirnov 1939.
    """
    sides = _Sides(reference, current)
    return sides.answer(np.abs(np.cumsum(sides.p - sides.q, axis=-1)).max(axis=-1, initial=0.0))


def wasserstein_binned(
    reference: ArrayLike, current: ArrayLike, bin_means: ArrayLike, std: ArrayLike, corrected: bool = False
) -> Floats:
    """Return the Wasserstein-1 distance between bin means, in reference standard deviations.

    W1 = sum_i |F_i - G_i| (x_{i+1} - x_i) / std with x the reference's mean in each bin. With `corrected` its mean
    under no drift, sum_i (x_{i+1} - x_i) sqrt(2 F_i (1 - F_i) kappa / pi) / std, is subtracted and the rest cut at 0.

    Args:
        reference: counts (..., cells) in the order of their values.
        current: counts (..., cells).
        bin_means: (..., cells) finite and not decreasing, in the feature's unit.
        std: (...) the reference's standard deviation, in the same unit.
        corrected: subtract the null mean.

    Range [0, inf). A reference without spread (`std` not above 0, or NaN) gives 0 when the distance is 0 and infinity
    otherwise: any move is infinitely many of its standard deviations. Other edges: see the module.

    Raises:
        ValueError: bin means are not finite or decrease, or their number differs from the cells'.

    Source: Vallender 1974 (W1 on the line is the area between distribution functions).
    """
    sides = _Sides(reference, current)
    means = np.asarray(bin_means, dtype=np.float64)
    if means.size == 0 and not sides.present.any():
        means = np.zeros(sides.p.shape[-1:])
    if means.shape[-1:] != sides.p.shape[-1:] or not np.isfinite(means).all():
        raise ValueError(f"bin_means must be {sides.p.shape[-1]} finite numbers on the last axis")
    gaps = np.diff(means, axis=-1)
    if gaps.size and gaps.min() < 0:
        raise ValueError("bin_means must not decrease along the last axis")
    reference_cdf = np.clip(np.cumsum(sides.p, axis=-1)[..., :-1], 0.0, 1.0)
    current_cdf = np.cumsum(sides.q, axis=-1)[..., :-1]
    # Running sums of the same proportions differ by rounding only; such dust must not count against std = 0.
    moved = np.abs(reference_cdf - current_cdf)
    area = (np.where(moved < 1e-12, 0.0, moved) * gaps).sum(axis=-1)
    if corrected:
        spread = np.sqrt(2.0 * reference_cdf * (1.0 - reference_cdf) * sides.kappa[..., None] / np.pi)
        area = area - (spread * gaps).sum(axis=-1)
    area = np.maximum(area, 0.0)
    scale = np.broadcast_to(np.asarray(std, dtype=np.float64), area.shape)
    flat = np.where(area > 0, np.inf, 0.0)
    return sides.answer(np.divide(area, scale, out=flat, where=scale > 0))
