"""Split conformal prediction from a histogram of calibration scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betaincinv

from ._counts import Floats, counts, level, unwrap

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

EDGES = 1024


def conformal_histogram(scores: ArrayLike, bins: int = EDGES) -> tuple[Floats, Floats, int]:
    """Return (edges, counts, n) of calibration scores, with quantile edges.

    Equal-width edges would cost many times the width on heavy tails. Edges that coincide are merged. A value equal to
    an edge belongs to the bin above it; the last bin holds its upper edge.

    Args:
        scores: (n,) nonconformity scores. NaN and infinity count in n but lie in no bin: such a score is above every
            finite one.
        bins: the most bins wanted, at least 1.

    Returns:
        Edges (b + 1,) increasing, counts (b,) with b <= bins, and n. Without a finite score, no edges and no counts.

    Source: order statistics; see `conformal_quantile`.
    """
    values = np.atleast_1d(np.asarray(scores, dtype=np.float64)).ravel()
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return np.zeros(0), np.zeros(0), int(values.size)
    edges = np.unique(np.quantile(finite, np.linspace(0.0, 1.0, max(bins, 1) + 1), method="higher"))
    if edges.size == 1:
        edges = np.repeat(edges, 2)
    held, _ = np.histogram(finite, edges) if edges[0] < edges[-1] else (np.array([finite.size]), edges)
    return edges, held.astype(np.float64), int(values.size)


def _rank(n: Floats, alpha: Floats) -> Floats:
    """Return k = ceil((n + 1)(1 - alpha)), computed from the other end so that 0.1 x 10 is 1 and not a hair more."""
    return np.asarray(n + 1.0 - np.floor(np.round((n + 1.0) * alpha, 9)))


def conformal_quantile(edges: ArrayLike, counts_: ArrayLike, alpha: ArrayLike, n: int | None = None) -> Floats:
    """Return the score threshold that covers with probability at least 1 - `alpha`.

    The upper edge of the bin that holds the k-th smallest score, k = ceil((n + 1)(1 - alpha)). Rounding up to an edge
    can only add coverage, so it is never below 1 - alpha; it is below 1 - alpha + 1 / (n + 1) plus the bin's share.

    Args:
        edges: (b + 1,) not decreasing.
        counts_: (b,) calibration scores in each bin.
        alpha: (...) miss rates; the adaptive ones may leave [0, 1].
        n: calibration scores in all; None means the sum of counts. Those in no bin are taken as above every edge.

    Returns:
        (...) thresholds; infinity (everything is covered) where k is past the scores in bins, so for n = 0 and for
        alpha <= 0; minus infinity (nothing is covered) for alpha >= 1.

    Raises:
        ValueError: not one edge more than counts, edges decrease, or n is below the sum of counts.

    Source: Vovk, Gammerman and Shafer 2005; Lei and others 2018.
    """
    borders, held = np.asarray(edges, dtype=np.float64), counts(counts_)
    if held.size and (borders.ndim != 1 or borders.shape[0] != held.shape[0] + 1 or (np.diff(borders) < 0).any()):
        raise ValueError(f"need {held.shape[0] + 1} edges that do not decrease for {held.shape[0]} counts")
    filled = np.cumsum(held)
    binned = float(filled[-1]) if filled.size else 0.0
    size = binned if n is None else float(n)
    if size < binned:
        raise ValueError(f"n is {n} but {binned:.0f} scores are in bins")
    rates = np.asarray(alpha, dtype=np.float64)
    rank = _rank(np.asarray(size), rates)
    if not held.size:
        return unwrap(np.where((rates < 1) | (rank >= 1), np.inf, -np.inf))
    found = np.minimum(np.searchsorted(filled, np.maximum(rank, 1.0), side="left"), held.size - 1)
    threshold = np.where(rank > binned, np.inf, borders[found + 1])
    return unwrap(np.where(rank < 1, -np.inf, threshold))


def coverage_floor(n: ArrayLike, alpha: ArrayLike, delta: float = 0.001) -> Floats:
    """Return the coverage that a split conformal predictor falls short of with probability `delta`.

    Given its calibration data, coverage is Beta(k, n + 1 - k) with k = ceil((n + 1)(1 - alpha)); the floor is its delta
    quantile. Live coverage is judged against this, never against 1 - alpha.

    Args:
        n: (...) calibration scores.
        alpha: (...) miss rates.
        delta: chance of falling below, strictly between 0 and 1.

    Returns:
        (...) in [0, 1]; 1 where the threshold is infinite (k > n), so for n = 0; 0 for alpha >= 1.

    Source: Vovk 2012, "Conditional validity of inductive conformal predictors".
    """
    size, rates = np.broadcast_arrays(np.asarray(n, dtype=np.float64), np.asarray(alpha, dtype=np.float64))
    rank = _rank(size, rates)
    inside = (rank >= 1) & (rank <= size)
    floor = betaincinv(np.where(inside, rank, 1.0), np.where(inside, size + 1.0 - rank, 1.0), level(delta, "delta"))
    return unwrap(np.where(inside, floor, np.where(rank < 1, 0.0, 1.0)))


def adaptive_alpha(
    alpha_t: ArrayLike, alpha: ArrayLike, missed: ArrayLike, n: ArrayLike = 1, gamma: float = 0.005
) -> Floats:
    """Return the miss rate to use next so that the long-run miss rate is `alpha` whatever the stream does.

    alpha_{t+n} = alpha_t + gamma (n alpha - missed): the sum of `n` single updates alpha + gamma (alpha - miss).

    Args:
        alpha_t: (...) the rate in use.
        alpha: (...) the target.
        missed: (...) outcomes outside their interval or set, 0 to n.
        n: (...) outcomes since the last update.
        gamma: step size, at least 0.

    Returns:
        (...) the next rate, deliberately not clipped: below 0 `conformal_quantile` covers all, from 1 on nothing, and
        the way back is what gives the guarantee.

    Raises:
        ValueError: missed is not between 0 and n, or gamma is negative.

    Source: Gibbs and Candes 2021.
    """
    lost, seen = np.asarray(missed, dtype=np.float64), np.asarray(n, dtype=np.float64)
    if gamma < 0 or not ((lost >= 0) & (lost <= seen)).all():
        raise ValueError("need 0 <= missed <= n and gamma >= 0")
    step = gamma * (seen * np.asarray(alpha, dtype=np.float64) - lost)
    return unwrap(np.asarray(np.asarray(alpha_t, dtype=np.float64) + step))
