"""What the data says of the model: schema, prediction, reference, calibration, metrics and golden rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kedge.build import evaluate, features, goldens, labels, prediction, reference, rows, splits, tables
from kedge.bundle.manifest import (
    DataSnapshot,
    Distributions,
    FileEntry,
    Gates,
    Manifest,
    Metrics,
    Schema,
    Serving,
    Slicing,
    TensorSpec,
)
from kedge.bundle.slices import Slices
from kedge.errors import BundleError, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from kedge.build.features import Placed
    from kedge.build.intervals import Figure
    from kedge.build.labels import Labelled
    from kedge.build.session import Session
    from kedge.build.spec import Spec
    from kedge.bundle.manifest import Metric, Prediction

NO_FILE: Final = FileEntry(path="model/model.onnx", size=0, sha256="0" * 64, role="model")
"""In a manifest before there are files."""


@dataclass(frozen=True)
class Measured:
    """Everything of a bundle that is measured or inferred.

    Attributes:
        outputs: the model's, with the widths that the graph left open as they came out.
        golden_rows, golden_answers: tensors by name; both empty where the model runs on no row that is known.
    """

    schema: Schema
    serving: Serving
    distributions: Distributions | None
    metrics: Metrics
    gates: Gates
    snapshots: tuple[DataSnapshot, ...]
    outputs: tuple[TensorSpec, ...]
    golden_rows: dict[str, NDArray[Any]]
    golden_answers: dict[str, NDArray[Any]]
    notes: tuple[str, ...]


def manifest(
    spec: Spec,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    files: tuple[FileEntry, ...],
    *,
    batchable: bool,
) -> Manifest:
    """bundle.json of a spec."""
    return Manifest(
        format="kedge.bundle/1",
        name=spec.name,
        version=spec.version,
        parent=spec.parent,
        purpose=spec.purpose,
        risk_class=spec.risk_class,
        owners=spec.owners,
        inputs=inputs,
        outputs=outputs,
        batchable=batchable,
        files=files,
    )


def measure(spec: Spec, folder: Path, session: Session, progress: Callable[[str], None]) -> Measured:
    """Measure a model on the data its spec names.

    Args:
        spec: what to measure.
        folder: where the spec stands.
        session: of the model that will run.
        progress: told of two stages: running and counting.

    Raises:
        SpecError: model, data and spec do not fit.
    """
    if spec.data is None:
        return _unmeasured(spec, session, progress)
    data = splits.read(spec.data, folder)
    # Before the features: a misspelt label would be counted among them.
    label = None if spec.data.label is None else tables.column(data.reference, spec.data.label, "data.label")
    placed = features.infer(spec, session.inputs, data.reference)
    tensors = rows.tensors(session.inputs, placed, data.reference)
    schema = _schema(spec, placed, tensors)
    try:
        slices = Slices.of(schema)
    except BundleError as error:
        raise SpecError(str(error)) from error
    progress("running the model")
    answers = session.run(tensors)
    task, predicted = prediction.infer(spec, session.outputs, answers, label)
    refined = tuple(_refined(item, answers[item.name]) for item in session.outputs)
    serving = _serving(spec, predicted)
    notes = _notes(spec, task, predicted)
    evaluation = rows.tensors(session.inputs, placed, data.evaluation)
    calibrated, evaluated = None, None
    if predicted is not None and spec.data.label is not None:
        reader = labels.Reader(spec.data.label, predicted, notes)
        calibration = session.run(rows.tensors(session.inputs, placed, data.calibration))
        calibrated = reader.read(data.calibration, calibration)
        evaluated = reader.read(data.evaluation, session.run(evaluation))
    figures = {} if evaluated is None else evaluated.figures()
    progress("counting the reference")
    distributions = reference.distributions(
        reference.Subject(manifest(spec, session.inputs, refined, (NO_FILE,), batchable=False), schema, serving),
        tensors,
        None if predicted is None else prediction.read(predicted, answers),
        reliability=None if calibrated is None else calibrated.reliability(),
        conformal=None if calibrated is None else calibrated.conformal(),
        timed=spec.data.time is not None,
    )
    golden_rows = goldens.choose(evaluation, session.inputs)
    return Measured(
        schema=schema,
        serving=serving,
        distributions=distributions,
        metrics=Metrics(task=task, metrics=_metrics(slices, evaluated, figures, evaluation)),
        gates=evaluate.gates(spec.gates, figures),
        snapshots=data.snapshots,
        outputs=refined,
        golden_rows=golden_rows,
        golden_answers=session.run(golden_rows),
        notes=tuple(notes),
    )


def _unmeasured(spec: Spec, session: Session, progress: Callable[[str], None]) -> Measured:
    for name, said in (("features", spec.features), ("slices", spec.slices), ("gates", spec.gates)):
        if said:
            raise SpecError(f"{name}: needs data to be measured on; say data.reference")
    notes = ["no data: only schema, latency and errors are watched"]
    progress("running the model")
    made_up = goldens.made_up(session.inputs)
    answers: dict[str, NDArray[Any]] = {}
    try:
        answers = session.run(made_up)
    except SpecError as error:
        notes.append(f"no golden rows, and rows never share a run: made-up rows fail ({error})")
        made_up = {}
    task, predicted = prediction.infer(spec, session.outputs, answers, None) if answers else ("none", None)
    if predicted is not None and predicted.kind == "label" and not spec.prediction.classes:
        predicted = None  # what made-up rows are labelled is not all that rows can be labelled
    progress("counting the reference")
    return Measured(
        schema=Schema(features=(), maturity_seconds=spec.outcomes.maturity_seconds, selective=spec.outcomes.selective),
        serving=_serving(spec, predicted),
        distributions=None,
        metrics=Metrics(task=task, metrics=()),
        gates=Gates(gates=()),
        snapshots=(),
        outputs=tuple(_refined(item, answers[item.name]) for item in session.outputs) if answers else session.outputs,
        golden_rows=made_up,
        golden_answers=answers,
        notes=tuple(notes),
    )


def _metrics(
    slices: Slices,
    evaluated: Labelled | None,
    figures: Mapping[str, Figure],
    tensors: Mapping[str, NDArray[Any]],
) -> tuple[Metric, ...]:
    """Figures of all labelled rows, then of every slice with enough of them."""
    if evaluated is None:
        return ()
    metrics = list(evaluate.metrics(figures, len(evaluated.rows)))
    if slices.features:
        places = slices.places(tensors)[evaluated.rows]
        for feature, column in zip(slices.features, places.T, strict=True):
            for place in range(len(feature.values)):
                chosen = np.flatnonzero(column == place)
                if len(chosen) >= evaluate.SLICE_ROWS:
                    part = evaluated.part(chosen).figures()
                    metrics.extend(evaluate.metrics(part, len(chosen), feature.name(place)))
    return tuple(metrics)


def _schema(spec: Spec, placed: Sequence[Placed], tensors: Mapping[str, NDArray[Any]]) -> Schema:
    complete = []
    for item in placed:
        feature = item.feature
        if feature.kind == "categorical":
            values = reference.feature_values(feature, tensors[feature.source.tensor])
            feature = rows.with_vocabulary(feature, values)
        complete.append(feature)
    return Schema(
        features=tuple(complete),
        label=spec.data.label if spec.data else None,
        time=spec.data.time if spec.data else None,
        slices=tuple(
            Slicing(feature=one.feature, edges=one.edges) if one.edges else one.feature for one in spec.slices
        ),
        maturity_seconds=spec.outcomes.maturity_seconds,
        selective=spec.outcomes.selective,
    )


def _serving(spec: Spec, predicted: Prediction | None) -> Serving:
    return Serving(
        prediction=predicted,
        batching=spec.serving.batching,
        execution=spec.serving.execution,
        monitor=spec.monitor,
        confidence=spec.confidence,
        outcomes=spec.outcomes.collect,
        rollout=spec.rollout,
    )


def _refined(declared: TensorSpec, answer: NDArray[Any]) -> TensorSpec:
    """An output with the dimensions that the graph left open, the batch aside, as they came out."""
    shape = declared.shape or (-1,) * answer.ndim
    came = (-1, *answer.shape[1:])
    return declared.model_copy(
        update={"shape": tuple(out if dim < 0 else dim for dim, out in zip(shape, came, strict=True))}
    )


def _notes(spec: Spec, task: str, predicted: Prediction | None) -> list[str]:
    notes = []
    if predicted is None:
        notes.append("predictions are not watched: no output can be told to be one (say prediction)")
    if spec.data is not None and spec.data.label is None:
        notes.append("no label: metrics, calibration and conformal scores are not measured")
    elif task == "none":
        notes.append("no task: metrics, calibration and conformal scores are not measured")
    return notes
