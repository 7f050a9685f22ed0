"""Arrays to the extension and back."""

from __future__ import annotations

import numpy as np
import pytest

from kedge.dtypes import DTYPES
from kedge.plane.native.tensors import pack, unpack


@pytest.mark.parametrize("name", [name for name in DTYPES if name != "BYTES"])
def test_numbers_come_back_bit_by_bit(name: str) -> None:
    dtype = DTYPES[name]
    array = np.arange(12).reshape(3, 4).astype(dtype.numpy)[:, ::2]
    back = unpack(*pack(dtype, array))
    assert back.dtype == dtype.numpy
    assert back.tobytes() == np.ascontiguousarray(array).tobytes()
    assert back.shape == array.shape


def test_strings_come_back_as_bytes() -> None:
    array = np.array([[b"a\0b", b""], [b"\xff", "é"]], dtype=object)
    back = unpack(*pack(DTYPES["BYTES"], array))
    assert back.tolist() == [[b"a\0b", b""], [b"\xff", "é".encode()]]


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="could not convert"):
        pack(DTYPES["FP32"], np.array(["x"]))
