"""95 % intervals of the figures in eval/metrics.json, each by the method `METHODS` names for it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.stats import rankdata

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

Z: Final = 1.959963984540054
RESAMPLES: Final = 200
SEED: Final = 20130101

METHODS: Final = {
    "accuracy": "Wilson",
    "balanced_accuracy": "normal",
    "log_loss": "normal",
    "brier": "normal",
    "auc": "DeLong",
    "mae": "normal",
    "rmse": "normal",
    "r2": "bootstrap",
    "bias": "normal",
}
"""ECE has none. Wilson 1927; DeLong, DeLong and Clarke-Pearson 1988; the percentile bootstrap of `RESAMPLES` seeded
resamples; the normal interval of a mean (of a root mean square through its square, of balanced accuracy by class)."""

Figure = tuple[float, float | None, float | None]
"""Value, lower and upper bound; None where there is none."""


def wilson(hits: int, n: int) -> Figure:
    """Proportion of `hits` in `n` >= 1."""
    p = hits / n
    middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    return p, max(0.0, middle - half), min(1.0, middle + half)


def mean(values: NDArray[np.float64]) -> Figure:
    """Mean of (n,) values, n >= 1; no interval for one value."""
    center = float(values.mean())
    if len(values) < 2:
        return center, None, None
    half = Z * float(values.std(ddof=1)) / math.sqrt(len(values))
    return center, center - half, center + half


def root_mean_square(errors: NDArray[np.float64]) -> Figure:
    """Root of the mean square of (n,) errors."""
    value, low, high = mean(errors**2)
    if low is None or high is None:
        return math.sqrt(value), None, None
    return math.sqrt(value), math.sqrt(max(low, 0.0)), math.sqrt(high)


def auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> Figure | None:
    """Area under the ROC curve of (n,) scores, ties counted half; None where one class is absent."""
    p, n = int(positive.sum()), int((~positive).sum())
    if not p or not n:
        return None
    ranks = rankdata(scores)
    of_positive = (ranks[positive] - rankdata(scores[positive])) / n
    of_negative = 1 - (ranks[~positive] - rankdata(scores[~positive])) / p
    value = float(of_positive.mean())
    if p < 2 or n < 2:
        return value, None, None
    half = Z * math.sqrt(float(of_positive.var(ddof=1)) / p + float(of_negative.var(ddof=1)) / n)
    return value, max(0.0, value - half), min(1.0, value + half)


def bootstrap(statistic: Callable[[NDArray[np.int64]], float], n: int) -> Figure:
    """A statistic of row numbers: its value on all `n` rows and the percentile interval of seeded resamples."""
    draws = np.random.default_rng(SEED)
    samples = np.array([statistic(draws.integers(0, n, n)) for _ in range(RESAMPLES)])
    low, high = np.quantile(samples, [0.025, 0.975])
    return statistic(np.arange(n)), float(low), float(high)
