"""What can be known of an ONNX file without running it: well-formed, self-contained, and with the tensors it claims."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

import onnx
from google.protobuf.message import DecodeError

from kedge.bundle import limits
from kedge.dtypes import BY_ONNX
from kedge.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from kedge.bundle.manifest import TensorSpec

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTERNAL_KEYS: Final = frozenset({"location", "offset", "length", "checksum"})
"""Keys of the ONNX standard. Others (`basepath`, prepacked blobs) would lead a loader elsewhere."""

_BITS: Final[dict[int, int]] = {
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),
    **dict.fromkeys((4, 5, 10, 16), 16),
    **dict.fromkeys((1, 6, 12), 32),
    **dict.fromkeys((7, 11, 13, 14), 64),
    **dict.fromkeys((21, 22, 23), 4),
    **dict.fromkeys((25, 26), 2),
    **dict.fromkeys((27, 28), 6),
    15: 128,
}
"""Bits an element of each `TensorProto.DataType` takes when packed; strings cannot be external."""


def check_model(
    path: Path, name: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], external: Mapping[str, int]
) -> None:
    """Check the served model.

    Args:
        path: the ONNX file, its external data beside it.
        name: its path in the bundle, for messages.
        inputs: tensors it must take, in this order.
        outputs: tensors it must give, in this order.
        external: path in the bundle to size of every external data file; each must be used, and no other.

    Raises:
        BundleError: saying what is wrong.
    """
    model = check_graph(path, name, external)
    _compare("input", _declared(_inputs(model.graph), name), inputs, name, may_refine=False)
    _compare("output", _declared(model.graph.output, name), outputs, name, may_refine=True)


def check_graph(path: Path, name: str, external: Mapping[str, int] | None = None) -> Any:
    """Parse an ONNX file, check it with ONNX's own checker, and keep its external data inside the bundle.

    Returns:
        The ``ModelProto``, external data not loaded.

    Raises:
        BundleError: saying what is wrong.
    """
    files = external or {}
    model = parse(path, name)
    folder = name.rpartition("/")[0]
    used = {_check_external(tensor, folder, files, name) for tensor in tensors(model)} - {None}
    for unused in sorted(set(files) - used):
        raise BundleError(f"{unused}: no tensor of {name} reads this external data")
    try:
        onnx.checker.check_model(path)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        reason = str(error).replace(str(path), name).strip().partition("\n")[0]
        text = "".join(char if char.isprintable() else "?" for char in reason[:300])
        raise BundleError(f"{name}: {text}") from error
    return model


def parse(path: Path, name: str) -> Any:
    """The ``ModelProto`` of an ONNX file, external data not loaded, nothing checked.

    Raises:
        BundleError: it is too large, or not protobuf.
    """
    model = onnx.ModelProto()
    try:
        size = path.stat().st_size
        if size > limits.MODEL_BYTES:
            raise BundleError(f"{name}: {size} bytes, limit {limits.MODEL_BYTES} (move weights to external data)")
        model.ParseFromString(path.read_bytes())
    except OSError as error:
        raise BundleError(f"{name}: cannot be read: {error.strerror}") from error
    except (DecodeError, ValueError) as error:
        raise BundleError(f"{name}: not an ONNX model (protobuf does not parse)") from error
    return model


def _inputs(graph: Any) -> list[Any]:
    """Graph inputs a caller must give: those without a default in an initializer."""
    defaults = {tensor.name for tensor in graph.initializer} | {
        tensor.values.name for tensor in graph.sparse_initializer
    }
    return [value for value in graph.input if value.name not in defaults]


def _declared(values: Sequence[Any], name: str) -> list[tuple[str, str, tuple[int, ...]]]:
    result: list[tuple[str, str, tuple[int, ...]]] = []
    for value in values:
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            raise BundleError(
                f"{name}: {value.name!r} is a {kind or 'value without type'}, only dense tensors are served"
            )
        tensor = value.type.tensor_type
        dtype = BY_ONNX.get(tensor.elem_type)
        if dtype is None:
            raise BundleError(f"{name}: {value.name!r} has element type {tensor.elem_type}, which is not served")
        dims = (dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
        result.append((value.name, dtype.name, tuple(max(dim, -1) for dim in dims)))
    return result


def _compare(
    what: str,
    declared: Sequence[tuple[str, str, tuple[int, ...]]],
    specs: Sequence[TensorSpec],
    name: str,
    *,
    may_refine: bool,
) -> None:
    """Names, order, types and shapes; where `may_refine`, a spec may fix what the graph leaves open."""
    if [value[0] for value in declared] != [spec.name for spec in specs]:
        have, want = [value[0] for value in declared], [spec.name for spec in specs]
        raise BundleError(f"{name}: {what}s are {have[:8]}, bundle.json says {want[:8]}")
    for (_, dtype, shape), spec in zip(declared, specs, strict=True):
        if dtype != spec.dtype:
            raise BundleError(f"{name}: {what} '{spec.name}' is {dtype}, bundle.json says {spec.dtype}")
        same = len(shape) == len(spec.shape) and all(
            dim == stated or (may_refine and dim == -1) for dim, stated in zip(shape, spec.shape, strict=True)
        )
        if not same:
            raise BundleError(f"{name}: {what} '{spec.name}' is {list(shape)}, bundle.json says {list(spec.shape)}")


def tensors(model: Any) -> Iterator[Any]:
    """Every TensorProto a model holds, in graphs, subgraphs, functions and training graphs."""
    graphs = [model.graph]
    for training in model.training_info:
        graphs += [training.initialization, training.algorithm]
    nodes = [node for function in model.functions for node in function.node]
    attributes = [attribute for function in model.functions for attribute in function.attribute_proto]
    while graphs or nodes or attributes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes.extend(graph.node)
        if nodes:
            attributes.extend(nodes.pop().attribute)
        while attributes:
            attribute = attributes.pop()
            yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            graphs.append(attribute.g)
            graphs.extend(attribute.graphs)


def _check_external(tensor: Any, folder: str, files: Mapping[str, int], name: str) -> str | None:
    """The bundle path of the file a tensor's data stands in, or None where it stands in the model itself."""
    if tensor.data_location != onnx.TensorProto.EXTERNAL and not tensor.external_data:
        return None
    where = f"{name}: external data of tensor {tensor.name[:64]!r}"
    entries: dict[str, str] = {}
    for entry in tensor.external_data:
        if entry.key not in _EXTERNAL_KEYS or entry.key in entries:
            raise BundleError(f"{where}: key {entry.key[:64]!r} is unknown or repeated")
        entries[entry.key] = entry.value
    location = entries.get("location", "")
    path = f"{folder}/{location}"
    if not _PLAIN_NAME.fullmatch(location):
        raise BundleError(f"{where}: location {location[:64]!r} is not a plain file name")
    if path not in files:
        raise BundleError(f"{where}: '{path}' is not listed in bundle.json as external data")
    bits = _BITS.get(tensor.data_type)
    if bits is None or len(tensor.dims) > limits.RANK or any(dim < 0 for dim in tensor.dims):
        raise BundleError(f"{where}: element type {tensor.data_type} or shape cannot be external")
    due = (math.prod(tensor.dims) * bits + 7) // 8
    offset, length = (_count(entries.get(key), where) for key in ("offset", "length"))
    if length is not None and length != due:
        raise BundleError(f"{where}: length {length}, but its shape takes {due} bytes")
    if (offset or 0) + due > files[path]:
        raise BundleError(f"{where}: bytes {offset or 0} to {(offset or 0) + due} of '{path}', which has {files[path]}")
    return path


def _count(text: str | None, where: str) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise BundleError(f"{where}: offset or length {text[:32]!r} is not a number")
    return int(text)
