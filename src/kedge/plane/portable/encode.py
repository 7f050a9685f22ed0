"""Encode: a model's outputs to the bytes of a ModelInfer answer, in the form the request had."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kedge.plane.portable import strings
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kedge.plane.contract import Arm, Handle
    from kedge.plane.portable.signature import Tensor

_RAW_OUTPUT_CONTENTS: Final = b"\x32"
"""Tag of field 6, length-delimited: appending it by hand spares a copy of the data into a message."""
_PARAMETERS: Final = b"\x22"
_STRING_PARAM: Final = b"\x1a"
_MAP_KEY: Final = b"\x0a"
_MAP_VALUE: Final = b"\x12"
"""Tags of the same kind: of field 4 of an answer, field 3 of a parameter, fields 1 and 2 of every map's entry."""


def _final() -> bytes:
    answer = pb.ModelInferResponse()
    answer.parameters["triton_final_response"].bool_param = True
    return answer.SerializeToString()


_FINAL: Final = _final()


def constant_part(handle: Handle, arm: Arm) -> bytes:
    """What is equal in every answer of a bundle and arm, serialized once: name, version and response parameters."""
    answer = pb.ModelInferResponse(model_name=handle.model, model_version=handle.version)
    answer.parameters["kedge_bundle"].string_param = handle.bundle
    answer.parameters["kedge_arm"].string_param = arm.name.lower()
    return answer.SerializeToString()


def response(
    constant: bytes,
    request: pb.ModelInferRequest,
    tensors: Sequence[tuple[Tensor, NDArray[Any]]],
    *,
    raw: bool,
    prediction_id: str | None = None,
) -> bytes:
    """The serialized answer.

    Args:
        constant: `constant_part` of whoever answered. Messages concatenate: protobuf merges what follows into it.
        request: whose id is echoed.
        tensors: what it carries, in order.
        raw: the request came in raw form.
        prediction_id: of its one row, or None.
    """
    parts = [constant]
    if request.id:
        parts.append(pb.ModelInferResponse(id=request.id).SerializeToString())
    if raw or any(tensor.dtype.contents is None for tensor, _ in tensors):
        parts.append(_described(tuple([tensor for tensor, _ in tensors]), tuple([array.shape for _, array in tensors])))
        for tensor, array in tensors:
            data = _raw(tensor, array)
            parts += (_RAW_OUTPUT_CONTENTS, _varint(len(data)), data)
    else:
        answer = pb.ModelInferResponse()
        for tensor, array in tensors:
            described = answer.outputs.add(name=tensor.name, datatype=tensor.dtype.name, shape=array.shape)
            _typed(tensor, array, described.contents)
        parts.append(answer.SerializeToString())
    if prediction_id is not None:
        parts.append(_text_parameter(b"kedge_prediction_id", prediction_id.encode()))
    if request.parameters and "triton_enable_empty_final_response" in request.parameters:
        parts.append(_FINAL)
    return b"".join(parts)


@lru_cache(maxsize=1024)
def _described(tensors: tuple[Tensor, ...], shapes: tuple[tuple[int, ...], ...]) -> bytes:
    """The serialized descriptions of raw outputs; most answers of a model have one of few shapes."""
    answer = pb.ModelInferResponse()
    for tensor, shape in zip(tensors, shapes, strict=True):
        answer.outputs.add(name=tensor.name, datatype=tensor.dtype.name, shape=shape)
    return answer.SerializeToString()


def _text_parameter(name: bytes, text: bytes) -> bytes:
    """An entry of `parameters`, which protobuf adds to those there are."""
    value = _field(_STRING_PARAM, text)
    return _field(_PARAMETERS, _field(_MAP_KEY, name) + _field(_MAP_VALUE, value))


def _field(tag: bytes, data: bytes) -> bytes:
    return tag + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    """Protobuf's variable-length integer."""
    if value < 0x80:
        return bytes((value,))
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def _raw(tensor: Tensor, array: NDArray[Any]) -> bytes:
    if not tensor.dtype.size:
        return strings.to_raw(array)
    return np.asarray(array, dtype=tensor.dtype.numpy).tobytes()


def _typed(tensor: Tensor, array: NDArray[Any], contents: pb.InferTensorContents) -> None:
    values = array.ravel().tolist()
    assert tensor.dtype.contents is not None  # noqa: S101  such answers are raw
    field = getattr(contents, tensor.dtype.contents)
    field.extend(values if tensor.dtype.size else [value.encode() for value in values])
