"""BYTES elements: length-prefixed on the wire, text in ONNX Runtime's Python API."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kedge.errors import Code, RequestError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_LENGTH: Final = struct.Struct("<I")


def from_raw(data: bytes, count: int, where: str) -> NDArray[Any]:
    """A flat object array of `str` from `count` length-prefixed elements.

    Raises:
        RequestError: a length points past the end, the count differs, or an element is no UTF-8.
    """
    elements: list[bytes] = []
    at, end = 0, len(data)
    while at < end:
        if len(elements) == count:
            raise _refused(
                f"input element count mismatch {where}. Expected {count}, got more: {end - at} bytes are left"
            )
        if end - at < _LENGTH.size:
            raise _refused(f"BYTES data {where} ends inside the length of element {len(elements)}")
        (size,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if size > end - at:
            raise _refused(
                f"BYTES data {where}: element {len(elements)} claims {size} bytes. Expected at most {end - at}"
            )
        elements.append(data[at : at + size])
        at += size
    if len(elements) != count:
        raise _refused(f"input element count mismatch {where}. Expected {count}, got {len(elements)}")
    return from_elements(elements, where)


def from_elements(elements: Iterable[bytes], where: str) -> NDArray[Any]:
    """A flat object array of `str`.

    ONNX Runtime's Python API takes and gives text only, so bytes that are no UTF-8 are refused here; the native plane,
    which speaks its C interface, takes any.

    Raises:
        RequestError: an element is no UTF-8.
    """
    try:
        texts = [element.decode() for element in elements]
    except UnicodeDecodeError:
        raise _refused(
            f"BYTES data {where} is not UTF-8, which is all the portable plane can hand to ONNX Runtime; "
            "send UTF-8 or serve with the native plane"
        ) from None
    return text_array(texts)


def text_array(texts: list[str]) -> NDArray[Any]:
    """A flat object array of these."""
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array


def to_text(array: NDArray[Any]) -> NDArray[Any]:
    """An object array of `bytes` or `str` as one of `str`, of equal shape. Raises `UnicodeDecodeError`."""
    flat = [value.decode() if isinstance(value, bytes) else str(value) for value in array.ravel().tolist()]
    return text_array(flat).reshape(array.shape)


def to_bytes(array: NDArray[Any]) -> NDArray[Any]:
    """An object array of `str` as one of `bytes`, of equal shape."""
    result = np.empty(array.size, dtype=object)
    result[:] = [value.encode() for value in array.ravel().tolist()]
    return result.reshape(array.shape)


def to_raw(array: NDArray[Any]) -> bytes:
    """Raw form of an object array of `str`."""
    parts: list[bytes] = []
    for value in array.ravel().tolist():
        element = value.encode()
        parts += (_LENGTH.pack(len(element)), element)
    return b"".join(parts)


def _refused(text: str) -> RequestError:
    return RequestError(Code.INVALID_ARGUMENT, text)
