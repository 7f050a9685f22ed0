"""Confidence: prediction sets and intervals of an answer, from the conformal threshold of its bundle's calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kedge.bundle import conformal
from kedge.dtypes import DTYPES
from kedge.plane.portable.signature import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kedge.bundle.contents import Bundle
    from kedge.plane.portable.predictions import Predictions


def _own(name: str, dtype: str, *shape: int) -> Tensor:
    return Tensor(name, DTYPES[dtype], shape, -1, "")


CONFIDENCE: Final = _own("kedge.confidence", "FP64", -1)
"""Top probability; for values, the share of intervals that hold the truth."""
SET: Final = _own("kedge.set", "BOOL", -1, -1)
LOWER: Final = _own("kedge.lower", "FP64", -1)
UPPER: Final = _own("kedge.upper", "FP64", -1)
_SCORES: Final = ("FP32", "FP64")


def why_not(bundle: Bundle) -> str:
    """Why a bundle's confidence cannot be told; empty where it can."""
    if bundle.serving.prediction is None:
        return "its bundle says of no output that it is the prediction"
    if bundle.distributions is None or bundle.distributions.conformal is None:
        return "its bundle has no calibration scores"
    types = {spec.name: spec.dtype for spec in bundle.manifest.outputs}
    return "" if types[bundle.serving.prediction.output] in _SCORES else "its scores are neither FP32 nor FP64"


@dataclass(slots=True)
class Calibration:
    """What turns predictions into sets and intervals.

    Attributes:
        score: as `kedge.bundle.manifest.Conformal` says.
        threshold: the score up to which an answer counts as possible; may be replaced at any time.
        alpha: share of truths it may miss.
        classes: how many there are; 0 for values.
        positions: of the outputs the score needs beside the prediction: sigma, or lower and upper bound.
    """

    score: str
    threshold: float
    alpha: float
    classes: int
    positions: tuple[int, ...]

    @classmethod
    def of(cls, bundle: Bundle) -> Calibration | None:
        """Of a bundle; None for one without calibration."""
        prediction, distributions = bundle.serving.prediction, bundle.distributions
        alpha = bundle.serving.confidence.alpha
        threshold = conformal.threshold(distributions, alpha)
        if prediction is None or distributions is None or distributions.conformal is None or threshold is None:
            return None
        score = distributions.conformal.score
        needed: tuple[str | None, ...] = ()
        if score == "scaled":
            needed = (prediction.sigma_output,)
        elif score == "quantile":
            needed = (prediction.lower_output, prediction.upper_output)
        names = [spec.name for spec in bundle.manifest.outputs]
        positions = tuple(names.index(name) for name in needed if name is not None)
        probabilistic = prediction.kind in ("probabilities", "logits")
        return cls(score, threshold, alpha, len(prediction.classes) if probabilistic else 0, positions)

    def tensors(
        self, predictions: Predictions | None, outputs: Sequence[NDArray[Any]]
    ) -> list[tuple[Tensor, NDArray[Any]]]:
        """The tensors that an answer gets, [N] each, the set [N, C].

        Args:
            predictions: of its rows; None for no rows.
            outputs: of its rows, all of the model's.

        Raises:
            ValueError, TypeError, IndexError: the outputs are not what the bundle says.
        """
        if predictions is None:
            none = np.zeros(0)
            empty = np.zeros((0, self.classes), dtype=np.bool_)
            return [(CONFIDENCE, none), *([(SET, empty)] if self.classes else [(LOWER, none), (UPPER, none)])]
        scores = predictions[1]
        if scores is None or predictions[2] != bool(self.classes):
            raise ValueError("the prediction has no score")
        if self.classes:
            likeliest = scores[np.arange(len(scores)), conformal.top(scores)]
            members = conformal.sets(scores, self.threshold)
            return [(CONFIDENCE, likeliest.astype(np.float64)), (SET, members)]
        lower, upper = self.intervals(scores, outputs)
        return [(CONFIDENCE, np.full(len(scores), 1.0 - self.alpha)), (LOWER, lower), (UPPER, upper)]

    def intervals(
        self, values: NDArray[Any], outputs: Sequence[NDArray[Any]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """[N] lower and upper bounds of what is possible."""
        beside = [outputs[at].reshape(len(values)) for at in self.positions]
        spread = None if not beside else beside[0] if len(beside) == 1 else np.stack(beside, axis=1)
        return conformal.intervals(self.score, values, spread, self.threshold)
