"""Loads on the native plane: what is refused never reaches the server's own process."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper as h

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from typing import TYPE_CHECKING

from kedge_testing import bundles, models

from kedge.errors import KernelError, ModelLoadError, PlaneError
from kedge.kernel.select import available, select
from kedge.plane.contract import LoadOptions
from kedge.plane.native import NativePlane
from kedge.plane.native.runtime import find_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif("native" not in available(), reason="the native plane needs the native kernel")


@pytest.fixture(scope="module")
def plane() -> Iterator[NativePlane]:
    made = NativePlane(select("native"), shards=1)
    yield made
    made.stop()


def devourer() -> onnx.ModelProto:
    """y has as many elements as x says."""
    return h.make_model(
        h.make_graph(
            [h.make_node("ConstantOfShape", ["x"], ["y"])],
            "devourer",
            [h.make_tensor_value_info("x", T.INT64, [1])],
            [h.make_tensor_value_info("y", T.FLOAT, ["n"])],
        ),
        opset_imports=[h.make_opsetid("", 17)],
        ir_version=9,
    )


def test_golden_rows_that_differ_are_refused_with_what_differs(plane: NativePlane, tmp_path: Path) -> None:
    one = np.ones((1, 1), np.float32)
    wrong = bundles.golden_rows({"x": ("FP32", one)}, {"y": ("FP32", one)})
    directory = bundles.write(bundles.Recipe(models.plus(1), "plus", golden=wrong), tmp_path)
    with pytest.raises(ModelLoadError, match="does not give its golden output 'y'"):
        plane.load(directory, LoadOptions())


def test_a_model_that_allocates_without_end_is_refused(plane: NativePlane, tmp_path: Path) -> None:
    hungry = bundles.golden_rows({"x": ("INT64", np.array([1 << 40]))}, {"y": ("FP32", np.zeros(1, np.float32))})
    directory = bundles.write(bundles.Recipe(devourer(), "devourer", batchable=False, golden=hungry), tmp_path)
    with pytest.raises(ModelLoadError):
        plane.load(directory, LoadOptions())
    handle = plane.load(bundles.write(bundles.Recipe(models.plus(1), "plus"), tmp_path), LoadOptions())
    answer = plane.run(handle, {"x": np.zeros((2, 1), np.float32)})
    assert (answer["y"] == 1).all()
    plane.retire(handle, 1.0)


def test_a_load_that_ends_its_process_is_refused_by_the_name_of_the_signal(
    plane: NativePlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashing = tmp_path / "python"
    crashing.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crashing.chmod(crashing.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(crashing))
    directory = bundles.write(bundles.Recipe(models.plus(1), "plus"), tmp_path)
    with pytest.raises(ModelLoadError, match="SIGSEGV"):
        plane.load(directory, LoadOptions())


def test_another_kernel_is_refused() -> None:
    with pytest.raises(KernelError, match="native kernel, not with 'reference'"):
        NativePlane(select("reference"))


def test_the_python_package_of_the_runtime_is_never_imported() -> None:
    program = (
        "import sys\n"
        "from kedge.kernel.select import select\n"
        "from kedge.plane.native import NativePlane\n"
        "plane = NativePlane(select('native'), shards=1)\n"
        "plane.start('127.0.0.1:0')\n"
        "plane.stop()\n"
        "sys.exit('onnxruntime' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_library_is_that_of_the_installed_version() -> None:
    found = find_runtime()
    assert found.path.name == f"libonnxruntime.so.{found.version}"


def test_a_stopped_plane_says_so(tmp_path: Path) -> None:
    plane = NativePlane(select("native"), shards=2, isolate=False)
    plane.stop()
    plane.stop()
    with pytest.raises(PlaneError, match="stopped"):
        plane.start("127.0.0.1:0")
    with pytest.raises(PlaneError, match="stopped"):
        plane.snapshot()
    with pytest.raises(ModelLoadError, match="stopped"):
        plane.load(bundles.write(bundles.Recipe(models.plus(1), "plus"), tmp_path), LoadOptions())
