"""What clients return, and how numpy arrays become messages and back (raw form)."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kedge.dtypes import DTYPES
from kedge.errors import Code, RequestError
from kedge.proto import inference as pb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

COLUMNS: Final = "kedge.columns."
"""Before an input's name: the parameter of a model's configuration that names its columns."""
PREDICTION_IDS: Final = "kedge.prediction_id"
"""Name of the output that asks for the prediction id of every row."""
_BY_NUMPY: Final = {row.numpy: name for name, row in DTYPES.items() if name not in ("BF16", "BYTES")}


@dataclass(frozen=True)
class TensorMetadata:
    """One input or output; a dimension of -1 is dynamic, the first is the batch."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ModelMetadata:
    """What a model takes and gives, and which of its versions can be named in a request."""

    name: str
    versions: tuple[str, ...]
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


@dataclass(frozen=True)
class Result:
    """An answer.

    Attributes:
        outputs: arrays by name; BYTES as object arrays of ``bytes``, BF16 as ``uint16`` bit patterns.
        model_version: the version that answered.
        bundle: id of the bundle that answered, 64 hex digits; empty from other servers than Kedge.
        arm: the role it answered in, such as ``live``; empty from other servers.
        id: the request's id, returned.
        prediction_ids: one a row, to report its label with: of every request of one row, and of those that name
            `PREDICTION_IDS` among their outputs; empty otherwise, and from other servers.
    """

    outputs: dict[str, NDArray[Any]]
    model_version: str
    bundle: str
    arm: str
    id: str
    prediction_ids: tuple[str, ...] = ()


def request(
    model: str,
    inputs: Mapping[str, NDArray[Any]],
    *,
    version: str = "",
    outputs: tuple[str, ...] = (),
    request_id: str = "",
    key: str | None = None,
    dtypes: Mapping[str, str] | None = None,
) -> pb.ModelInferRequest:
    """A request in raw form. Arguments as in `Client.infer`. Raises `RequestError` for arrays of unknown dtype."""
    message = pb.ModelInferRequest(model_name=model, model_version=version, id=request_id)
    for name, array in inputs.items():
        dtype = (dtypes or {}).get(name) or _dtype_of(name, array)
        message.inputs.append(pb.ModelInferRequest.InferInputTensor(name=name, datatype=dtype, shape=array.shape))
        message.raw_input_contents.append(to_raw(array, dtype))
    for name in outputs:
        message.outputs.append(pb.ModelInferRequest.InferRequestedOutputTensor(name=name))
    if key is not None:
        message.parameters["kedge_key"].string_param = key
    return message


def columns(answer: pb.ModelConfigResponse) -> dict[str, tuple[str | None, ...]]:
    """Names of the columns of [N, F] inputs, by input. Raises `RequestError` where the answer is not of that form."""
    found: dict[str, tuple[str | None, ...]] = {}
    for key, parameter in answer.config.parameters.items():
        if not key.startswith(COLUMNS):
            continue
        try:
            names = json.loads(parameter.string_value)
        except ValueError:
            names = None
        if not isinstance(names, list) or not all(name is None or isinstance(name, str) for name in names):
            raise RequestError(Code.INTERNAL, f"the answer's parameter '{key}' is no list of names")
        found[key.removeprefix(COLUMNS)] = tuple(names)
    return found


def result(answer: pb.ModelInferResponse) -> Result:
    """The answer as arrays. Raises `RequestError` if it is not in raw form or contradicts itself."""
    if len(answer.raw_output_contents) != len(answer.outputs):
        raise RequestError(Code.INTERNAL, f"the answer has {len(answer.outputs)} outputs but not as many raw contents")
    outputs = {
        spec.name: from_raw(spec.name, raw, spec.datatype, tuple(spec.shape))
        for spec, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
    }
    said = {name: answer.parameters[name].string_param for name in answer.parameters}
    ids = outputs.pop(PREDICTION_IDS, None)
    known = (said.get("kedge_prediction_id", ""),) if ids is None else [text.decode() for text in ids.ravel().tolist()]
    return Result(
        outputs=outputs,
        model_version=answer.model_version,
        bundle=said.get("kedge_bundle", ""),
        arm=said.get("kedge_arm", ""),
        id=answer.id,
        prediction_ids=tuple(filter(None, known)),
    )


def metadata(answer: pb.ModelMetadataResponse) -> ModelMetadata:
    """Metadata as values."""
    inputs, outputs = (
        tuple(TensorMetadata(spec.name, spec.datatype, tuple(spec.shape)) for spec in specs)
        for specs in (answer.inputs, answer.outputs)
    )
    return ModelMetadata(answer.name, tuple(answer.versions), inputs, outputs)


def to_raw(array: NDArray[Any], dtype: str) -> bytes:
    """Row-major little-endian bytes of an array; BYTES elements (``bytes``, or ``str`` as UTF-8) carry their length."""
    if dtype == "BYTES":
        parts: list[bytes] = []
        for element in array.ravel().tolist():
            data = element.encode() if isinstance(element, str) else bytes(element)
            parts += (struct.pack("<I", len(data)), data)
        return b"".join(parts)
    return np.ascontiguousarray(array, dtype=DTYPES[dtype].numpy).tobytes()


def from_raw(name: str, raw: bytes, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """The array back. Raises `RequestError` if bytes, dtype and shape do not fit."""
    known = DTYPES.get(dtype)
    if known is None:
        raise RequestError(Code.INTERNAL, f"output '{name}' has unknown datatype '{dtype}'")
    count = math.prod(shape)
    if dtype != "BYTES":
        if len(raw) != count * known.size:
            raise RequestError(Code.INTERNAL, f"output '{name}' {list(shape)} of {dtype} came with {len(raw)} bytes")
        return np.frombuffer(raw, known.numpy).reshape(shape)
    array = np.empty(count, dtype=object)
    at = 0
    for i in range(count):
        end = at + 4 + int.from_bytes(raw[at : at + 4], "little")
        array[i], at = raw[at + 4 : end], end
    if at != len(raw):
        raise RequestError(Code.INTERNAL, f"output '{name}' {list(shape)} of BYTES came with {len(raw)} bytes")
    return array.reshape(shape)


def _dtype_of(name: str, array: NDArray[Any]) -> str:
    if array.dtype.kind in "OSU":
        return "BYTES"
    dtype = _BY_NUMPY.get(array.dtype.newbyteorder("<") if array.dtype.byteorder == ">" else array.dtype)
    if dtype is None:
        raise RequestError(
            Code.INVALID_ARGUMENT, f"input '{name}': numpy dtype {array.dtype} has no tensor type; cast it"
        )
    return dtype
