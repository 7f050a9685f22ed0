"""The rows every figure of the kernel is measured on: 1,024 rows of 32 float32 features, 20 quantile bins each."""

from __future__ import annotations

import numpy as np

from kedge.kernel.contract import CategoricalFeature, Layout, NumericFeature, Tensor

ROWS, FEATURES, BINS = 1024, 32, 20
VALUES = ROWS * FEATURES


def rows() -> np.ndarray:
    """[1024, 32] float32, normal, fixed seed."""
    return np.random.default_rng(7).normal(size=(ROWS, FEATURES)).astype(np.float32)


def features(x: np.ndarray, *, by_name: bool) -> tuple[NumericFeature, ...]:
    quantiles = np.quantile(x.astype(np.float64), np.linspace(0, 1, BINS + 1), axis=0)
    return tuple(
        NumericFeature(f"x{f}", f if by_name else 0, 0 if by_name else f, tuple(quantiles[:, f].tolist()), scale=1000.0)
        for f in range(FEATURES)
    )


def matrix_layout(x: np.ndarray) -> Layout:
    """One [N, 32] input."""
    return Layout((Tensor("x", FEATURES),), features(x, by_name=False))


def by_name_layout(x: np.ndarray) -> Layout:
    """32 inputs [N, 1], one a feature."""
    return Layout(tuple(Tensor(f"x{f}", 1) for f in range(FEATURES)), features(x, by_name=True))


def words_layout() -> Layout:
    """One string input with 16 categories."""
    return Layout((Tensor("w", 1),), (CategoricalFeature("w", 0, 0, tuple(f"carrier-{i}" for i in range(16))),))


def words() -> np.ndarray:
    """[1024] object array of bytes."""
    picked = np.random.default_rng(7).integers(0, 17, ROWS)
    return np.array([f"carrier-{i}".encode() for i in picked], dtype=object)


def numpy_counts(columns: np.ndarray, edges: np.ndarray) -> list[np.ndarray]:
    """What a monitor without a kernel does: searchsorted and bincount a feature, on contiguous columns and edges of
    their own dtype, which is numpy at its best."""
    return [
        np.bincount(np.searchsorted(edge, column, side="right"), minlength=BINS + 2)
        for column, edge in zip(columns, edges, strict=True)
    ]
