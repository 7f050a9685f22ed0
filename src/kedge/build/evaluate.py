"""What the model is worth on the evaluation data: metrics with intervals, whole and by slice, and the gates."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from kedge.build import intervals
from kedge.bundle.manifest import Gate, Gates, Metric
from kedge.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from kedge.build.intervals import Figure
    from kedge.build.spec import GateSpec

ECE_BINS: Final = 15
CLIP: Final = 1e-15
SLICE_ROWS: Final = 30
"""Rows below which a slice says nothing."""


def classification(
    truth: NDArray[np.int64], chosen: NDArray[np.int64], probabilities: NDArray[np.float64] | None
) -> dict[str, Figure]:
    """Metrics of a classifier.

    Args:
        truth: (n,) ids of the true classes.
        chosen: (n,) ids of the predicted ones.
        probabilities: (n, C), or None where the model gives labels alone; then only the two accuracies exist.

    Returns:
        accuracy, balanced_accuracy, log_loss, brier (of the second class's probability for two classes, summed over
        classes for more), auc (two classes; of the second), ece (top probability, 15 equal-width bins).
    """
    right = truth == chosen
    figures = {"accuracy": intervals.wilson(int(right.sum()), len(truth)), "balanced_accuracy": _balanced(truth, right)}
    if probabilities is None:
        return figures
    p = np.clip(np.nan_to_num(probabilities, nan=0.0), 0.0, 1.0)
    own = p[np.arange(len(truth)), truth]
    figures["log_loss"] = intervals.mean(-np.log(np.maximum(own, CLIP)))
    if p.shape[1] == 2:
        figures["brier"] = intervals.mean((p[:, 1] - truth) ** 2)
        if (area := intervals.auc(p[:, 1], truth == 1)) is not None:
            figures["auc"] = area
    else:
        figures["brier"] = intervals.mean((p**2).sum(axis=1) - 2 * own + 1)
    top, top_right = p.max(axis=1), p.argmax(axis=1) == truth
    figures["ece"] = (_ece(top, top_right), None, None)  # resampling adds noise that ECE counts as error: no interval
    return figures


def regression(truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> dict[str, Figure]:
    """mae, rmse, r2 (absent where the truth does not vary) and bias (mean of predicted - true) of (n,) values."""
    errors = predicted - truth
    figures = {
        "mae": intervals.mean(abs(errors)),
        "rmse": intervals.root_mean_square(errors),
        "bias": intervals.mean(errors),
    }
    if truth.var() > 0:
        figures["r2"] = intervals.bootstrap(lambda rows: _r2(truth[rows], errors[rows]), len(truth))
    return figures


def metrics(figures: Mapping[str, Figure], n: int, part: str | None = None) -> Iterator[Metric]:
    """Figures as the manifest holds them. `part` is the slice, ``feature=value``."""
    for name, (value, low, high) in figures.items():
        yield Metric(name=name, value=value, low=low, high=high, n=n, slice=part)


def gates(wanted: Sequence[GateSpec], measured: Mapping[str, Figure]) -> Gates:
    """Verdicts on figures of all rows. Raises `SpecError` for a metric that was not measured."""
    verdicts = []
    for index, gate in enumerate(wanted):
        if gate.metric not in measured:
            raise SpecError(f"gates[{index}]: no metric '{gate.metric}' was measured; there are {', '.join(measured)}")
        value = measured[gate.metric][0]
        passed = value >= gate.bound if gate.op == ">=" else value <= gate.bound
        verdicts.append(Gate(metric=gate.metric, op=gate.op, bound=gate.bound, value=value, passed=passed))
    return Gates(gates=tuple(verdicts))


def _balanced(truth: NDArray[np.int64], right: NDArray[np.bool_]) -> Figure:
    n = np.bincount(truth).astype(np.float64)
    hits = np.bincount(truth, right)[n > 0]
    n = n[n > 0]
    recall = hits / n
    half = intervals.Z * math.sqrt(float((recall * (1 - recall) / n).sum())) / len(n)
    value = float(recall.mean())
    return value, max(0.0, value - half), min(1.0, value + half)


def _ece(top: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    bins = np.minimum((top * ECE_BINS).astype(np.int64), ECE_BINS - 1)
    gap = np.bincount(bins, top, ECE_BINS) - np.bincount(bins, right, ECE_BINS)
    return float(abs(gap).sum() / len(top))


def _r2(truth: NDArray[np.float64], errors: NDArray[np.float64]) -> float:
    spread = float(truth.var())
    return 1 - float((errors**2).mean()) / spread if spread > 0 else 0.0
