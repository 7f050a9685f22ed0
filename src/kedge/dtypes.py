"""Tensor types: one table of the names the wire, numpy and ONNX use for the same thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class DType:
    """One tensor element type.

    Attributes:
        name: Open Inference Protocol name, such as ``FP32``.
        numpy: numpy dtype of the elements; BYTES is ``object`` (each element ``bytes``), BF16 its bits as ``uint16``.
        size: bytes an element takes in raw form; 0 for BYTES, whose elements carry their own length.
        onnx: ``TensorProto.DataType`` number.
        contents: field of ``InferTensorContents`` that carries it, or None where only raw form exists.
    """

    name: str
    numpy: np.dtype[np.generic]
    size: int
    onnx: int
    contents: str | None


_ROWS: Final = (
    DType("BOOL", np.dtype(np.bool_), 1, 9, "bool_contents"),
    DType("UINT8", np.dtype(np.uint8), 1, 2, "uint_contents"),
    DType("UINT16", np.dtype("<u2"), 2, 4, "uint_contents"),
    DType("UINT32", np.dtype("<u4"), 4, 12, "uint_contents"),
    DType("UINT64", np.dtype("<u8"), 8, 13, "uint64_contents"),
    DType("INT8", np.dtype(np.int8), 1, 3, "int_contents"),
    DType("INT16", np.dtype("<i2"), 2, 5, "int_contents"),
    DType("INT32", np.dtype("<i4"), 4, 6, "int_contents"),
    DType("INT64", np.dtype("<i8"), 8, 7, "int64_contents"),
    DType("FP16", np.dtype("<f2"), 2, 10, None),
    DType("BF16", np.dtype("<u2"), 2, 16, None),
    DType("FP32", np.dtype("<f4"), 4, 1, "fp32_contents"),
    DType("FP64", np.dtype("<f8"), 8, 11, "fp64_contents"),
    DType("BYTES", np.dtype(object), 0, 8, "bytes_contents"),
)

DTYPES: Final[dict[str, DType]] = {row.name: row for row in _ROWS}
BY_ONNX: Final[dict[int, DType]] = {row.onnx: row for row in _ROWS}


def widened(bits: NDArray[Any]) -> NDArray[np.float32]:
    """BF16 bit patterns as float32, of the same shape."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
