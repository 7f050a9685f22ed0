"""Small bundles around given ONNX models, in directories as the store keeps them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from kedge.bundle import canonical, golden
from kedge.bundle.manifest import (
    FORMAT,
    Distributions,
    FileEntry,
    Gates,
    Golden,
    Manifest,
    Metrics,
    Model,
    Role,
    Schema,
    Serving,
    Snapshots,
    TensorSpec,
)
from kedge.bundle.provenance import BuildDefinition, Builder, Provenance, RunDetails
from kedge.dtypes import BY_ONNX

if TYPE_CHECKING:
    from pathlib import Path

    import onnx
    from numpy.typing import NDArray

PROVENANCE = Provenance(
    build_definition=BuildDefinition(build_type="urn:kedge:test"),
    run_details=RunDetails(builder=Builder(id="urn:kedge:test")),
)


@dataclass(frozen=True)
class Recipe:
    """What a bundle is made of; what is not said is empty."""

    model: onnx.ModelProto
    name: str
    version: str = "1"
    batchable: bool = True
    serving: Serving = field(default_factory=Serving)
    schema: Schema = field(default_factory=lambda: Schema(features=()))
    distributions: Distributions | None = None
    golden: Golden | None = None


def write(recipe: Recipe, root: Path) -> Path:
    """Write the bundle's directory under `root`; returns it."""
    directory = root / f"{recipe.name}-{recipe.version}"
    parts: dict[str, tuple[Role, bytes]] = {"model/model.onnx": ("model", recipe.model.SerializeToString())}

    def add(path: str, role: Role, value: Model | None) -> None:
        if value is not None:
            parts[path] = (role, canonical.encode(value.model_dump(mode="json")))

    add("features/schema.json", "schema", recipe.schema)
    add("data/snapshots.json", "snapshots", Snapshots(snapshots=()))
    add("reference/distributions.json", "distributions", recipe.distributions)
    add("config/serving.json", "serving", recipe.serving)
    add("eval/metrics.json", "metrics", Metrics(task="none", metrics=()))
    add("eval/gates.json", "gates", Gates(gates=()))
    add("lineage/provenance.json", "provenance", PROVENANCE)
    add("golden/golden.json", "golden", recipe.golden)
    manifest = Manifest(
        format=FORMAT,
        name=recipe.name,
        version=recipe.version,
        inputs=specs(recipe.model.graph.input),
        outputs=specs(recipe.model.graph.output),
        batchable=recipe.batchable,
        files=tuple(
            FileEntry(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest(), role=role)
            for path, (role, data) in sorted(parts.items())
        ),
    )
    for path, (_, data) in parts.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)
    (directory / "bundle.json").write_bytes(canonical.encode(manifest.model_dump(mode="json")))
    return directory


def specs(values: Any) -> tuple[TensorSpec, ...]:
    """Tensor specs of a graph's inputs or outputs; a named dimension is dynamic."""
    return tuple(
        TensorSpec(
            name=value.name,
            dtype=BY_ONNX[value.type.tensor_type.elem_type].name,
            shape=tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in value.type.tensor_type.shape.dim),
        )
        for value in values
    )


def golden_rows(inputs: dict[str, tuple[str, NDArray[Any]]], outputs: dict[str, tuple[str, NDArray[Any]]]) -> Golden:
    """Golden rows from arrays by tensor name, each with its element type."""
    return Golden(
        inputs=tuple(golden.encode(name, dtype, array) for name, (dtype, array) in inputs.items()),
        outputs=tuple(golden.encode(name, dtype, array) for name, (dtype, array) in outputs.items()),
        rtol=1e-5,
        atol=1e-6,
    )


def bits_of(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """float32 values, cut to BF16, as bit patterns."""
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
