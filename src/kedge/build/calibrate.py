"""How far the model's confidence can be trusted, measured on rows held out for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kedge.bundle import conformal
from kedge.bundle.manifest import Conformal, Reliability
from kedge.kernel.contract import RELIABILITY_BINS
from kedge.stats.conformal import conformal_histogram

if TYPE_CHECKING:
    from numpy.typing import NDArray


def reliability(probabilities: NDArray[Any], truth: NDArray[np.int64]) -> Reliability:
    """Top probability against how often the top class was right, by up to 20 bins of equal frequency.

    Args:
        probabilities: (n, C), finite.
        truth: (n,) ids of the true classes.
    """
    top = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == truth
    inner = np.quantile(top, np.linspace(0, 1, RELIABILITY_BINS + 1)[1:-1], method="inverted_cdf")
    edges = np.unique(inner)
    edges = edges[(edges > top.min()) & (edges <= top.max())]
    bins = np.searchsorted(edges, top, side="right")
    count = len(edges) + 1
    return Reliability(
        edges=tuple(edges.tolist()),
        n=tuple(np.bincount(bins, minlength=count).tolist()),
        sum_p=tuple(np.bincount(bins, top, count).tolist()),
        sum_y=tuple(np.bincount(bins, right, count).astype(np.int64).tolist()),
    )


def conformal_classes(probabilities: NDArray[Any], truth: NDArray[np.int64]) -> Conformal:
    """Scores 1 - p of the true class (LAC) of (n, C) probabilities."""
    own = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    return _histogram("lac", 1 - own)


def conformal_values(predicted: NDArray[Any], spread: NDArray[Any] | None, truth: NDArray[np.float64]) -> Conformal:
    """Scores of (n,) values: |y - prediction|, that over sigma (n,), or how far y lies outside bounds (n, 2)."""
    score = "absolute" if spread is None else "scaled" if spread.ndim == 1 else "quantile"
    return _histogram(score, conformal.value_scores(score, predicted, spread, truth))


def _histogram(score: Any, values: NDArray[np.float64]) -> Conformal:
    edges, counts, n = conformal_histogram(values)
    return Conformal(
        score=score, edges=tuple(edges.tolist()), counts=tuple(int(count) for count in counts.tolist()), n=n
    )
