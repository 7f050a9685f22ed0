"""The numba kernel: the fast fallback where no compiled extension exists.

Only what is counted a value is compiled; the rest is the reference's, or numpy over whole columns.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numba
import numpy as np
from numba import types

from kedge.kernel import contract as c
from kedge.kernel.contract import CategoricalFeature, Layout, NumericFeature
from kedge.kernel.intervals import compile_feature, round_up
from kedge.kernel.reference import ReferenceSketch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kedge.kernel.state import FeatureState

_BLOCK: Final = 256
_ROUND: Final = 1.5 * 2.0**52
"""Adding and taking it away rounds a small float64 to the nearest integer, ties to even."""
_CLIP: Final = float(c.MOMENT_CLIP)


def _signature(scalar: types.Float) -> types.FunctionType:
    """One compiled form takes every input of a dtype: strided, misaligned, read-only or none of these."""
    rows = types.Array(scalar, 2, "A", readonly=True, aligned=False)
    bounds = types.Array(scalar, 2, "C")
    integers, floats = types.int64[::1], types.float64[::1]
    return types.void(rows, integers, bounds, types.int64[:, ::1], types.float64[:, ::1], integers, integers, floats)


def _count(  # noqa: PLR0917  numba takes positions
    x: NDArray[Any],
    columns: NDArray[np.int64],
    bounds: NDArray[Any],
    words_at: NDArray[np.int64],
    limits: NDArray[np.float64],
    sums_at: NDArray[np.int64],
    words: NDArray[np.int64],
    extremes: NDArray[np.float64],
) -> None:
    """Count the numeric features of one table, a block of one column at a time.

    `words_at` [F, positions] is the word of every position, `limits` [F, 5] lowest and highest value covered, missing,
    center and scale, `sums_at` [2 F] the word of the sum of q and the place of the minimum.
    """
    block = np.empty(_BLOCK, x.dtype)
    position = np.empty(_BLOCK, np.int32)
    for first in range(0, x.shape[0], _BLOCK):
        n = min(_BLOCK, x.shape[0] - first)
        for f in range(len(columns)):
            for r in range(n):
                block[r] = x[first + r, columns[f]]
                position[r] = 0
            for k in range(bounds.shape[1]):
                bound = bounds[f, k]
                for r in range(n):
                    position[r] += block[r] >= bound
            for r in range(n):
                words[words_at[f, position[r]]] += 1
            lowest, highest, missing, center, scale = limits[f]
            sums, extreme = sums_at[2 * f], sums_at[2 * f + 1]
            sum_q = 0.0
            sum_q2 = 0.0
            minimum = extremes[extreme]
            maximum = extremes[extreme + 1]
            for r in range(n):
                value = np.float64(block[r]) + 0.0
                covered = (value >= lowest) & (value <= highest) & (value != missing)
                q = min(max((value - center) * scale, -_CLIP), _CLIP)
                q = (q + _ROUND) - _ROUND
                q = q if covered else 0.0
                sum_q += q
                sum_q2 += q * q
                minimum = min(minimum, value) if covered else minimum
                maximum = max(maximum, value) if covered else maximum
            words[sums] += np.int64(sum_q)
            words[sums + 1] += np.int64(sum_q2)
            extremes[extreme] = minimum
            extremes[extreme + 1] = maximum


def _compile(signatures: Sequence[types.FunctionType]) -> Any:
    """Compile now rather than on the request path; keep the result on disk where there is a place for it."""
    try:
        return numba.njit(signatures, nogil=True, cache=True)(_count)
    except RuntimeError:  # neither the package nor the user's cache directory can be written
        return numba.njit(signatures, nogil=True)(_count)


_count_compiled = _compile([_signature(types.float32), _signature(types.float64)])


@dataclass(frozen=True)
class _Group:
    """Numeric features that are counted together, compiled; arrays as `_count` takes them.

    Either they are columns of one tensor, or each is the only column of one of several tensors.
    """

    tensors: tuple[int, ...]
    columns: NDArray[np.int64]
    bounds32: NDArray[np.float32]
    bounds64: NDArray[np.float64]
    words_at: NDArray[np.int64]
    limits: NDArray[np.float64]
    sums_at: NDArray[np.int64]


def _group(tensors: Sequence[int], features: Sequence[tuple[NumericFeature, FeatureState]]) -> _Group:
    compiled = [compile_feature(feature) for feature, _ in features]
    width = max(len(bounds) for bounds, _ in compiled)
    bounds64 = np.full((len(features), width), np.nan)
    words_at = np.zeros((len(features), width + 1), np.int64)
    limits = np.empty((len(features), 5))
    largest = sys.float_info.max
    for row, ((feature, place), (bounds, slots)) in enumerate(zip(features, compiled, strict=True)):
        bounds64[row, : len(bounds)] = bounds
        words_at[row, : len(slots)] = place.slots.start + slots
        missing = np.nan if feature.missing is None else feature.missing
        low, high = max(feature.valid_min, -largest), min(feature.valid_max, largest)
        limits[row] = low, high, missing, feature.center, feature.scale
    return _Group(
        tuple(tensors),
        np.array([tensors.index(feature.tensor) + feature.column for feature, _ in features], np.int64),
        round_up(bounds64),
        bounds64,
        words_at,
        limits,
        np.array([at for _, place in features for at in (place.sum_q, place.bounds)], np.int64),
    )


def _joint_dtype(tables: Sequence[NDArray[Any]]) -> type[np.float32 | np.float64]:
    """float32 where every table already is, else float64, which is how all else is compared."""
    return np.float32 if all(table.dtype == np.float32 for table in tables) else np.float64


class NumbaSketch(ReferenceSketch):
    """`kedge.kernel.contract.Sketch` with compiled counting. Releases the GIL while it counts numeric features."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        by_tensor: dict[int, list[tuple[NumericFeature, FeatureState]]] = {}
        for feature, place in zip(layout.features, self._state.features, strict=True):
            if isinstance(feature, NumericFeature):
                by_tensor.setdefault(feature.tensor, []).append((feature, place))
        single = [t for t in by_tensor if layout.tensors[t].columns == 1 and not layout.tensors[t].summary]
        self._features = [_group([t], members) for t, members in by_tensor.items() if t not in single]
        if single:
            self._features.append(_group(single, [member for t in single for member in by_tensor[t]]))
        scores = list(zip(layout.scores, self._state.scores, strict=True))
        self._scores = [_group([0], scores)] if scores else []

    def _count_numeric(
        self,
        features: Sequence[NumericFeature | CategoricalFeature],
        places: Sequence[FeatureState],  # noqa: ARG002  the groups know them
        tables: Sequence[NDArray[Any]],
    ) -> None:
        for group in self._scores if features is self.layout.scores else self._features:
            parts = [tables[t] for t in group.tensors]
            x = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1, dtype=_joint_dtype(parts))
            single = x.dtype == np.float32 and x.dtype.isnative
            _count_compiled(
                x if single else x.astype(np.float64),
                group.columns,
                group.bounds32 if single else group.bounds64,
                group.words_at,
                group.limits,
                group.sums_at,
                self._words,
                self._bounds,
            )

    def _count_confidence(self, p: NDArray[np.float64]) -> None:
        valid = ((p >= 0) & (p <= 1)).all(axis=1)
        top, margin, entropy = (self._words[at] for at in (self._state.top, self._state.margin, self._state.entropy))
        for counter in (top, margin, entropy):
            counter[c.CONFIDENCE_INVALID] += len(p) - int(valid.sum())
        rows = p[valid]
        if not len(rows):
            return
        ordered = np.sort(rows, axis=1)
        best = ordered[:, -1]
        several = rows.shape[1] > 1
        with np.errstate(divide="ignore", invalid="ignore"):
            nats = -np.where(rows > 0, rows * np.log(rows), 0.0).sum(axis=1)
        spread = np.clip(nats / np.log(rows.shape[1]), 0.0, 1.0) if several else np.zeros(len(rows))
        for counter, values in ((top, best), (margin, best - ordered[:, -2] if several else best), (entropy, spread)):
            bins = np.minimum(c.CONFIDENCE_BINS - 1, (values * c.CONFIDENCE_BINS).astype(np.int64))
            counter[: c.CONFIDENCE_BINS] += np.bincount(bins, minlength=c.CONFIDENCE_BINS)
        place = np.searchsorted(np.asarray(self.layout.reliability_edges, np.float64), best, side="right")
        units = np.rint(best * c.PROBABILITY_UNIT).astype(np.int64)
        variance = np.rint(best * (1.0 - best) * c.PROBABILITY_UNIT).astype(np.int64)
        np.add.at(self._words[self._state.reliability_n], place, 1)
        np.add.at(self._words[self._state.reliability_p], place, units)
        np.add.at(self._words[self._state.reliability_v], place, variance)


class NumbaKernel:
    """Makes numba sketches."""

    name = "numba"
    isa = "llvm"

    def sketch(self, layout: Layout) -> NumbaSketch:
        """A fresh sketch with every count at zero."""
        return NumbaSketch(layout)
