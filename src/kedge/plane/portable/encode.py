"""Encode: a model's outputs to the bytes of a ModelInfer answer, in the form the request had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kedge.plane.portable import strings
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kedge.plane.contract import Arm, Handle
    from kedge.plane.portable.signature import Signature, Tensor


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
    asked: Sequence[str] | None,
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
    answer = pb.ModelInferResponse(id=request.id)
    raw = raw or any(tensor.dtype.contents is None for tensor in wanted)
    for tensor in wanted:
        array = outputs[tensor.position]
        described = answer.outputs.add(name=tensor.name, datatype=tensor.dtype.name, shape=array.shape)
        if raw:
            answer.raw_output_contents.append(_raw(tensor, array))
        else:
            _typed(tensor, array, described.contents)
    if request.parameters and request.parameters.get("triton_enable_empty_final_response") is not None:
        answer.parameters["triton_final_response"].bool_param = True
    return constant + answer.SerializeToString()


def _raw(tensor: Tensor, array: NDArray[Any]) -> bytes:
    if not tensor.dtype.size:
        return strings.to_raw(array)
    return np.asarray(array, dtype=tensor.dtype.numpy).tobytes()


def _typed(tensor: Tensor, array: NDArray[Any], contents: pb.InferTensorContents) -> None:
    values = array.ravel().tolist()
    assert tensor.dtype.contents is not None  # noqa: S101  such answers are raw
    field = getattr(contents, tensor.dtype.contents)
    field.extend(values if tensor.dtype.size else [value.encode() for value in values])
