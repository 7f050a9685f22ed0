"""Small models made with onnx.helper, their data, and the spec that names both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COLUMNS = ("a", "b", "c", "d")
WEIGHTS = np.array([[-1.0, 1.0], [-0.5, 0.5], [0.2, -0.2], [0.0, 0.0]], np.float32)
OPSET = 17


def model_of(
    nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Any] | None = None, opset: int = OPSET
) -> Any:
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()]
    graph = helper.make_graph(nodes, "test", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def value(name: str, kind: int, *shape: int | str | None) -> Any:
    return helper.make_tensor_value_info(name, kind, list(shape))


def classifier(features: int = 4, *, opset: int = OPSET, source: str = "x") -> Any:
    """Softmax of a linear map; missing values count as 0. Outputs label int64 [N] and probabilities [N, 2]."""
    nodes = [
        helper.make_node("IsNaN", [source], ["missing"]),
        helper.make_node("Where", ["missing", "zero", source], ["known"]),
        helper.make_node("MatMul", ["known", "w"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    weights = np.vstack([WEIGHTS] * (features // 4 + 1))[:features]
    return model_of(
        nodes,
        [value(source, TensorProto.FLOAT, "N", features)],
        [value("label", TensorProto.INT64, "N"), value("probabilities", TensorProto.FLOAT, "N", 2)],
        {"w": weights, "zero": np.float32(0)},
        opset,
    )


def regressor() -> Any:
    return model_of(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [value("x", TensorProto.FLOAT, "N", 4)],
        [value("y", TensorProto.FLOAT, "N", 1)],
        {"w": WEIGHTS[:, 1:]},
    )


def table(rows: int = 2000, seed: int = 1) -> pa.Table:
    """Columns a (normal), b (uniform), c (half zeros), d (some missing), label (drawn from the model), value, when."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=rows), rng.random(rows)
    c = np.where(rng.random(rows) < 0.5, 0.0, rng.normal(size=rows))
    d = np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows))
    logit = 2 * (a + 0.5 * b - 0.2 * c)
    label = (rng.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    when = np.arange(rows)[::-1].copy()
    return pa.table({"a": a, "b": b, "c": c, "d": d, "label": label, "value": a + rng.normal(size=rows), "when": when})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with model.onnx and data.parquet (columns a to d and label)."""
    onnx.save(classifier(), tmp_path / "model.onnx")
    pq.write_table(table().select([*COLUMNS, "label"]), tmp_path / "data.parquet")
    return tmp_path


@pytest.fixture
def write_spec(folder: Path) -> Callable[..., Path]:
    """Writes a spec: the smallest one, with the given top-level keys set; a value of None takes a key away."""

    def write(**changes: Any) -> Path:
        spec: dict[str, Any] = {
            "name": "test",
            "version": "1.0.0",
            "model": "model.onnx",
            "data": {"reference": "data.parquet", "label": "label"},
        }
        spec |= changes
        path = folder / "spec.yaml"
        path.write_text(yaml.safe_dump({key: item for key, item in spec.items() if item is not None}))
        return path

    return write
