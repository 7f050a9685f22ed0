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
    from kedge.plane.portable.signature import Signature, Tensor

_RAW_OUTPUT_CONTENTS: Final = b"\x32"
"""Tag of field 6, length-delimited: appending it by hand spares a copy of the data into a message."""


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
    signature: Signature,
    asked: tuple[str, ...] | None,
    outputs: Sequence[NDArray[Any]],
    *,
    raw: bool,
) -> bytes:
    """The serialized answer.

    Args:
        constant: `constant_part` of whoever answered. Messages concatenate: protobuf merges what follows into it.
        request: whose id is echoed.
        signature: of the model.
        asked: names of the outputs wanted, in order; None for all.
        outputs: all of the model's, in its order.
        raw: the request came in raw form.
    """
    wanted = list(signature.outputs.values()) if asked is None else [signature.outputs[name] for name in asked]
    parts = [constant]
    if request.id:
        parts.append(pb.ModelInferResponse(id=request.id).SerializeToString())
    if raw or any(tensor.dtype.contents is None for tensor in wanted):
        parts.append(_described(signature, asked, tuple([outputs[tensor.position].shape for tensor in wanted])))
        for tensor in wanted:
            data = _raw(tensor, outputs[tensor.position])
            parts += (_RAW_OUTPUT_CONTENTS, _varint(len(data)), data)
    else:
        answer = pb.ModelInferResponse()
        for tensor in wanted:
            array = outputs[tensor.position]
            described = answer.outputs.add(name=tensor.name, datatype=tensor.dtype.name, shape=array.shape)
            _typed(tensor, array, described.contents)
        parts.append(answer.SerializeToString())
    if request.parameters and "triton_enable_empty_final_response" in request.parameters:
        parts.append(_FINAL)
    return b"".join(parts)


@lru_cache(maxsize=1024)
def _described(signature: Signature, asked: tuple[str, ...] | None, shapes: tuple[tuple[int, ...], ...]) -> bytes:
    """The serialized descriptions of raw outputs; most answers of a model have one of few shapes."""
    answer = pb.ModelInferResponse()
    names = signature.outputs if asked is None else asked
    for name, shape in zip(names, shapes, strict=True):
        answer.outputs.add(name=name, datatype=signature.outputs[name].dtype.name, shape=shape)
    return answer.SerializeToString()


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
