"""numpy arrays to and from what `kedge._dataplane` takes: ONNX element type, shape, data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kedge.dtypes import BY_ONNX, DType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Packed = tuple[int, tuple[int, ...], bytes | list[bytes]]
"""ONNX element type, shape, and the elements: little-endian bytes, or for strings one `bytes` each."""


def pack(dtype: DType, array: NDArray[Any]) -> Packed:
    """An array as the extension takes it.

    Args:
        dtype: element type of the tensor; BYTES arrays hold `bytes` or `str`.
        array: any shape and stride.

    Raises:
        ValueError, TypeError: the elements cannot be of this type.
    """
    if not dtype.size:
        flat = [value.encode() if isinstance(value, str) else bytes(value) for value in array.ravel().tolist()]
        return dtype.onnx, array.shape, flat
    return dtype.onnx, array.shape, np.ascontiguousarray(array, dtype=dtype.numpy).tobytes()


def unpack(onnx: int, shape: Sequence[int], data: bytes | list[bytes]) -> NDArray[Any]:
    """The array of what the extension gives; BYTES as an object array of `bytes`."""
    if isinstance(data, bytes):
        return np.frombuffer(data, dtype=BY_ONNX[onnx].numpy).reshape(tuple(shape))
    array = np.empty(len(data), dtype=object)
    array[:] = data
    return array.reshape(tuple(shape))
