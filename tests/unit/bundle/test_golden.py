"""Golden tensors survive JSON exactly, and say what differs."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from kedge.bundle import golden
from kedge.bundle.manifest import GoldenTensor
from kedge.dtypes import DTYPES
from kedge.errors import BundleError


@pytest.mark.parametrize("dtype", [name for name in DTYPES if name != "BYTES"])
def test_every_dtype_comes_back_bit_for_bit(dtype: str) -> None:
    rng = np.random.default_rng(3)
    raw = rng.integers(0, 2 if dtype == "BOOL" else 256, 6 * DTYPES[dtype].size, np.uint8)
    array = raw.view(DTYPES[dtype].numpy).reshape(3, 2)
    for given in (array, np.asfortranarray(array)):
        back = golden.decode(golden.encode("t", dtype, given))
        assert back.dtype == array.dtype
        assert back.shape == (3, 2)
        assert back.tobytes() == array.tobytes()


def test_bytes_may_be_empty_hold_nul_and_be_no_utf8() -> None:
    array = np.array([[b"", b"a\0b\0"], [b"\xff", "é"]], dtype=object)
    back = golden.decode(golden.encode("t", "BYTES", array))
    assert back.tolist() == [[b"", b"a\0b\0"], [b"\xff", "é".encode()]]


def test_zero_rows_are_legal() -> None:
    assert golden.decode(golden.encode("t", "FP32", np.empty((0, 4), np.float32))).shape == (0, 4)
    assert golden.decode(golden.encode("t", "BYTES", np.empty((0,), object))).shape == (0,)


@pytest.mark.parametrize(
    ("dtype", "shape", "raw"),
    [
        ("FP32", (2,), b"1234"),
        ("FP32", (-1,), b""),
        ("FP32", (2**40, 2**40), b""),
        ("BOOL", (1,), b"\2"),
        ("BYTES", (1,), b"\5\0\0\0abc"),
        ("BYTES", (1,), b"\0\0"),
        ("BYTES", (2,), b"\0\0\0\0"),
        ("BYTES", (1,), b"\0\0\0\0\0"),
        ("BYTES", (0,), b"\0\0\0\0"),
    ],
)
def test_shape_and_data_must_agree(dtype: str, shape: tuple[int, ...], raw: bytes) -> None:
    tensor = GoldenTensor(name="t", dtype=dtype, shape=shape, raw=base64.b64encode(raw).decode())
    with pytest.raises(BundleError, match="golden tensor 't'"):
        golden.decode(tensor)
    with pytest.raises(BundleError, match="not base64"):
        golden.decode(tensor.model_copy(update={"raw": "!", "shape": (1,)}))


def test_floats_agree_within_tolerance_and_everything_else_exactly() -> None:
    expected = np.array([1.0, np.nan, np.inf, 0.0])
    assert golden.differs(expected, expected + np.array([0.009, 0, 0, 0.0009]), 0.01, 0.001) is None
    assert "first at [3]" in (golden.differs(expected, np.array([1.0, np.nan, np.inf, 0.002]), 0.01, 0.001) or "")
    assert "1 of 4" in (golden.differs(expected, np.array([1.0, np.nan, -np.inf, 0.0]), 0.01, 0.001) or "")
    assert "1 of 4" in (golden.differs(expected, np.array([1.0, 0.0, np.inf, 0.0]), 0.01, 0.001) or "")
    labels = np.array([100, 200], np.int64)
    assert golden.differs(labels, labels.copy(), 0.5, 0.5) is None
    assert "201, expected" in (golden.differs(labels, np.array([100, 201]), 0.5, 0.5) or "").replace(
        "np.int64(201)", "201"
    )
    text = np.array([b"a", b"b"], dtype=object)
    assert golden.differs(text, text.copy(), 0, 0) is None
    assert "b'c'" in (golden.differs(text, np.array([b"a", b"c"], dtype=object), 0, 0) or "")


def test_shape_and_dtype_are_compared_first() -> None:
    one = np.zeros((2, 1), np.float32)
    assert golden.differs(one, np.zeros(2, np.float32), 1, 1) == "shape [2], expected [2, 1]"
    assert golden.differs(one, one.astype(np.float64), 1, 1) == "dtype float64, expected float32"
