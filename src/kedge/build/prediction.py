"""What of the outputs is the prediction: inferred from their shapes, the label, and a run; then read from any run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pyarrow as pa

from kedge.build.graph import ZIPMAP_REMEDY, describe
from kedge.bundle.manifest import Prediction
from kedge.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from kedge.build.spec import Spec
    from kedge.bundle.manifest import TensorSpec

Task = Literal["classification", "regression", "none"]

SUM_TOLERANCE: Final = 1e-3
MAX_CLASSES: Final = 10_000
FLOATS: Final = ("FP16", "FP32", "FP64")
SPREADS: Final = ("sigma_output", "lower_output", "upper_output")
"""Fields of a prediction that name what the model says of its own error."""


@dataclass(frozen=True)
class Read:
    """Predictions of N rows.

    Attributes:
        classes: [N] class ids; len(classes) where the label is none of them. None for regression.
        scores: [N, C] probabilities or [N] values, of the output's dtype (float64 after a softmax). None for labels.
        probabilities: the scores are probabilities.
        spread: what the model says of its own error: [N] sigma, [N, 2] lower and upper bound, or None.
    """

    classes: NDArray[np.int64] | None
    scores: NDArray[Any] | None
    probabilities: bool
    spread: NDArray[Any] | None = None

    def part(self, chosen: NDArray[np.int64] | slice) -> Read:
        """Some of the rows."""

        def of(values: NDArray[Any] | None) -> NDArray[Any] | None:
            return None if values is None else values[chosen]

        return Read(of(self.classes), of(self.scores), self.probabilities, of(self.spread))


def read(prediction: Prediction, outputs: Mapping[str, NDArray[Any]]) -> Read:
    """Read predictions as the data planes do: logits by softmax, one probability a row as that of the second class."""
    output = outputs[prediction.output]
    if prediction.kind == "value":
        return Read(None, output.reshape(len(output)), probabilities=False, spread=_spread(prediction, outputs))
    if prediction.kind == "label":
        return Read(class_ids(output, prediction.classes), None, probabilities=False)
    scores = output.reshape(len(output), -1)
    if scores.shape[1] == 1:
        other = np.zeros_like(scores) if prediction.kind == "logits" else 1 - scores
        scores = np.concatenate([other, scores], axis=1)
    if prediction.kind == "logits":
        with np.errstate(all="ignore"):  # what is not finite stays so and is counted as such
            raised = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
            scores = raised / raised.sum(axis=1, keepdims=True)
    if prediction.label_output is None:
        return Read(scores.argmax(axis=1), scores, probabilities=True)
    return Read(class_ids(outputs[prediction.label_output], prediction.classes), scores, probabilities=True)


def _spread(prediction: Prediction, outputs: Mapping[str, NDArray[Any]]) -> NDArray[Any] | None:
    if prediction.sigma_output is not None:
        return outputs[prediction.sigma_output].reshape(-1)
    if prediction.lower_output is None or prediction.upper_output is None:
        return None
    return np.stack([outputs[name].reshape(-1) for name in (prediction.lower_output, prediction.upper_output)], axis=1)


def class_ids(labels: NDArray[Any], classes: Sequence[str]) -> NDArray[np.int64]:
    """Position of each label [N] or [N, 1] in `classes`; len(classes) where it is none of them."""
    table = {name: index for index, name in enumerate(classes)}
    return np.array([table.get(class_name(value), len(classes)) for value in labels.ravel().tolist()], np.int64)


def class_name(value: Any) -> str:
    """A label as text: whole numbers and booleans as integers, bytes as UTF-8."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    return str(value)


def infer(
    spec: Spec, declared: Sequence[TensorSpec], sample: Mapping[str, NDArray[Any]], label: pa.ChunkedArray | None
) -> tuple[Task, Prediction | None]:
    """Task and prediction.

    Args:
        spec: what it says wins.
        declared: the model's outputs.
        sample: the outputs of some rows, for widths the graph leaves open and to tell probabilities from logits.
        label: the label column of the reference, or None.

    Returns:
        The task and the prediction; "none" and None where no output can be told to be one.

    Raises:
        SpecError: what the spec says does not fit the outputs, or label and outputs contradict each other.
    """
    outputs = {item.name: item for item in declared}
    said = spec.prediction
    for place in ("output", "label_output", *SPREADS):
        name = getattr(said, place)
        if name is not None and name not in outputs:
            raise SpecError(f"prediction.{place}: the model has no output '{name}'; it has {', '.join(outputs)}")
    widths = {name: math.prod(sample[name].shape[1:]) for name in outputs}
    task = spec.task or _task(spec, outputs, widths, label)
    if task == "none":
        return task, None
    if task == "regression":
        return _regression(spec, outputs, widths)
    return _classification(spec, outputs, widths, sample, label)


def _task(
    spec: Spec, outputs: Mapping[str, TensorSpec], widths: Mapping[str, int], label: pa.ChunkedArray | None
) -> Task:
    if spec.prediction.kind is not None:
        return "regression" if spec.prediction.kind == "value" else "classification"
    if any(getattr(spec.prediction, place) is not None for place in SPREADS):
        return "regression"
    labels = any(item.dtype not in FLOATS and widths[name] == 1 for name, item in outputs.items())
    scores = any(item.dtype in FLOATS and widths[name] > 1 for name, item in outputs.items())
    if label is not None:
        kind = label.type
        if pa.types.is_floating(kind):
            values = label.drop_null().to_numpy()
            whole = np.array_equal(values, np.rint(values))
            return "classification" if whole and (labels or scores) else "regression"
        if not pa.types.is_integer(kind):
            return "classification"
        return "classification" if labels or scores else "regression"
    if labels and scores:
        return "classification"
    single = len(outputs) == 1 and not labels and not scores
    return "regression" if single else "none"


def _regression(
    spec: Spec, outputs: Mapping[str, TensorSpec], widths: Mapping[str, int]
) -> tuple[Task, Prediction | None]:
    said = spec.prediction
    fitting = [name for name, item in outputs.items() if item.dtype in FLOATS and widths[name] == 1]
    if said.kind not in (None, "value") or said.classes:
        raise SpecError("prediction: a regression has kind value and no classes")
    spreads = _spreads(spec, outputs, fitting)
    free = [name for name in fitting if name not in spreads.values()]
    name = said.output or (free[0] if len(free) == 1 else None)
    if name is None:
        raise SpecError(f"prediction.output: say which output is the predicted value; the model has {_all(outputs)}")
    if name not in fitting:
        raise SpecError(
            f"prediction.output: needs one floating value a row, not {widths[name]}: {describe(outputs[name])}"
        )
    return "regression", Prediction(output=name, kind="value").model_copy(update=spreads)


def _spreads(spec: Spec, outputs: Mapping[str, TensorSpec], fitting: Sequence[str]) -> dict[str, str]:
    said = {place: name for place in SPREADS if (name := getattr(spec.prediction, place)) is not None}
    if said and set(said) not in ({"sigma_output"}, {"lower_output", "upper_output"}):
        raise SpecError(
            f"prediction: {' and '.join(said)} given; intervals need sigma_output, or lower_output and upper_output"
        )
    for place, name in said.items():
        if name not in fitting:
            raise SpecError(f"prediction.{place}: needs one floating value a row: {describe(outputs[name])}")
    return said


def _classification(
    spec: Spec,
    outputs: Mapping[str, TensorSpec],
    widths: Mapping[str, int],
    sample: Mapping[str, NDArray[Any]],
    label: pa.ChunkedArray | None,
) -> tuple[Task, Prediction]:
    said = spec.prediction
    for place in SPREADS:
        if getattr(said, place) is not None:
            raise SpecError(f"prediction.{place}: is for regression; a classification has sets, not intervals")
    if said.kind == "value":
        raise SpecError("prediction.kind: value is for regression; a classification has probabilities, logits or label")
    scored = [name for name, item in outputs.items() if item.dtype in FLOATS and widths[name] > 1]
    labelled = [name for name, item in outputs.items() if item.dtype not in FLOATS and widths[name] == 1]
    if not scored and not labelled:  # a single score a row, that of the second of two classes
        scored = [name for name, item in outputs.items() if item.dtype in FLOATS and widths[name] == 1]
    output = said.output or (
        scored[0] if len(scored) == 1 else labelled[0] if len(labelled) == 1 and not scored else None
    )
    if output is None:
        raise SpecError(f"prediction.output: say which output holds the scores; the model has {_all(outputs)}")
    kind = said.kind or _score_kind(outputs[output], sample[output])
    width = widths[output]
    if kind != "label" and outputs[output].dtype not in FLOATS:
        raise SpecError(f"prediction.kind: {describe(outputs[output])} holds labels, not {kind}")
    classes = said.classes or _classes(label, 0 if kind == "label" else max(width, 2), output, sample)
    if kind != "label" and width != len(classes) and (width, len(classes)) != (1, 2):
        raise SpecError(
            f"prediction: {len(classes)} classes ({', '.join(classes[:6])}), but {describe(outputs[output])} has "
            f"{width} scores a row; if it is a map, {ZIPMAP_REMEDY}"
        )
    if len(set(classes)) != len(classes):
        raise SpecError("prediction.classes: a class appears twice")
    beside = said.label_output
    if beside is None and kind != "label" and len(labelled) == 1 and labelled[0] != output:
        beside = labelled[0]
    prediction = Prediction(output=output, kind=kind, classes=classes, label_output=beside)
    _check_order(prediction, sample)
    return "classification", prediction


def _score_kind(output: TensorSpec, sample: NDArray[Any]) -> Literal["probabilities", "logits", "label"]:
    if output.dtype not in FLOATS:
        return "label"
    rows = sample.reshape(len(sample), -1).astype(np.float64)
    rows = rows[np.isfinite(rows).all(axis=1)]
    inside = bool(((rows >= 0) & (rows <= 1)).all())
    sums = rows.shape[1] == 1 or bool((abs(rows.sum(axis=1) - 1) <= SUM_TOLERANCE).all())
    return "probabilities" if inside and sums else "logits"


def _classes(
    label: pa.ChunkedArray | None, width: int, output: str, sample: Mapping[str, NDArray[Any]]
) -> tuple[str, ...]:
    """Names in the order of the scores: labels sorted, as every exporter has them; numbers where there is no label."""
    if label is None:
        if width:
            return tuple(str(index) for index in range(width))
        return tuple(sorted({class_name(value) for value in sample[output].ravel().tolist()}))
    found = sorted(label.drop_null().unique().to_pylist())
    if len(found) > MAX_CLASSES:
        raise SpecError(f"the label has {len(found)} values; is this a regression? say task: regression")
    names = tuple(class_name(value) for value in found)
    numbers = tuple(str(index) for index in range(width))
    if len(names) < width and set(names) <= set(numbers):
        return numbers  # a class that the data happens not to hold
    return names


def _check_order(prediction: Prediction, sample: Mapping[str, NDArray[Any]]) -> None:
    """The label output must name the classes, and mostly the one of the highest score, else their order is wrong."""
    name = prediction.label_output or (prediction.output if prediction.kind == "label" else None)
    if name is None:
        return
    ids = class_ids(sample[name], prediction.classes)
    if (ids == len(prediction.classes)).any():
        stranger = class_name(sample[name].ravel().tolist()[int(np.argmax(ids == len(prediction.classes)))])
        raise SpecError(
            f"output '{name}' answers '{stranger}', which is none of the classes {', '.join(prediction.classes[:8])}; "
            "say prediction.classes in the order of the scores"
        )
    if prediction.label_output is not None:
        scores = read(prediction.model_copy(update={"label_output": None}), sample).classes
        # A threshold other than the highest score is legitimate; agreement no better than chance is another order.
        if scores is not None and len(ids) >= 20 and np.mean(scores == ids) < 1 / len(prediction.classes):
            raise SpecError(
                f"output '{name}' seldom names the class with the highest score in '{prediction.output}'; "
                "say prediction.classes in the order of the scores"
            )


def _all(outputs: Mapping[str, TensorSpec]) -> str:
    return ", ".join(describe(item) for item in outputs.values())
