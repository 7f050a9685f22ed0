"""Every figure of the kernel from one interleaved run: what numpy takes, and how many times faster each kernel is.

    python benchmarks/kernel/ratios.py [--bench PATH_OF_kedge_kernel_bench]

All contestants take turns; the least time of many turns is kept, because other work on the machine only ever adds.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import time
from typing import TYPE_CHECKING

import numpy as np
from workload import (
    ROWS,
    VALUES,
    by_name_layout,
    matrix_layout,
    numpy_counts,
    rows,
    words,
    words_layout,
)

from kedge import _kernel
from kedge.kernel.native import NativeKernel
from kedge.kernel.numba_ import NumbaKernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedge.kernel.contract import Kernel, Layout

TURNS = 300


def calls(kernel: Kernel, layout: Layout, tensors: list[np.ndarray], repeat: int) -> Callable[[], None]:
    sketch = kernel.sketch(layout)

    def run() -> None:
        for _ in range(repeat):
            sketch.observe(tensors)

    return run


def contestants() -> dict[tuple[str, str], tuple[Callable[[], object], int]]:
    """What is timed, and how many values a turn counts."""
    x, w = rows(), words()
    columns = np.ascontiguousarray(x.T)
    edges = np.quantile(x, np.linspace(0, 1, 21), axis=0).T.astype(np.float32).copy()
    named = [np.ascontiguousarray(x[:, f]) for f in range(x.shape[1])]
    found: dict[tuple[str, str], tuple[Callable[[], object], int]] = {
        ("numpy", "1,024 rows"): (lambda: numpy_counts(columns, edges), VALUES)
    }
    kernels = [(f"native {isa}", NativeKernel(isa)) for isa in _kernel.isas()] + [("numba", NumbaKernel())]
    for name, kernel in kernels:
        found[name, "1,024 rows"] = calls(kernel, matrix_layout(x), [x], 1), VALUES
        found[name, "1 row"] = calls(kernel, matrix_layout(x), [x[:1]], 16), 16 * x.shape[1]
        found[name, "1,024 rows, by name"] = calls(kernel, by_name_layout(x), named, 1), VALUES
        found[name, "1 row, by name"] = calls(kernel, by_name_layout(x), [n[:1] for n in named], 16), 16 * x.shape[1]
        found[name, "1,024 strings"] = calls(kernel, words_layout(), [w], 4), 4 * ROWS
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", help="the C++ program kedge_kernel_bench, for the figures without Python")
    options = parser.parse_args()
    timed = contestants()
    best = dict.fromkeys(timed, float("inf"))
    gc.disable()
    for _ in range(TURNS):
        for key, (run, values) in timed.items():
            start = time.perf_counter_ns()
            run()
            best[key] = min(best[key], (time.perf_counter_ns() - start) / values)
    base = best["numpy", "1,024 rows"]
    print("| called from Python | work | ns a value | times numpy |\n|---|---|---|---|")
    for (name, work), nanoseconds in best.items():
        ratio = f"{base / nanoseconds:.1f}" if work == "1,024 rows" else ""
        print(f"| {name} | {work} | {nanoseconds:.2f} | {ratio} |")
    if options.bench:
        print("\n| called from C++ | work | ns a value |\n|---|---|---|")
        output = subprocess.run([options.bench], capture_output=True, text=True, check=True).stdout
        for line in output.splitlines():
            print(f"| {' | '.join(line.split(chr(9)))} |")


if __name__ == "__main__":
    main()
