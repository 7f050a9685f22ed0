"""The suites that are programs of their own: run, and their tables read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pybind11

from benchmarks import report

if TYPE_CHECKING:
    from benchmarks.report import Table

HERE: Final = Path(__file__).parent
BUILD: Final = HERE.parent / "build/bench/cpp"
KERNEL_BENCH: Final = "kedge_kernel_bench"


def kernel(*, quick: bool) -> tuple[Table, ...]:
    """Counting one value, by every kernel; from C++ too, unless quick, because that is compiled first."""
    arguments = [] if quick else ["--bench", str(_build_kernel_bench())]
    return _run("Kernel: time a value", "kernel/ratios.py", *arguments)


def power(*, quick: bool) -> tuple[Table, ...]:
    """Requests until a bad canary is found, and what becomes of whole rollouts."""
    return (
        *_run("Requests to a verdict", "power/power.py", "--runs", "20" if quick else "400"),
        *_run("Whole rollouts", "power/rollout.py", "--runs", "10" if quick else "200"),
    )


def _build_kernel_bench() -> Path:
    # The virtual environment's cmake, where it has one, is the one that the project is built with.
    cmake = shutil.which("cmake", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if cmake is None:
        raise report.BenchmarkError(f"{KERNEL_BENCH} is compiled by cmake, and there is none; pip install cmake")
    options = [
        "-DCMAKE_BUILD_TYPE=Release",
        f"-DPython_EXECUTABLE={sys.executable}",
        f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
    ]
    for command in (
        [cmake, "-S", str(HERE.parent), "-B", str(BUILD), *options],
        [cmake, "--build", str(BUILD), "--target", KERNEL_BENCH],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise report.BenchmarkError(f"{' '.join(command)} failed:\n{(done.stderr or done.stdout).strip()}")
    return BUILD / "cpp/sketch" / KERNEL_BENCH


def _run(title: str, path: str, *arguments: str) -> tuple[Table, ...]:
    command = [sys.executable, str(HERE / path), *arguments]
    return report.from_markdown(title, subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
