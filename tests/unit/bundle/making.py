"""Small real bundles for tests: an ONNX model that computes, and files that agree with it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from kedge.bundle import archive, canonical, golden, ustar

if TYPE_CHECKING:
    from pathlib import Path

ROWS = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.0]], np.float32)


def model(*, external: dict[str, str] | None = None) -> onnx.ModelProto:
    """y = x @ w, x [N, 2] and y [N, 2] float32; w is external where `external` says so."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [2, 2], np.eye(2, dtype=np.float32).tobytes(), raw=True)
    if external is not None:
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        for key, value in external.items():
            weights.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def documents() -> dict[str, Any]:
    """The JSON files of a bundle with one numeric and one categorical feature and two classes."""
    counts = [0] * 32
    counts[0], counts[1] = 60, 40
    reference = {"kind": "numeric", "edges": [0.0, 1.0, 2.0], "center": 1.0, "scale": 100.0, "counts": counts}
    categories = [0] * 64
    categories[0], categories[1] = 70, 30
    return {
        "features/schema.json": {
            "features": [
                {"name": "speed", "dtype": "FP32", "source": {"tensor": "x", "column": 0}, "kind": "numeric"},
                {
                    "name": "gate",
                    "dtype": "FP32",
                    "source": {"tensor": "x", "column": 1},
                    "kind": "categorical",
                    "vocabulary": [2, 0],
                },
            ],
            "label": "late",
        },
        "data/snapshots.json": {"snapshots": []},
        "reference/distributions.json": {
            "rows": 100,
            "features": [{**reference, "name": "speed"}, {"kind": "categorical", "name": "gate", "counts": categories}],
            "classes": [60, 40, 0],
            "scores": [{**reference, "name": "no"}, {**reference, "name": "yes"}],
            "reliability": {"edges": [0.7], "n": [50, 50], "sum_p": [30.0, 45.0], "sum_y": [30, 45]},
        },
        "config/serving.json": {"prediction": {"output": "y", "kind": "logits", "classes": ["no", "yes"]}},
        "eval/metrics.json": {"task": "classification", "metrics": [{"name": "accuracy", "value": 0.9, "n": 100}]},
        "eval/gates.json": {"gates": [{"metric": "accuracy", "op": ">=", "bound": 0.8, "value": 0.9, "passed": True}]},
        "lineage/provenance.json": {
            "buildDefinition": {"buildType": "urn:kedge:test", "externalParameters": {}, "resolvedDependencies": []},
            "runDetails": {"builder": {"id": "urn:kedge:test"}},
        },
        "golden/golden.json": {
            "inputs": [golden.encode("x", "FP32", ROWS).model_dump(mode="json")],
            "outputs": [golden.encode("y", "FP32", ROWS).model_dump(mode="json")],
        },
    }


ROLES = {
    "features/schema.json": "schema",
    "data/snapshots.json": "snapshots",
    "reference/distributions.json": "distributions",
    "config/serving.json": "serving",
    "eval/metrics.json": "metrics",
    "eval/gates.json": "gates",
    "lineage/provenance.json": "provenance",
    "golden/golden.json": "golden",
    "model/model.onnx": "model",
    "features/pipeline.onnx": "pipeline",
    "docs/modelcard.md": "card",
}


def files(documents_: dict[str, Any] | None = None, model_: onnx.ModelProto | None = None) -> dict[str, bytes]:
    """Path to bytes of every file but bundle.json."""
    content = {path: canonical.encode(value) for path, value in (documents_ or documents()).items()}
    content["model/model.onnx"] = (model_ or model()).SerializeToString()
    return content


def manifest(content: dict[str, bytes], **changes: Any) -> dict[str, Any]:
    """bundle.json for these files, as plain JSON values."""
    tensor = {"dtype": "FP32", "shape": [-1, 2]}
    entries = [
        {
            "path": path,
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "role": ROLES.get(path, "external-data"),
        }
        for path, data in sorted(content.items())
    ]
    return {
        "format": "kedge.bundle/1",
        "name": "flights",
        "version": "1.0.0",
        "purpose": "tests",
        "inputs": [{"name": "x", **tensor}],
        "outputs": [{"name": "y", **tensor}],
        "batchable": True,
        "files": entries,
        **changes,
    }


def member(name: str, data: bytes, owner: str = "") -> bytes:
    """A ustar member as Kedge writes it."""
    return ustar.header(name, len(data), owner) + data + bytes(ustar.padding(len(data)))


def pack(content: dict[str, bytes], first: bytes | None = None, **changes: Any) -> bytes:
    """An archive of these files; `first` replaces bundle.json, `changes` its fields."""
    data = first if first is not None else canonical.encode(manifest(content, **changes))
    head = member("bundle.json", data, archive.owner(hashlib.sha256(data).hexdigest()))
    return head + b"".join(member(path, content[path]) for path in sorted(content)) + ustar.END


def lay_out(directory: Path, content: dict[str, bytes], **changes: Any) -> Path:
    """The same as a directory."""
    for path, data in {**content, "bundle.json": canonical.encode(manifest(content, **changes))}.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return directory
