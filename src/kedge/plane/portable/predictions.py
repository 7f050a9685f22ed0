"""What of a model's outputs is the prediction, and whether it is one that a client can use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kedge.kernel.intervals import compile_feature

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kedge.bundle.manifest import Prediction
    from kedge.kernel.contract import Layout

Predictions = tuple["NDArray[np.int64] | None", "NDArray[Any] | None", bool]
"""Classes, scores, and whether the scores are probabilities: what `Sketch.observe_predictions` takes."""
Reader = Callable[[Sequence["NDArray[Any]"]], Predictions]
"""From all outputs of a run to its predictions."""
RowPrediction = tuple[int | None, float | None]
"""Class and score of one row, where they are known."""


def reader(prediction: Prediction, outputs: list[str]) -> Reader:
    """A function from a run's outputs to its predictions."""
    at = outputs.index(prediction.output)
    if prediction.kind == "value":
        return lambda arrays: (None, _column(arrays[at]), False)
    to_ids = _class_ids(prediction.classes)
    if prediction.kind == "label":
        return lambda arrays: (to_ids(arrays[at]), None, False)
    label_at = outputs.index(prediction.label_output) if prediction.label_output is not None else None
    logits = prediction.kind == "logits"

    def scores(arrays: Sequence[NDArray[Any]]) -> Predictions:
        probabilities = _probabilities(arrays[at], logits=logits)
        labels = probabilities.argmax(axis=1) if label_at is None else to_ids(arrays[label_at])
        return labels, probabilities, True

    return scores


def _column(values: NDArray[Any]) -> NDArray[Any]:
    return values if values.ndim == 1 else values.reshape(values.shape[0], -1)[:, 0]


def _probabilities(scores: NDArray[Any], *, logits: bool) -> NDArray[Any]:
    """[N, C] probabilities; a single score a row is that of the second of two classes."""
    flat = scores if scores.ndim == 2 else scores.reshape(scores.shape[0], -1)
    if flat.shape[1] != 1:
        return _softmax(flat) if logits else flat
    if logits:
        return _softmax(np.concatenate([np.zeros_like(flat), flat], axis=1))
    return np.concatenate([1 - flat, flat], axis=1)


def _softmax(logits: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(all="ignore"):  # what is not finite is counted as such, not warned about
        shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
        result: NDArray[Any] = shifted / shifted.sum(axis=1, keepdims=True)
        return result


def _class_ids(classes: tuple[str, ...]) -> Callable[[NDArray[Any]], NDArray[np.int64]]:
    """A function from a label output [N] or [N, 1] to class ids; a label that is no class gets their number."""
    if classes == tuple(str(index) for index in range(len(classes))):

        def numbers(labels: NDArray[Any]) -> NDArray[np.int64]:
            if labels.dtype.kind in "iu":
                return _column(labels).astype(np.int64, copy=False)
            return by_name(labels)
    else:

        def numbers(labels: NDArray[Any]) -> NDArray[np.int64]:
            return by_name(labels)

    table = {name: index for index, name in enumerate(classes)}

    def by_name(labels: NDArray[Any]) -> NDArray[np.int64]:
        column = _column(labels).tolist()
        return np.array([table.get(_name(label), len(classes)) for label in column], dtype=np.int64)

    return numbers


def _name(label: Any) -> str:
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return label.decode(errors="replace") if isinstance(label, bytes) else str(label)


def are_of(predictions: Predictions, rows: int | None) -> bool:
    """Are they of so many rows; of at least one for None."""
    classes, scores, _ = predictions
    if rows is None:
        return (classes is None or len(classes) > 0) and (scores is None or len(scores) > 0)
    return (classes is None or len(classes) == rows) and (scores is None or len(scores) == rows)


def invalid_rows(predictions: Predictions) -> NDArray[np.bool_] | None:
    """[N] rows whose prediction is not finite or has a probability outside [0, 1]; None where there is none."""
    _, scores, probabilities = predictions
    if scores is None or not scores.size:
        return None
    if probabilities:
        if scores.min() >= 0.0 and scores.max() <= 1.0:
            return None
        invalid: NDArray[np.bool_] = np.logical_not(((scores >= 0.0) & (scores <= 1.0)).all(axis=1))
        return invalid
    finite = np.isfinite(scores)
    return None if finite.all() else ~finite


def unfinished_rows(predictions: Predictions) -> NDArray[np.bool_]:
    """[N] rows whose prediction is not finite."""
    _, scores, _ = predictions
    if scores is None:
        return np.zeros(0, dtype=np.bool_)
    rows: NDArray[np.bool_] = np.logical_not(np.isfinite(scores.reshape(scores.shape[0], -1)).all(axis=1))
    return rows


class ScoreRule:
    """The one score by which arms are compared: of class 1 of two, of class 0 of more, or the value.

    Args:
        layout: of the bundle; without a histogram for that score it has no slots.

    Attributes:
        span: what a difference of 1 stands for: for values, the span of the reference.
    """

    def __init__(self, layout: Layout) -> None:
        self.span = 1.0
        self._column = 1 if layout.classes == 2 else 0
        self._bounds: NDArray[np.float64] | None = None
        if self._column < len(layout.scores):
            feature = layout.scores[self._column]
            self._bounds, self._slots = compile_feature(feature)
            if not layout.classes:
                self.span = feature.edges[-1] - feature.edges[0]

    def slots(self, predictions: Predictions, rows: Sequence[int]) -> list[int]:
        """The slot of each of these rows, or nothing where scores have none."""
        scores = predictions[1]
        if self._bounds is None or scores is None or not rows:
            return []
        values = self._of(scores)[list(rows)].astype(np.float64)
        places = np.searchsorted(self._bounds, values, side="right")
        places[np.isnan(values)] = 0
        slots: list[int] = self._slots[places].tolist()
        return slots

    def read(self, predictions: Predictions | None, row: int) -> RowPrediction:
        """What was predicted for a row."""
        if predictions is None:
            return None, None
        classes, scores, _ = predictions
        return (
            None if classes is None else int(classes[row]),
            None if scores is None else float(self._of(scores)[row]),
        )

    def _of(self, scores: NDArray[Any]) -> NDArray[Any]:
        return scores[:, self._column] if scores.ndim > 1 else scores
