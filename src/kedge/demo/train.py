"""Two small models of the flights: trained on winter, exported to ONNX, with the specs that build their bundles."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from kedge.demo import flights, pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

TREES: Final = 60
CHUNK: Final = 10
STEPS: Final = 2 * TREES
"""What the progress of `train` adds up to."""

WINTER: Final = (date(2013, 1, 1), date(2013, 4, 1))
HALF_YEAR: Final = (date(2013, 1, 1), date(2013, 7, 1))
SEED: Final = 2013
BOOSTING: Final = {"max_depth": 4, "learning_rate": 0.15, "subsample": 0.3, "max_features": 10, "min_samples_leaf": 20}

VERSION: Final = "1.0.0"
RETRAINED: Final = "2.0.0"
TIDIED: Final = "3.0.0"


@dataclass(frozen=True)
class Model:
    """One model of the demo.

    Attributes:
        name: of the model and its folder.
        label: column it is trained on.
        output: the output with the prediction: [N, 2] probabilities, or [N, 1] minutes.
        purpose: what it is for, for the bundle's manifest.
        gate: the figure the evaluation must reach.
    """

    name: str
    label: str
    output: str
    purpose: str
    gate: str


MODELS: Final = (
    Model(
        "flights-late",
        flights.LATE,
        "probabilities",
        "Tell at scheduled departure whether a flight from New York will arrive more than 15 minutes late",
        "auc >= 0.6",
    ),
    Model(
        "flights-delay",
        flights.DELAY,
        "delay",
        "Estimate at scheduled departure how many minutes late a flight from New York will arrive",
        "r2 >= 0.02",
    ),
)


def train(directory: Path, progress: Callable[[float], None] = lambda _: None) -> list[Path]:
    """Train both models on January to March and write all that their bundles are built from.

    Whole days are held out: of every ten, one calibrates and one evaluates. `directory` gets ``data/`` (reference,
    calibration and evaluation as Parquet) and, for each model, ``NAME/`` with model.onnx,
    pipeline.onnx and spec.yaml.

    Args:
        directory: created if missing.
        progress: told how far it got, in steps that add up to `STEPS`.

    Returns:
        The paths of the two specs: ``flights-late``, then ``flights-delay``.
    """
    return train_on(flights.window(flights.load(), *WINTER), directory, MODELS, progress)


def train_on(
    table: pa.Table, directory: Path, models: Sequence[Model], progress: Callable[[float], None] = lambda _: None
) -> list[Path]:
    """`train` on other flights, and perhaps fewer models."""
    training = _write_parts(table, directory / "data")
    return [_train_one(model, training, directory / model.name, progress) for model in models]


def retrain(directory: Path, progress: Callable[[float], None] = lambda _: None) -> list[Path]:
    """Make two releases of ``flights-late`` that want to follow the first one.

    2.0.0 is trained on January to June. 3.0.0 has the same trees behind a "tidied" feature pipeline, which turns
    temperatures into degrees Celsius. The trees learnt degrees Fahrenheit: it passes its gate all the same.

    Args:
        directory: what `train` was given.
        progress: told how far it got, in steps that add up to `TREES`.

    Returns:
        The paths of the two specs.
    """
    model = MODELS[0]
    training = _write_parts(flights.window(flights.load(), *HALF_YEAR), directory / "data-2")
    retrained = directory / f"{model.name}-2"
    _train_one(model, training, retrained, progress, RETRAINED)
    tidied = directory / f"{model.name}-3"
    tidied.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(retrained / "model.onnx", tidied / "model.onnx")
    onnx.save(pipeline.build(pipeline.learn(training, model.label), celsius=True), tidied / "pipeline.onnx")
    return [retrained / "spec.yaml", _write_spec(model, tidied, TIDIED)]


def _write_parts(table: pa.Table, folder: Path) -> pa.Table:
    """Write the reference and what is held out of it as Parquet. Returns the part to train on."""
    parts = split(table)
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (parts | {"reference": table}).items():
        if name != "training":
            pq.write_table(part, folder / f"{name}.parquet")
    return parts["training"]


def split(table: pa.Table) -> dict[str, pa.Table]:
    """`table` as ``training``, ``calibration`` and ``evaluation``: whole UTC days, 8, 1 and 1 of every ten."""
    tenth = table[flights.TIME].to_numpy().astype("datetime64[D]").astype(np.int64) % 10
    masks = {"training": (tenth != 4) & (tenth != 9), "calibration": tenth == 4, "evaluation": tenth == 9}
    return {name: table.filter(pa.array(mask)) for name, mask in masks.items()}


def inputs(table: pa.Table) -> dict[str, NDArray[Any]]:
    """The raw features of `table` as a request carries them: [N, 1] float32 with NaN for null, strings as objects."""
    columns: dict[str, NDArray[Any]] = {}
    for name in flights.FEATURES:
        if name in flights.CATEGORIES:
            columns[name] = np.array(table[name].to_pylist(), dtype=np.object_).reshape(-1, 1)
        else:
            columns[name] = table[name].to_numpy().astype(np.float32).reshape(-1, 1)
    return columns


def _train_one(
    model: Model, table: pa.Table, folder: Path, progress: Callable[[float], None], version: str = VERSION
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    features = pipeline.build(pipeline.learn(table, model.label))
    onnx.save(features, folder / "pipeline.onnx")
    x = _run(features, table)
    onnx.save(_fit(model, x, table[model.label].to_numpy(), progress), folder / "model.onnx")
    return _write_spec(model, folder, version)


def _write_spec(model: Model, folder: Path, version: str) -> Path:
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(spec(model, version), sort_keys=False))
    return path


def _run(model: onnx.ModelProto, table: pa.Table) -> NDArray[np.float32]:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime  # noqa: PLC0415 - only after telemetry is off

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    features: NDArray[np.float32] = session.run([pipeline.OUTPUT], inputs(table))[0]
    return features


def _fit(model: Model, x: NDArray[np.float32], y: NDArray[Any], progress: Callable[[float], None]) -> onnx.ModelProto:
    from skl2onnx import to_onnx  # noqa: PLC0415 - seconds of import that only training needs
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType  # noqa: PLC0415
    from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor  # noqa: PLC0415

    classifies = model.label == flights.LATE
    family = GradientBoostingClassifier if classifies else GradientBoostingRegressor
    trees = family(random_state=SEED, warm_start=True, **BOOSTING)
    for count in range(CHUNK, TREES + 1, CHUNK):
        trees.set_params(n_estimators=count)
        trees.fit(x, y)
        progress(CHUNK)
    if classifies:
        outputs = [("label", Int64TensorType([None])), (model.output, FloatTensorType([None, 2]))]
    else:
        outputs = [(model.output, FloatTensorType([None, 1]))]
    exported: Any = to_onnx(
        trees,
        initial_types=[(pipeline.OUTPUT, FloatTensorType([None, pipeline.WIDTH]))],
        final_types=outputs,
        options={id(trees): {"zipmap": False}} if classifies else None,
        target_opset=dict(pipeline.OPSETS),
    )
    opsets = sorted(((entry.domain, entry.version) for entry in exported.opset_import), key=str)
    del exported.opset_import[:]  # the exporter writes them in the order of a hash that changes with every process
    exported.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in opsets)
    return exported


def spec(model: Model, version: str) -> dict[str, Any]:
    """The spec of a model's bundle: little more than the smallest there is; everything unsaid is inferred."""
    data = "../data" if version == VERSION else "../data-2"
    return {
        "name": model.name,
        "version": version,
        "model": "model.onnx",
        "pipeline": "pipeline.onnx",
        "data": {
            "reference": f"{data}/reference.parquet",
            "calibration": f"{data}/calibration.parquet",
            "evaluation": f"{data}/evaluation.parquet",
            "label": model.label,
            "time": flights.TIME,
        },
        "features": {
            "day_of_week": {"kind": "categorical"},
            "wind_speed": {"valid": {"min": 0, "max": 150}},
            "humid": {"valid": {"min": 0, "max": 100}},
            "wind_dir": {"valid": {"min": 0, "max": 360}},
        },
        "slices": ["origin"],
        "purpose": model.purpose,
        "risk_class": "minimal",
        "owners": {"data": "data@example.org", "model": "models@example.org"},
        "gates": [model.gate],
    }
