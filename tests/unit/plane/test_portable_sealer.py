"""Sealing by rows: the extension and Python seal equal bytes, and the extension starts nothing."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from kedge.plane import siphash
from kedge.plane.contract import Arm, TokenKey
from kedge.plane.portable import sealer
from kedge.plane.token import CLASS, NONE, VALUE, unseal

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = TokenKey(200, bytes(range(1, 17)))
BUNDLE, EPOCH, BOOT = b"\xff\x00bundle", (1 << 32) + 7, (1 << 64) - 2
random = np.random.default_rng(20261123)
probabilities = random.dirichlet(np.ones(11), size=40)
odd = np.array([[np.nan, -0.0, 1.5], [0.5, 1.0, -np.inf], [0.5 / 65535, 1.5 / 65535, np.inf]])

COLUMNS: dict[str, tuple[Any, ...]] = {
    "nothing": (3, None, None, None, None, None),
    "no rows": (0, None, None, None, None, None),
    "no rows of classes": (0, None, np.zeros(0, np.int64), np.zeros((0, 3), np.float32), None, None),
    "classes": (5, [7, 0, 65535, 1, 2], np.array([0, 65535, 65536, -1, 1 << 40]), None, None, None),
    "float32": (40, None, probabilities.argmax(axis=1), probabilities.astype(np.float32), None, None),
    "float64": (40, list(range(40)), probabilities.argmax(axis=1), probabilities, None, None),
    "float16": (40, None, probabilities.argmax(axis=1), probabilities.astype(np.float16), None, None),
    "two classes": (40, None, random.integers(0, 2, 40), probabilities[:, 3:5], None, None),
    "columns far apart": (20, None, probabilities.argmax(axis=1)[::2], probabilities[::2, ::-2], None, None),
    "one by one": (1, [513], np.array([1]), np.array([[0.25, 0.75]], np.float32), None, None),
    "not in [0, 1]": (3, None, np.array([0, 1, 2]), odd, None, None),
    "values": (9, None, None, random.normal(size=9).astype(np.float32), None, None),
    "values of integers": (3, None, None, np.array([1, -2, 3]), None, None),
    "intervals": (3, [1, 2, 3], None, odd[:, 0], odd[:, 1], odd[:, 2]),
}


@pytest.fixture
def native() -> Callable[[TokenKey, bytes, int, int], sealer.RowSealer]:
    if sealer.IN_USE != "native":
        pytest.skip("the compiled extension is not in this build")
    return sealer.row_sealer


@pytest.mark.parametrize("columns", COLUMNS.values(), ids=COLUMNS)
def test_the_extension_seals_the_bytes_that_python_seals(
    native: Callable[[TokenKey, bytes, int, int], sealer.RowSealer], columns: tuple[Any, ...]
) -> None:
    common = ((1 << 48) - 2, (1 << 32) - 1, Arm.CANARY, 0xFFFFF)
    texts = native(KEY, BUNDLE, EPOCH, BOOT).seal(*common, *columns)
    assert texts == sealer.PythonSealer(KEY, BUNDLE, EPOCH, BOOT).seal(*common, *columns)
    assert len(texts) == columns[0]


@pytest.mark.parametrize("make", [sealer.PythonSealer, sealer.row_sealer])
def test_what_is_sealed_can_be_read(make: Callable[[TokenKey, bytes, int, int], sealer.RowSealer]) -> None:
    one = make(KEY, BUNDLE, EPOCH, BOOT)
    texts = one.seal(
        40, 99, Arm.CONTROL, 5, 2, [3, 4], np.array([1, 9]), np.array([[0.5, 0.5], [1.0, 0.0]]), None, None
    )
    texts += one.seal(42, 99, Arm.LIVE, 0, 1, None, None, np.array([2.5]), np.array([2.0]), np.array([3.0]))
    texts += one.seal(43, 99, Arm.LIVE, 0, 1, None, None, None, None, None)
    found = unseal(texts, [KEY])
    assert found["kind"].tolist() == [CLASS, CLASS, VALUE, NONE]
    assert found["sequence"].tolist() == [40, 41, 42, 43]
    assert found["slice"].tolist() == [3, 4, 0, 0]
    assert found["label"].tolist() == [1, 9, 0, 0]
    assert found["arm"].tolist() == [Arm.CONTROL, Arm.CONTROL, Arm.LIVE, Arm.LIVE]
    assert found["epoch"].tolist() == [7] * 4
    assert found["boot"].tolist() == [BOOT] * 4
    assert (found["value"][2], found["lower"][2], found["upper"][2]) == (2.5, 2.0, 3.0)


@pytest.mark.parametrize("make", [sealer.PythonSealer, sealer.row_sealer])
@pytest.mark.parametrize(
    "columns",
    [
        (2, [1], np.array([0, 1]), None, None, None),
        (2, None, np.array([0]), None, None, None),
        (2, None, np.array([0, 1]), np.zeros((3, 2)), None, None),
        (2, None, None, np.zeros(3), None, None),
    ],
    ids=["slices", "classes", "probabilities", "values"],
)
def test_columns_of_other_lengths_are_refused(
    make: Callable[[TokenKey, bytes, int, int], sealer.RowSealer], columns: tuple[Any, ...]
) -> None:
    with pytest.raises(ValueError, match=r"rows|shorter|longer"):
        make(KEY, BUNDLE, EPOCH, BOOT).seal(0, 0, Arm.LIVE, 0, *columns)


def test_both_hash_alike() -> None:
    for length in range(40):
        message = random.bytes(length)
        assert sealer.siphash24(KEY.secret, message) == siphash.siphash24(KEY.secret, message)
    with pytest.raises(ValueError, match="16"):
        sealer.siphash24(b"short", b"")


@pytest.mark.skipif(sealer.IN_USE != "native", reason="the compiled extension is not in this build")
def test_the_extension_loads_no_runtime_and_starts_no_thread() -> None:
    program = (
        "import os, kedge._dataplane as it\n"
        "loaded = open('/proc/self/maps').read() if os.path.exists('/proc/self/maps') else ''\n"
        "tasks = os.listdir('/proc/self/task') if loaded else [0]\n"
        "print('libonnxruntime' in loaded, len(tasks), it.RowSealer.__name__)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert said.split() == ["False", "1", "RowSealer"]
