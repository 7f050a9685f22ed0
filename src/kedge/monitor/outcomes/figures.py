"""What counts of labelled predictions amount to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kedge.stats import accuracy_bounds, calibration_error

if TYPE_CHECKING:
    from kedge.monitor.outcomes.counts import Counts


@dataclass(frozen=True)
class Figures:
    """Figures of some labelled predictions; None where there is nothing to tell one from.

    Attributes:
        labelled: how many.
        predicted: rows predicted in the same time, labelled or not; 0 where they were not counted here.
        share: labelled of predicted, at most 1.
        accuracy: share of right classes.
        bounds: worst and best accuracy of all that was predicted, whatever the missing labels are.
        brier, log_loss: means, as at build; log-loss in nats.
        ece: expected calibration error of the top probability.
        ece_corrected: what is left of it above what chance alone gives.
        calibration_p: p-value against "the probabilities are true".
        mae, rmse, bias: of values, in their unit; bias is predicted less label.
        clipped: values whose error was too large to count in full; above 0, mae and rmse are lower bounds.
        coverage: share of sets or intervals that held the label.
        intervals: how many there were.
    """

    labelled: int
    predicted: int
    share: float | None
    accuracy: float | None
    bounds: tuple[float, float] | None
    brier: float | None
    log_loss: float | None
    ece: float | None
    ece_corrected: float | None
    calibration_p: float | None
    mae: float | None
    rmse: float | None
    bias: float | None
    clipped: int
    coverage: float | None
    intervals: int

    @classmethod
    def of(cls, counts: Counts, predicted: int, unit: float) -> Figures:
        """Figures of counts.

        Args:
            counts: of labelled predictions.
            predicted: rows predicted in the same time.
            unit: of errors of values; see `Target.unit`.
        """
        n, values = counts.labelled, counts.values
        classes = n - values
        share = min(1.0, n / predicted) if predicted else None
        accuracy = counts.right / classes if classes else None
        bounds = None
        if accuracy is not None and share is not None:
            low, high = accuracy_bounds(accuracy, share)
            bounds = float(low), float(high)
        scored = counts.scored
        calibration = calibration_error(*counts.reliability) if scored else None
        error, absolute, squared = counts.errors
        return cls(
            labelled=n,
            predicted=predicted,
            share=share,
            accuracy=accuracy,
            bounds=bounds,
            brier=counts.brier / scored if scored else None,
            log_loss=counts.log_loss / scored if scored else None,
            ece=float(calibration.ece) if calibration else None,
            ece_corrected=float(calibration.ece_corrected) if calibration else None,
            calibration_p=float(calibration.p_value) if calibration else None,
            mae=absolute / values * unit if values else None,
            rmse=math.sqrt(squared / values) * unit if values else None,
            bias=error / values * unit if values else None,
            clipped=counts.clipped,
            coverage=counts.covered / counts.intervals if counts.intervals else None,
            intervals=counts.intervals,
        )
