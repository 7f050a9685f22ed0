"""Golden tensors: numpy arrays by value in JSON, and whether an answer still agrees with them."""

from __future__ import annotations

import base64
import binascii
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from kedge.bundle import limits
from kedge.bundle.manifest import GoldenTensor
from kedge.dtypes import DTYPES
from kedge.errors import BundleError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def encode(name: str, dtype: str, array: NDArray[Any]) -> GoldenTensor:
    """An array as a golden tensor.

    Args:
        name: tensor name.
        dtype: Open Inference name; BF16 arrays are ``uint16`` bit patterns, BYTES arrays are ``object`` arrays of
            ``bytes`` (``str`` is stored as UTF-8).
        array: any shape.
    """
    if dtype == "BYTES":
        raw = b"".join(_element(value) for value in array.ravel().tolist())
    else:
        raw = np.ascontiguousarray(array, dtype=DTYPES[dtype].numpy).tobytes()
    return GoldenTensor(name=name, dtype=dtype, shape=array.shape, raw=base64.b64encode(raw).decode("ascii"))


def decode(tensor: GoldenTensor) -> NDArray[Any]:
    """The array of a golden tensor; BYTES as an ``object`` array of ``bytes``.

    Raises:
        BundleError: shape and data disagree, or the data is not base64.
    """
    where = f"golden tensor '{tensor.name}'"
    if any(dim < 0 for dim in tensor.shape) or (count := math.prod(tensor.shape)) > limits.GOLDEN_ELEMENTS:
        raise BundleError(f"{where}: shape {list(tensor.shape)} is negative or over {limits.GOLDEN_ELEMENTS} elements")
    try:
        raw = base64.b64decode(tensor.raw, validate=True)
    except binascii.Error as error:
        raise BundleError(f"{where}: not base64") from error
    dtype = DTYPES[tensor.dtype]
    if tensor.dtype == "BYTES":
        elements = _split(raw, count, where)
        array = np.empty(count, dtype=object)
        array[:] = elements
        return array.reshape(tensor.shape)
    if len(raw) != count * dtype.size:
        raise BundleError(f"{where}: {len(raw)} bytes for {count} elements of {tensor.dtype}")
    if tensor.dtype == "BOOL" and raw.translate(None, b"\0\1"):
        raise BundleError(f"{where}: a BOOL is neither 0 nor 1")
    return np.frombuffer(raw, dtype=dtype.numpy).reshape(tensor.shape)


def differs(expected: NDArray[Any], got: NDArray[Any], rtol: float, atol: float) -> str | None:
    """What is different, in one line, or None where the answer agrees.

    Floating arrays agree where |got - expected| <= atol + rtol * |expected|, NaN with NaN, infinity with its equal;
    all others must be equal. The caller turns BF16 bit patterns into floats first if a tolerance should apply.

    Args:
        expected: what was recorded.
        got: what came out now.
        rtol: relative tolerance, >= 0.
        atol: absolute tolerance, >= 0.
    """
    if expected.shape != got.shape:
        return f"shape {list(got.shape)}, expected {list(expected.shape)}"
    if expected.dtype != got.dtype:
        return f"dtype {got.dtype}, expected {expected.dtype}"
    if expected.dtype.kind == "f":
        same = np.isclose(got, expected, rtol=rtol, atol=atol, equal_nan=True)
    else:
        same = np.asarray(got == expected, dtype=np.bool_)
    if same.all():
        return None
    first = tuple(int(i) for i in np.argwhere(~same)[0])
    wrong = int(same.size - np.count_nonzero(same))
    return f"{wrong} of {same.size} values differ, first at {list(first)}: {got[first]!r}, expected {expected[first]!r}"


def _element(value: bytes | str) -> bytes:
    data = value.encode("utf-8") if isinstance(value, str) else bytes(value)
    return len(data).to_bytes(4, "little") + data


def _split(raw: bytes, count: int, where: str) -> list[bytes]:
    elements: list[bytes] = []
    at = 0
    while at < len(raw) and len(elements) < count:
        size = int.from_bytes(raw[at : at + 4], "little")
        if at + 4 > len(raw) or at + 4 + size > len(raw):
            break
        elements.append(raw[at + 4 : at + 4 + size])
        at += 4 + size
    if at != len(raw) or len(elements) != count:
        raise BundleError(f"{where}: the data does not hold exactly {count} length-prefixed elements")
    return elements
