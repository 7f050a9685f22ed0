"""Decode: bytes of a ModelInfer message to arrays that fit the model. Every refusal says what was expected and got."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from google.protobuf.message import DecodeError

from kedge.errors import Code, RequestError
from kedge.plane import limits
from kedge.plane.portable import strings
from kedge.plane.portable.seal import PREDICTION_ID
from kedge.plane.text import quoted
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from kedge.dtypes import DType
    from kedge.plane.portable.signature import Signature, Tensor

_RANGE: Final = {
    "INT8": (-(1 << 7), (1 << 7) - 1),
    "INT16": (-(1 << 15), (1 << 15) - 1),
    "UINT8": (0, (1 << 8) - 1),
    "UINT16": (0, (1 << 16) - 1),
}
"""Element types narrower than the field that carries them, and what fits."""


class SchemaError(RequestError):
    """A tensor does not fit the model.

    Attributes:
        kind: "missing", "mistyped", "misshaped" or "unknown", as the kernel counts it.
        name: of the tensor.
    """

    def __init__(self, kind: str, name: str, message: str) -> None:
        super().__init__(Code.INVALID_ARGUMENT, message)
        self.kind = kind
        self.name = name


@dataclass(slots=True)
class Tensors:
    """A request's inputs.

    Attributes:
        arrays: one an input, in the model's order; BYTES as object arrays of `str`, BF16 as uint16 bit patterns.
        rows: first extent they share; 1 for a model whose inputs have no batch dimension.
        shape: what requests must share to run together: the extents after the first, of every input.
        raw: the data came in raw form, so the answer is to be raw.
        outputs: names of the outputs asked for, in the order asked; None for all.
    """

    arrays: list[NDArray[Any]]
    rows: int
    shape: tuple[tuple[int, ...], ...]
    raw: bool
    outputs: tuple[str, ...] | None

    def reordered(self, arrays: list[NDArray[Any]]) -> Tensors:
        """These of its arrays, in this order, for another model."""
        return replace(self, arrays=arrays, shape=tuple([array.shape[1:] for array in arrays]))


def message(payload: bytes) -> pb.ModelInferRequest:
    """The parsed message. Raises `RequestError` where the bytes are none."""
    try:
        return pb.ModelInferRequest.FromString(payload)
    except DecodeError:
        raise RequestError(Code.INVALID_ARGUMENT, "these bytes are not an inference.ModelInferRequest") from None


def tensors(request: pb.ModelInferRequest, signature: Signature, *, no_ids: str) -> Tensors:
    """The inputs, checked against the model.

    Args:
        request: what was asked.
        signature: of the model.
        no_ids: why prediction ids may not be asked for; empty where they may.

    Raises:
        RequestError: INVALID_ARGUMENT, saying what of the request is wrong.
    """
    inputs, raws = request.inputs, request.raw_input_contents
    of_model = signature.of_model
    if len(inputs) > limits.MAX_TENSORS:
        raise _refused(f"{len(inputs)} inputs {of_model}; at most {limits.MAX_TENSORS} are taken")
    raw = len(raws) > 0
    if raw and len(raws) != len(inputs):
        raise _refused(
            f"raw_input_contents {of_model}: expected one entry for each of {len(inputs)} inputs, got {len(raws)}"
        )
    arrays: list[NDArray[Any] | None] = [None] * len(signature.inputs)
    for index, given in enumerate(inputs):
        tensor = signature.inputs.get(given.name)
        if tensor is None:
            known = ", ".join(quoted(name) for name in list(signature.inputs)[:8])
            raise SchemaError("unknown", given.name, f"unknown input {quoted(given.name)} {of_model}. Expected {known}")
        where = tensor.where
        if arrays[tensor.position] is not None:
            raise _refused(f"duplicate tensor {where}")
        if given.datatype != tensor.dtype.name:
            raise SchemaError(
                "mistyped",
                given.name,
                f"datatype mismatch {where}. Expected {tensor.dtype.name}, got {quoted(given.datatype)}",
            )
        if given.parameters:
            _check_parameters(given.parameters, where)
        shape = tuple(given.shape)
        count = _elements(shape, tensor, where)
        if raw:
            if given.HasField("contents"):
                raise _refused(f"mixed contents {where}. Expected raw_input_contents alone, got typed contents too")
            data = _from_raw(raws[index], count, tensor.dtype, where)
        else:
            data = _from_contents(given.contents, count, tensor.dtype, where)
        arrays[tensor.position] = data.reshape(shape)
    complete = _complete(arrays, signature, of_model)
    rows = _rows(complete, signature, of_model)
    return Tensors(
        complete,
        rows,
        tuple([array.shape[1:] for array in complete]),
        raw,
        _outputs(request, signature, no_ids) if request.outputs else None,
    )


def _refused(text: str) -> RequestError:
    return RequestError(Code.INVALID_ARGUMENT, text)


def _check_parameters(parameters: Any, where: str) -> None:
    if len(parameters) > limits.MAX_PARAMETERS:
        raise _refused(f"{len(parameters)} parameters {where}; at most {limits.MAX_PARAMETERS} are taken")
    for name in parameters:
        if name.startswith("shared_memory_"):
            raise _refused(f"shared memory {where} is not supported; send the data in the message")
        if name == "classification":
            raise _refused(f"parameter 'classification' {where} is not supported; take the scores")


def _elements(shape: tuple[int, ...], tensor: Tensor, where: str) -> int:
    """Elements of a shape that fits the tensor."""
    expected = tensor.shape
    fits = len(shape) == len(expected)
    if fits:
        for want, got in zip(expected, shape, strict=True):
            if (want != got and want != -1) or got < 0:  # noqa: PLR1714  it is read for every request
                fits = False
    if not fits:
        # MAX_DIMENSIONS holds by this comparison: no bundle states more
        shown = f"{list(shape[: limits.MAX_DIMENSIONS])}" + ("..." if len(shape) > limits.MAX_DIMENSIONS else "")
        raise SchemaError("misshaped", tensor.name, f"shape mismatch {where}. Expected {list(expected)}, got {shown}")
    count = math.prod(shape)
    if count > limits.MAX_ELEMENTS:
        raise SchemaError("misshaped", tensor.name, f"shape {list(shape)} {where}: over {limits.MAX_ELEMENTS} elements")
    return count


def _from_raw(data: bytes, count: int, dtype: DType, where: str) -> NDArray[Any]:
    """A flat array of raw data."""
    if not dtype.size:
        return strings.from_raw(data, count, where)
    if len(data) != count * dtype.size:
        raise _refused(f"input byte size mismatch {where}. Expected {count * dtype.size}, got {len(data)}")
    if dtype.name == "BOOL" and data.translate(None, b"\0\1"):
        raise _refused(f"value mismatch {where}. Expected BOOL bytes of 0 or 1, got another")
    return np.frombuffer(data, dtype=dtype.numpy)


def _from_contents(contents: pb.InferTensorContents, count: int, dtype: DType, where: str) -> NDArray[Any]:
    """A flat array of typed data."""
    if dtype.contents is None:
        raise _refused(f"{dtype.name} has no typed form {where}. Expected raw_input_contents")
    for field, _ in contents.ListFields():
        if field.name != dtype.contents:
            raise _refused(f"contents mismatch {where}. Expected {dtype.contents}, got {field.name}")
    values = getattr(contents, dtype.contents)
    if len(values) != count:
        raise _refused(f"input element count mismatch {where}. Expected {count}, got {len(values)}")
    if not dtype.size:
        return strings.from_elements(values, where)
    if dtype.name not in _RANGE:
        return np.fromiter(values, dtype=dtype.numpy, count=count)
    wide = np.fromiter(values, dtype=np.int64, count=count)
    low, high = _RANGE[dtype.name]
    if count and (wide.min() < low or wide.max() > high):
        raise _refused(f"value out of range {where}. Expected {dtype.name} in [{low}, {high}]")
    return wide.astype(dtype.numpy)


def _complete(arrays: list[NDArray[Any] | None], signature: Signature, of_model: str) -> list[NDArray[Any]]:
    present = [array for array in arrays if array is not None]
    if len(present) != len(arrays):
        name = next(name for name, array in zip(signature.inputs, arrays, strict=True) if array is None)
        raise SchemaError(
            "missing",
            name,
            f"missing input {quoted(name)} {of_model}. Expected {len(arrays)} inputs, got {len(present)}",
        )
    return present


def _rows(arrays: list[NDArray[Any]], signature: Signature, of_model: str) -> int:
    first = arrays[0]
    rows = first.shape[0] if first.ndim else 1
    if signature.batchable:
        for name, array in zip(signature.inputs, arrays, strict=True):
            if array.shape[0] != rows:
                raise SchemaError(
                    "misshaped",
                    name,
                    f"batch size mismatch for input {quoted(name)} {of_model}. Expected {rows}, got {array.shape[0]}",
                )
    if rows > limits.MAX_ROWS:
        raise _refused(f"{rows} rows {of_model}; at most {limits.MAX_ROWS} are taken in one request")
    return rows


def _outputs(request: pb.ModelInferRequest, signature: Signature, no_ids: str) -> tuple[str, ...]:
    of_model = signature.of_model
    if len(request.outputs) > limits.MAX_TENSORS:
        raise _refused(f"{len(request.outputs)} outputs {of_model}; at most {limits.MAX_TENSORS} are taken")
    names: dict[str, None] = {}
    for asked in request.outputs:
        where = f"output {quoted(asked.name)} {of_model}"
        if asked.name == PREDICTION_ID.name:
            if no_ids:
                raise _refused(f"output '{asked.name}' is not available {of_model}: {no_ids}")
        elif asked.name not in signature.outputs:
            known = ", ".join(quoted(name) for name in list(signature.outputs)[:8])
            raise _refused(f"unknown {where}. Expected {known}")
        if asked.name in names:
            raise _refused(f"duplicate {where}")
        if asked.parameters:
            _check_parameters(asked.parameters, f"for {where}")
        names[asked.name] = None
    return tuple(names)


def small(parse: Callable[[bytes], Any], payload: bytes) -> Any:
    """A parsed message of another method. Raises `RequestError` where the bytes are none."""
    try:
        return parse(payload)
    except DecodeError:
        raise RequestError(Code.INVALID_ARGUMENT, "these bytes are not the message this method takes") from None
