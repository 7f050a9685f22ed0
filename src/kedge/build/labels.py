"""Predictions beside the truth: what calibration and evaluation are measured on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from kedge.build import calibrate, evaluate, prediction, tables
from kedge.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kedge.build.intervals import Figure
    from kedge.build.tables import Data
    from kedge.bundle.manifest import Conformal, Prediction, Reliability


@dataclass(frozen=True)
class Labelled:
    """Rows whose label is known.

    Attributes:
        truth: [n] int64 ids of the true classes, or float64 values.
        predicted: what the model says of them; finite.
        rows: [n] their positions in the data.
    """

    truth: NDArray[Any]
    predicted: prediction.Read
    rows: NDArray[np.int64]

    def part(self, chosen: NDArray[np.int64]) -> Labelled:
        """Some of the rows, by position among these."""
        return Labelled(self.truth[chosen], self.predicted.part(chosen), self.rows[chosen])

    def figures(self) -> dict[str, Figure]:
        """Every metric by name."""
        scores = None if self.predicted.scores is None else self.predicted.scores.astype(np.float64)
        if self.predicted.classes is None:
            return evaluate.regression(self.truth, np.asarray(scores))
        return evaluate.classification(self.truth, self.predicted.classes, scores)

    def reliability(self) -> Reliability | None:
        """Of probabilities; None where there are none."""
        if self.predicted.scores is None or not self.predicted.probabilities:
            return None
        return calibrate.reliability(self.predicted.scores, self.truth)

    def conformal(self) -> Conformal | None:
        """Scores of probabilities or values; None where the model gives labels alone."""
        if self.predicted.scores is None:
            return None
        if self.predicted.probabilities:
            return calibrate.conformal_classes(self.predicted.scores, self.truth)
        return calibrate.conformal_values(self.predicted.scores, self.predicted.spread, self.truth)


@dataclass(frozen=True)
class Reader:
    """Puts predictions and labels together.

    Attributes:
        label: name of the label's column.
        prediction: how outputs are read.
        notes: where rows without a label are mentioned.
    """

    label: str
    prediction: Prediction
    notes: list[str]

    def read(self, data: Data, answers: Mapping[str, NDArray[Any]]) -> Labelled:
        """The labelled rows of `data`, with the model's `answers` for all its rows.

        Raises:
            SpecError: no row has a label, a label is none of the classes, or a prediction is not finite.
        """
        column = tables.column(data, self.label, "data.label")
        known = np.flatnonzero(np.asarray(column.is_valid()))
        if not len(known):
            raise SpecError(f"data.label: column '{self.label}' of '{data.uri}' is empty")
        if len(known) < len(column):
            self.notes.append(f"{len(column) - len(known)} rows of '{data.uri}' have no label and are not measured on")
        predicted = prediction.read(self.prediction, answers).part(known)
        _check_finite(predicted, known, data.uri)
        return Labelled(self._truth(column.take(pa.array(known)), data.uri), predicted, known)

    def _truth(self, column: pa.ChunkedArray, uri: str) -> NDArray[Any]:
        if self.prediction.kind == "value":
            try:
                values: NDArray[Any] = column.cast(pa.float64()).to_numpy()
            except pa.ArrowException as error:
                raise SpecError(
                    f"data.label: column '{self.label}' of '{uri}' is {column.type}, a regression needs numbers"
                ) from error
            if not np.isfinite(values).all():
                raise SpecError(f"data.label: column '{self.label}' of '{uri}' holds values that are not finite")
            return values
        classes = self.prediction.classes
        truth = prediction.class_ids(np.array(column.to_pylist(), dtype=object), classes)
        strange = truth == len(classes)
        if strange.any():
            raise SpecError(
                f"data.label: '{column[int(np.argmax(strange))].as_py()}' in '{uri}' is none of the classes "
                f"{', '.join(classes[:8])}"
            )
        return truth


def _check_finite(predicted: prediction.Read, rows: NDArray[np.int64], uri: str) -> None:
    if predicted.scores is None:
        return
    bad = ~np.isfinite(predicted.scores.reshape(len(rows), -1)).all(axis=1)
    what = "prediction is not finite"
    if not bad.any() and predicted.spread is not None:
        bad = ~np.isfinite(predicted.spread.reshape(len(rows), -1)).all(axis=1)
        what = "bounds are not finite"
        if predicted.spread.ndim == 1:
            bad |= predicted.spread <= 0
            what = "sigma is not above zero"
    if bad.any():
        raise SpecError(
            f"the model's {what} on {int(bad.sum())} rows of '{uri}', first on row {int(rows[np.argmax(bad)])}"
        )
