"""ONNX files as the builder meets them: parsed, and their tensors as the manifest will list them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import onnx
from google.protobuf.message import DecodeError

from kedge.bundle import limits
from kedge.bundle.manifest import TensorSpec
from kedge.dtypes import BY_ONNX
from kedge.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ZIPMAP_REMEDY: Final = "export it as a tensor: skl2onnx and onnxmltools do with options={id(model): {'zipmap': False}}"


def parse(path: Path, uri: str) -> Any:
    """The ``ModelProto`` of an ONNX file, external data not loaded.

    Raises:
        SpecError: it cannot be read, is too large for one file, or is not ONNX.
    """
    model = onnx.ModelProto()
    try:
        size = path.stat().st_size
        if size > limits.MODEL_BYTES:
            raise SpecError(
                f"model '{uri}': {size} bytes, over protobuf's 2 GB; save it with its weights as external data: "
                "onnx.save_model(model, path, save_as_external_data=True)"
            )
        model.ParseFromString(path.read_bytes())
    except OSError as error:
        raise SpecError(f"cannot read model '{uri}': {error.strerror}") from error
    except (DecodeError, ValueError) as error:
        raise SpecError(f"model '{uri}' is not an ONNX file (protobuf does not parse)") from error
    if not model.graph.node or not model.graph.output:
        raise SpecError(f"model '{uri}' is not an ONNX file, or an empty one: its graph has no nodes or no outputs")
    return model


def inputs(model: Any, uri: str) -> tuple[TensorSpec, ...]:
    """What a caller must give: graph inputs without a default in an initializer. Raises `SpecError`."""
    defaults = {tensor.name for tensor in model.graph.initializer}
    return _specs([value for value in model.graph.input if value.name not in defaults], "input", uri)


def outputs(model: Any, uri: str) -> tuple[TensorSpec, ...]:
    """What the model answers. Raises `SpecError`."""
    return _specs(model.graph.output, "output", uri)


def describe(spec: TensorSpec) -> str:
    """A tensor as errors show it: ``'x' FP32 [N, 4]``, with ? for a dimension that is not fixed."""
    dims = ["N" if i == 0 and dim < 0 else "?" if dim < 0 else str(dim) for i, dim in enumerate(spec.shape)]
    return f"'{spec.name}' {spec.dtype} [{', '.join(dims)}]"


def _specs(values: Sequence[Any], what: str, uri: str) -> tuple[TensorSpec, ...]:
    if not values:
        raise SpecError(f"model '{uri}' has no {what}s")
    return tuple(_spec(value, what, uri) for value in values)


def _spec(value: Any, what: str, uri: str) -> TensorSpec:
    kind = value.type.WhichOneof("value")
    if kind in ("sequence_type", "map_type"):
        said = "sequence" if kind == "sequence_type" else "map"
        raise SpecError(f"model '{uri}': {what} '{value.name}' is a {said}, which no server can batch; {ZIPMAP_REMEDY}")
    if kind != "tensor_type":
        raise SpecError(f"model '{uri}': {what} '{value.name}' is no dense tensor ({kind or 'no type'})")
    tensor = value.type.tensor_type
    dtype = BY_ONNX.get(tensor.elem_type)
    if dtype is None:
        raise SpecError(
            f"model '{uri}': {what} '{value.name}' has element type {tensor.elem_type}, which is not served"
        )
    if not tensor.HasField("shape"):
        if what == "input":
            raise SpecError(
                f"model '{uri}': input '{value.name}' has no shape; export the model with one, such as [N, 4]"
            )
        return TensorSpec(name=value.name, dtype=dtype.name, shape=())
    shape = tuple(max(dim.dim_value, 0) if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
    return TensorSpec(name=value.name, dtype=dtype.name, shape=shape)
