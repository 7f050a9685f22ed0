"""Sets and intervals that hold the truth with a promised probability: what a bundle's calibration scores say.

The twin in C++ is ``cpp/engine/confidence.cpp``; both give the same to the last bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kedge.bundle.manifest import Distributions


def threshold(distributions: Distributions | None, alpha: float) -> float | None:
    """Return the conformal threshold of a bundle, or None where it has no calibration scores.

    The upper edge of the bin that holds the k-th smallest of the n calibration scores, k = ceil((n + 1)(1 - alpha)).

    Args:
        distributions: of the bundle.
        alpha: miss rate. Adaptive ones may leave [0, 1].

    Returns:
        In units of the score. Infinite where k > n: then everything is covered; minus infinite for alpha >= 1.

    Source: `kedge.stats.conformal.conformal_quantile`.
    """
    conformal = None if distributions is None else distributions.conformal
    if conformal is None:
        return None
    # SciPy takes as long to import as a model to load, and the process that tries a bundle out seldom needs it.
    from kedge.stats.conformal import conformal_quantile  # noqa: PLC0415

    return float(conformal_quantile(conformal.edges, conformal.counts, alpha, conformal.n))


def sets(probabilities: NDArray[Any], limit: float) -> NDArray[np.bool_]:
    """Return which classes are within the threshold, 1 - p <= `limit`; an empty set gets the top class.

    Args:
        probabilities: (n, C).
        limit: score up to which a class is in the set.

    Returns:
        (n, C).

    Source: least ambiguous sets, Sadinle, Lei and Wasserman 2019.
    """
    wide = probabilities.astype(np.float64)
    inside: NDArray[np.bool_] = 1 - wide <= limit
    empty = np.flatnonzero(~inside.any(axis=1))
    inside[empty, top(wide[empty])] = True
    return inside


def top(probabilities: NDArray[Any]) -> NDArray[np.int64]:
    """Return (n,) the first class of the highest probability; NaN is higher than none, unless it comes first."""
    first_is_nan = np.isnan(probabilities[:, 0])
    return np.where(first_is_nan, 0, np.where(np.isnan(probabilities), -np.inf, probabilities).argmax(axis=1))


def intervals(
    score: str, values: NDArray[Any], spread: NDArray[Any] | None, limit: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the values whose score is within the threshold; where there are none, the likeliest value alone.

    Args:
        score: absolute: value -+ limit; scaled: value -+ limit x sigma; quantile: lower - limit to upper + limit.
        values: (n,) predictions.
        spread: (n,) sigma for scaled, (n, 2) lower and upper for quantile, unused for absolute.
        limit: the threshold; may be infinite.

    Returns:
        Lower and upper bounds, (n,) each.

    Sources: Lei and others 2018; Romano, Patterson and Candes 2019 for quantile.
    """
    with np.errstate(invalid="ignore"):
        if score == "quantile":
            bounds = np.asarray(spread, dtype=np.float64)
            lower, upper = bounds[:, 0] - limit, bounds[:, 1] + limit
            empty, middle = lower > upper, bounds[:, 0] / 2 + bounds[:, 1] / 2
            return np.where(empty, middle, lower), np.where(empty, middle, upper)
        wide = values.astype(np.float64)
        half = np.full(len(wide), limit)
        if score == "scaled" and np.isfinite(limit):
            half = limit * np.asarray(spread, dtype=np.float64)
        half = np.where(half < 0, 0.0, half)
        return wide - half, wide + half


def value_scores(
    score: str, values: NDArray[Any], spread: NDArray[Any] | None, truth: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (n,) nonconformity scores of true values; arguments as in `intervals`."""
    if score == "quantile":
        bounds = np.asarray(spread, dtype=np.float64)
        return np.maximum(bounds[:, 0] - truth, truth - bounds[:, 1])
    distance: NDArray[np.float64] = abs(truth - values.astype(np.float64))
    return distance / np.asarray(spread, dtype=np.float64) if score == "scaled" else distance
