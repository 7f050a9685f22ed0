"""Encode: a model's outputs to the bytes of a ModelInfer answer, in the form the request had."""

from __future__ import annotations

import math
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

RAW_INPUT_CONTENTS: Final = b"\x3a"
"""Tag of field 7 of a request, length-delimited."""
_RAW_OUTPUT_CONTENTS: Final = b"\x32"
"""Tag of field 6, length-delimited: appending it by hand spares a copy of the data into a message."""
_INFER_RESPONSE: Final = b"\x12"
"""The same of field 2 of a stream's reply."""
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
    request_id: str,
    tensors: Sequence[tuple[Tensor, NDArray[Any]]],
    *,
    raw: bool,
    final: bool = False,
    prediction_id: str | None = None,
) -> bytes:
    """The serialized answer.

    Args:
        constant: `constant_part` of whoever answered. Messages concatenate: protobuf merges what follows into it.
        request_id: is echoed.
        tensors: what it carries, in order.
        raw: the request came in raw form.
        final: mark it as the last answer of its request.
        prediction_id: of its one row, or None.
    """
    parts = [constant]
    if request_id:
        parts.append(pb.ModelInferResponse(id=request_id).SerializeToString())
    if raw or any(tensor.dtype.contents is None for tensor, _ in tensors):
        _add_raw(parts, tensors)
    else:
        answer = pb.ModelInferResponse()
        for tensor, array in tensors:
            described = answer.outputs.add(name=tensor.name, datatype=tensor.dtype.name, shape=array.shape)
            _typed(tensor, array, described.contents)
        parts.append(answer.SerializeToString())
    if prediction_id is not None:
        parts += (_prediction_id_head(len(prediction_id)), prediction_id.encode())
    if final:
        parts.append(_FINAL)
    return b"".join(parts)


def in_stream(answer: bytes) -> bytes:
    """The serialized reply of a stream that carries this answer."""
    return _field(_INFER_RESPONSE, answer)


def _add_raw(parts: list[bytes], tensors: Sequence[tuple[Tensor, NDArray[Any]]]) -> None:
    heads = _heads(tuple([(tensor, array.shape) for tensor, array in tensors]))
    for head, (tensor, array) in zip(heads, tensors, strict=True):
        if tensor.dtype.size:
            parts += (head, np.asarray(array, dtype=tensor.dtype.numpy).tobytes())
        else:
            data = strings.to_raw(array)
            parts += (head, varint(len(data)), data)


@lru_cache(maxsize=1024)
def _heads(tensors: tuple[tuple[Tensor, tuple[int, ...]], ...]) -> tuple[bytes, ...]:
    """What precedes the raw data of each of these outputs: descriptions of all before the first, tag and length.

    Most answers of a model have one of few shapes. A BYTES tensor's length is not known from its shape.
    """
    answer = pb.ModelInferResponse()
    heads: list[bytes] = []
    for tensor, shape in tensors:
        answer.outputs.add(name=tensor.name, datatype=tensor.dtype.name, shape=shape)
        size = varint(math.prod(shape) * tensor.dtype.size) if tensor.dtype.size else b""
        heads.append(_RAW_OUTPUT_CONTENTS + size)
    return (answer.SerializeToString() + heads[0], *heads[1:]) if heads else ()


@lru_cache(maxsize=128)
def _prediction_id_head(length: int) -> bytes:
    """What precedes a prediction id of so many characters, as an entry of `parameters`, which ends with it."""
    return _text_parameter(b"kedge_prediction_id", bytes(length))[:-length]


def _text_parameter(name: bytes, text: bytes) -> bytes:
    """An entry of `parameters`, which protobuf adds to those there are."""
    value = _field(_STRING_PARAM, text)
    return _field(_PARAMETERS, _field(_MAP_KEY, name) + _field(_MAP_VALUE, value))


def _field(tag: bytes, data: bytes) -> bytes:
    return tag + varint(len(data)) + data


def varint(value: int) -> bytes:
    """Protobuf's variable-length integer."""
    if value < 0x80:
        return bytes((value,))
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def _typed(tensor: Tensor, array: NDArray[Any], contents: pb.InferTensorContents) -> None:
    values = array.ravel().tolist()
    assert tensor.dtype.contents is not None  # noqa: S101  such answers are raw
    field = getattr(contents, tensor.dtype.contents)
    field.extend(values if tensor.dtype.size else [value.encode() for value in values])
