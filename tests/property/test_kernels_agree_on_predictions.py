"""Predictions, confidence, latency, status and schema: native and numba against the reference."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kedge.kernel.contract import SCHEMA_KINDS, Layout, NumericFeature
from kedge.kernel.reference import ReferenceKernel
from kedge.kernel.snapshot import Counts


def fast_kernels():
    kernels = []
    if importlib.util.find_spec("kedge._kernel") is not None:
        from kedge import _kernel
        from kedge.kernel.native import NativeKernel

        kernels += [NativeKernel(isa) for isa in _kernel.isas()]
    if importlib.util.find_spec("numba") is not None:
        from kedge.kernel.numba_ import NumbaKernel

        kernels.append(NumbaKernel())
    return kernels


each_kernel = pytest.mark.parametrize("kernel", fast_kernels(), ids=lambda kernel: f"{kernel.name}-{kernel.isa}")
seeds = st.integers(0, 2**32 - 1)
exactly = settings(derandomize=True, deadline=None, max_examples=60)
TWENTY = tuple(float(x) for x in np.linspace(0, 1, 21))


def prediction_layout(rng: np.random.Generator, classes: int) -> Layout:
    columns = range(max(1, classes)) if classes <= 32 else ()
    scores = tuple(NumericFeature(f"s{i}", 0, i, TWENTY, scale=1000.0) for i in columns if rng.random() < 0.8)
    edges = np.unique(rng.choice([0.1, 0.25, 0.5, 0.75, 0.9, *rng.random(8)], int(rng.integers(0, 12))))
    return Layout(classes=classes, scores=scores, reliability_edges=tuple(map(float, edges)))


def some_probabilities(rng: np.random.Generator, rows: int, classes: int) -> np.ndarray:
    p = rng.dirichlet(np.full(classes, 0.3), rows)
    p[rng.random(rows) < 0.2] = 1.0 / classes
    p[rng.random(rows) < 0.2] = np.eye(classes)[0]
    rounded = rng.random(rows) < 0.2
    p[rounded] = np.round(p[rounded], 1)
    spoiled = rng.random((rows, classes)) < 0.02
    p[spoiled] = rng.choice([np.nan, np.inf, -0.1, 1.5, -0.0], int(spoiled.sum()))
    return p


def count(kernel, layout, classes, scores, probabilities) -> Counts:
    sketch = kernel.sketch(layout)
    sketch.observe_predictions(classes, scores, probabilities=probabilities)
    return Counts.parse(sketch.snapshot(), layout)


def rows_at_an_entropy_edge(p: np.ndarray) -> int:
    """Rows whose entropy lies so near an edge that the last bit of a logarithm decides the slot."""
    p = p.astype(np.float64)
    p = p[((p >= 0) & (p <= 1)).all(axis=1)]
    with np.errstate(all="ignore"):
        scaled = 20 * -np.where(p > 0, p * np.log(p), 0).sum(axis=1) / np.log(max(2, p.shape[1]))
    return int((np.abs(scaled - np.rint(scaled)) < 1e-9).sum())


def without_entropy(counts: Counts) -> list[int]:
    words = counts.words.copy()
    words[counts._state.entropy] = 0
    return words.tolist()


@each_kernel
@exactly
@given(
    seed=seeds,
    rows=st.sampled_from([0, 1, 5, 40, 200]),
    classes=st.sampled_from([1, 2, 3, 10, 32, 50]),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    strided=st.booleans(),
)
def test_probabilities_and_classes_are_counted_alike(kernel, seed, rows, classes, *, dtype, strided):
    rng = np.random.default_rng(seed)
    layout = prediction_layout(rng, classes)
    p = some_probabilities(rng, rows, classes).astype(dtype)
    p = np.asfortranarray(np.repeat(p, 2, axis=1))[:, ::2] if strided else p
    ids = rng.integers(-2, classes + 2, rows).astype(rng.choice([np.int64, np.int32, np.int8]))
    expected = count(ReferenceKernel(), layout, ids, p, probabilities=True)
    got = count(kernel, layout, ids, p, probabilities=True)
    assert without_entropy(got) == without_entropy(expected)
    assert got.bounds.tolist() == expected.bounds.tolist()
    assert got.entropy.sum() == expected.entropy.sum() == rows
    moved = np.abs(np.cumsum(got.entropy - expected.entropy)).sum()
    assert moved <= rows_at_an_entropy_edge(p)


@each_kernel
@exactly
@given(seed=seeds, rows=st.sampled_from([0, 1, 50]), flat=st.booleans())
def test_regression_values_are_counted_alike(kernel, seed, rows, flat):
    rng = np.random.default_rng(seed)
    layout = prediction_layout(rng, 0)
    y = rng.choice([*rng.normal(size=9), np.nan, np.inf, 0.0, 0.05, 1.0], (rows, 1)).astype(np.float32)
    y = y[:, 0] if flat else y
    assert count(kernel, layout, None, y, False) == count(ReferenceKernel(), layout, None, y, False)


@each_kernel
@exactly
@given(
    queue=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 10**6), max_size=20),
    run=st.integers(-5, 2**40) | st.integers(0, 37).map(lambda bits: 2**bits - 1),
    rows=st.integers(1, 5000),
    codes=st.lists(st.integers(-2, 20), max_size=5),
    violations=st.lists(
        st.tuples(st.sampled_from([*SCHEMA_KINDS, "unknown"]), st.sampled_from(["x", "y"])), max_size=5
    ),
)
def test_latency_status_and_schema_are_counted_alike(kernel, queue, run, rows, *, codes, violations):
    layout = Layout(schema_inputs=("x", "y"))
    counts = []
    for one in (kernel, ReferenceKernel()):
        sketch = one.sketch(layout)
        sketch.observe_batch(np.array(queue, np.int64), run, rows)
        for code in codes:
            sketch.observe_status(code)
            sketch.observe_status(code, 3)
        for kind, name in violations:
            sketch.observe_schema(kind, name)
        counts.append(Counts.parse(sketch.snapshot(), layout))
    assert counts[0] == counts[1]
    assert counts[0].latency_queue.sum() == len(queue)
    assert counts[0].status.sum() == 4 * len(codes)
