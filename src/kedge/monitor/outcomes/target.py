"""What has to be known of a bundle to make something of a label."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kedge.bundle.conformal import threshold

if TYPE_CHECKING:
    from kedge.bundle.contents import Bundle
    from kedge.bundle.manifest import Confidence, Distributions, Metric, Metrics
    from kedge.bundle.slices import Slices

PREFIX: Final = 8
"""Bytes of a bundle's id that a prediction id holds."""
RESOLUTION: Final = 1 << 16
"""Units of error in the span of the reference's predicted values."""
HORIZON: Final = 30 * 86400
"""Seconds after which a label comes too late to be told from a duplicate, and is not taken any more."""


@dataclass(frozen=True)
class Target:
    """A bundle whose labels are collected.

    Attributes:
        bundle: id, 64 hex digits.
        model, version: name and version.
        classes: names by class id; empty for values.
        unit: what one unit of error of a value is: 1 / 65536 of the span of predicted values on the reference, rounded
            to a power of two; 1 / 65536 where there is no reference.
        maturity: seconds after which the labels of a prediction are taken as complete, at most the horizon.
        selective: labels come for some predictions only, depending on the prediction.
        confidence: the miss rate asked for, and whether outcomes move it.
        distributions: with the calibration scores; None without a reference.
        risk: upper bound of the share of wrong classes on the evaluation data; None where it was not measured.
        evaluated: figures of eval/metrics.json on all rows, by name.
        slices: by which its labels are told apart.
        measured: figures of eval/metrics.json by slice, ``feature=value``, then by name.
    """

    bundle: str
    model: str
    version: str
    classes: tuple[str, ...]
    unit: float
    maturity: int
    selective: bool
    confidence: Confidence
    distributions: Distributions | None
    risk: float | None
    evaluated: dict[str, float]
    slices: Slices
    measured: dict[str, dict[str, Metric]]

    @classmethod
    def of(cls, bundle: Bundle) -> Target | None:
        """The target of a bundle; None where its spec collects no outcomes or nothing is predicted."""
        prediction = bundle.serving.prediction
        if not bundle.serving.outcomes or prediction is None:
            return None
        whole = {metric.name: metric for metric in bundle.metrics.metrics if metric.slice is None}
        accuracy = whole.get("accuracy")
        return cls(
            bundle=bundle.id,
            model=bundle.name,
            version=bundle.version,
            classes=() if prediction.kind == "value" else prediction.classes,
            unit=_unit(bundle.distributions),
            maturity=min(bundle.schema.maturity_seconds, HORIZON),
            selective=bundle.schema.selective,
            confidence=bundle.serving.confidence,
            distributions=bundle.distributions,
            risk=None if accuracy is None or accuracy.low is None else 1 - accuracy.low,
            evaluated={name: metric.value for name, metric in whole.items()},
            slices=bundle.slices(),
            measured=_by_slice(bundle.metrics),
        )

    @property
    def values(self) -> bool:
        """Values are predicted, not classes."""
        return not self.classes

    def threshold(self, alpha: float) -> float | None:
        """The conformal threshold at a miss rate; None without calibration scores."""
        return threshold(self.distributions, alpha)


def _by_slice(metrics: Metrics) -> dict[str, dict[str, Metric]]:
    found: dict[str, dict[str, Metric]] = {}
    for metric in metrics.metrics:
        if metric.slice is not None:
            found.setdefault(metric.slice, {})[metric.name] = metric
    return found


def _unit(distributions: Distributions | None) -> float:
    if distributions is None or not distributions.scores:
        return 1 / RESOLUTION
    edges = distributions.scores[0].edges
    span = edges[-1] - edges[0]
    return 2.0 ** math.ceil(math.log2(span)) / RESOLUTION if span > 0 and math.isfinite(span) else 1 / RESOLUTION
