"""Golden rows, and whether rows may share a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kedge.bundle import golden
from kedge.bundle.manifest import Golden
from kedge.dtypes import DTYPES
from kedge.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from kedge.build.session import Session
    from kedge.bundle.manifest import TensorSpec

ROWS: Final = 12
WITH_MISSING: Final = 4
MAX_ELEMENTS: Final = 4 * 1024 * 1024
"""Elements of all golden inputs together; wide inputs get fewer rows."""
RTOL: Final = 1e-4
ATOL: Final = 1e-5
SEED: Final = 20130101


def choose(rows: Mapping[str, NDArray[Any]], inputs: Sequence[TensorSpec]) -> dict[str, NDArray[Any]]:
    """Rows spread over those given, up to 4 of which have something missing if any have.

    Args:
        rows: inputs by name, each with N as its first dimension.
        inputs: the model's inputs.
    """
    count = len(next(iter(rows.values())))
    width = sum(math.prod(spec.shape[1:]) for spec in inputs)
    wanted = max(1, min(ROWS, count, MAX_ELEMENTS // max(width, 1)))
    if any(spec.shape[0] == 1 for spec in inputs):
        wanted = 1  # golden rows are one request, and this model takes one row a request
    absent = np.zeros(count, np.bool_)
    for array in rows.values():
        flat = array.reshape(count, -1)
        if flat.dtype.kind == "f":
            absent |= np.isnan(flat).any(axis=1)
        elif flat.dtype == object:
            absent |= (flat == "").any(axis=1)
    holes = np.flatnonzero(absent)[: min(WITH_MISSING, wanted // 2)]
    others = np.setdiff1d(np.arange(count), holes)
    spread = others[np.linspace(0, len(others) - 1, wanted - len(holes)).astype(np.int64)] if len(others) else others
    chosen = np.unique(np.concatenate([holes, spread]))
    return {name: array[chosen] for name, array in rows.items()}


def made_up(inputs: Sequence[TensorSpec]) -> dict[str, NDArray[Any]]:
    """Rows for a bundle without data: seeded numbers in [0, 1), zeros for whole numbers, empty text."""
    draws = np.random.default_rng(SEED)
    rows: dict[str, NDArray[Any]] = {}
    for spec in inputs:
        shape = (ROWS if spec.shape[0] < 0 else 1, *(1 if dim < 0 else dim for dim in spec.shape[1:]))
        kind = DTYPES[spec.dtype].numpy
        if kind.hasobject:
            rows[spec.name] = np.full(shape, "", dtype=object)
        else:
            rows[spec.name] = draws.random(shape).astype(kind) if kind.kind == "f" else np.zeros(shape, kind)
    return rows


def is_batchable(
    session: Session,
    rows: Mapping[str, NDArray[Any]],
    answers: Mapping[str, NDArray[Any]],
    tensors: Sequence[TensorSpec],
) -> bool:
    """Every input and output has a dynamic first dimension, and each row alone gives what it gives among the others."""
    if any(spec.shape[:1] != (-1,) for spec in tensors):
        return False
    for index in range(len(next(iter(rows.values())))):
        try:
            alone = session.run({name: array[index : index + 1] for name, array in rows.items()})
        except SpecError:
            return False
        for name, array in alone.items():
            if golden.differs(answers[name][index : index + 1], array, RTOL, ATOL) is not None:
                return False
    return True


def record(
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    rows: Mapping[str, NDArray[Any]],
    answers: Mapping[str, NDArray[Any]],
) -> Golden:
    """Rows in and out by value."""
    return Golden(
        inputs=tuple(golden.encode(spec.name, spec.dtype, rows[spec.name]) for spec in inputs),
        outputs=tuple(golden.encode(spec.name, spec.dtype, answers[spec.name]) for spec in outputs),
        rtol=RTOL,
        atol=ATOL,
    )
