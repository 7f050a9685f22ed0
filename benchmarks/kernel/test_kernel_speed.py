"""pytest-benchmark of every kernel: python -m pytest benchmarks/kernel --benchmark-enable --benchmark-group-by=func"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from kedge.kernel.select import available, select

sys.path.insert(0, str(Path(__file__).parent))
from workload import by_name_layout, matrix_layout, numpy_counts, rows, words, words_layout

KERNELS = [name for name in available() if name != "reference"]


@pytest.fixture(params=KERNELS)
def kernel(request):
    return select(request.param)


def test_1024_rows_of_32_features(benchmark, kernel):
    x = rows()
    benchmark(kernel.sketch(matrix_layout(x)).observe, [x])


def test_one_row_of_32_features(benchmark, kernel):
    x = rows()
    benchmark(kernel.sketch(matrix_layout(x)).observe, [x[:1]])


def test_one_row_of_32_inputs_by_name(benchmark, kernel):
    x = rows()
    benchmark(kernel.sketch(by_name_layout(x)).observe, [x[:1, f] for f in range(x.shape[1])])


def test_1024_strings(benchmark, kernel):
    benchmark(kernel.sketch(words_layout()).observe, [words()])


def test_a_snapshot(benchmark, kernel):
    benchmark(kernel.sketch(matrix_layout(rows())).snapshot)


def test_numpy_searchsorted_and_bincount(benchmark):
    x = rows()
    edges = np.quantile(x, np.linspace(0, 1, 21), axis=0).T.astype(np.float32).copy()
    benchmark(numpy_counts, np.ascontiguousarray(x.T), edges)
