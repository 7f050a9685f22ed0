"""The reference kernel: numpy, slow, written rule by rule as the contract states them. The oracle of the tests."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kedge.errors import KernelError, SnapshotError
from kedge.kernel import contract as c
from kedge.kernel.contract import CategoricalFeature, Layout, NumericFeature
from kedge.kernel.inputs import open_predictions, open_tensors
from kedge.kernel.latency import batch_size_bucket, latency_bucket
from kedge.kernel.snapshot import Counts, empty_bounds, merge_bounds
from kedge.kernel.state import ROWS, SCHEMA_UNKNOWN, STATUS, FeatureState, layout_digest, state_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

UNKNOWN_STATUS: Final = 2


class ReferenceSketch:
    """`kedge.kernel.contract.Sketch` over one flat state."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._state = state_of(layout)
        self._lookups = [
            vocabulary_slots(feature) if isinstance(feature, CategoricalFeature) else {} for feature in layout.features
        ]
        self.reset()

    def reset(self) -> None:
        self._words = np.zeros(self._state.words, np.int64)
        self._bounds = empty_bounds(self._state.bounds)

    def snapshot(self) -> bytes:
        return Counts(self.layout, self._words.copy(), self._bounds.copy()).to_bytes()

    def merge(self, counts: Counts) -> None:
        if layout_digest(counts.layout) != layout_digest(self.layout):
            raise SnapshotError("counts of two layouts never mix")
        self._words += counts.words
        self._bounds = merge_bounds(self._bounds, counts.bounds)

    def observe(self, tensors: Sequence[NDArray[Any]]) -> None:
        rows, columns = open_tensors(self.layout, tensors)
        tables = [
            summarise(array) if tensor.summary else array
            for tensor, array in zip(self.layout.tensors, columns, strict=True)
        ]
        for index, feature in enumerate(self.layout.features):
            if isinstance(feature, CategoricalFeature):
                values = tables[feature.tensor][:, feature.column]
                slots = categorical_slots(feature, self._lookups[index], values)
                np.add.at(self._words[self._state.features[index].slots], slots, 1)
        self._count_numeric(self.layout.features, self._state.features, tables)
        self._words[ROWS] += rows

    def observe_predictions(
        self, classes: NDArray[np.int64] | None, scores: NDArray[Any] | None, *, probabilities: bool = False
    ) -> None:
        ids, table = open_predictions(self.layout, classes, scores, probabilities=probabilities)
        if ids is not None:
            known = (ids >= 0) & (ids < self.layout.classes)
            np.add.at(self._words[self._state.classes], np.where(known, ids, self.layout.classes).astype(np.int64), 1)
        if table is not None:
            self._count_numeric(self.layout.scores, self._state.scores, [table])
            if probabilities:
                self._count_confidence(table.astype(np.float64))

    def observe_batch(self, queue_ns: NDArray[np.int64], run_ns: int, rows: int) -> None:
        queue = np.asarray(queue_ns)
        if queue.dtype != np.int64 or queue.ndim != 1:
            raise KernelError(f"queue times must be [R] int64, got {queue.dtype} {list(queue.shape)}")
        if rows < 1:
            raise KernelError(f"a batch of {rows} rows")
        counters = self._words[self._state.latency_queue]
        for nanoseconds in queue.tolist():
            counters[latency_bucket(nanoseconds)] += 1
        by_size = self._words[self._state.latency_run_by_size].reshape(c.BATCH_SIZE_BUCKETS, c.LATENCY_BUCKETS)
        by_size[batch_size_bucket(rows), latency_bucket(run_ns)] += 1

    def observe_status(self, code: int, count: int = 1) -> None:
        if count < 0:
            raise KernelError(f"{count} answers cannot be counted")
        self._words[STATUS][code if 0 <= code < c.STATUS_CODES else UNKNOWN_STATUS] += count

    def observe_schema(self, kind: str, name: str) -> None:
        if kind == "unknown":
            self._words[SCHEMA_UNKNOWN] += 1
            return
        if kind not in c.SCHEMA_KINDS or name not in self.layout.schema_inputs:
            raise KernelError(f"no counter for schema violation '{kind}' of '{name}'")
        inputs = self._words[self._state.schema].reshape(-1, len(c.SCHEMA_KINDS))
        inputs[self.layout.schema_inputs.index(name), c.SCHEMA_KINDS.index(kind)] += 1

    def _count_numeric(
        self,
        features: Sequence[NumericFeature | CategoricalFeature],
        places: Sequence[FeatureState],
        tables: Sequence[NDArray[Any]],
    ) -> None:
        for feature, place in zip(features, places, strict=True):
            if isinstance(feature, CategoricalFeature):
                continue
            values = tables[feature.tensor][:, feature.column].astype(np.float64)
            slots = numeric_slots(feature, values)
            np.add.at(self._words[place.slots], slots, 1)
            covered = values[slots <= c.OVERFLOW] + 0.0
            if covered.size:
                with np.errstate(over="ignore"):
                    scaled = np.rint((covered - feature.center) * feature.scale)
                q = np.clip(scaled, -c.MOMENT_CLIP, c.MOMENT_CLIP).astype(np.int64)
                self._words[place.sum_q] += q.sum()
                self._words[place.sum_q2] += (q * q).sum()
                low, high = place.bounds, place.bounds + 1
                self._bounds[low] = min(self._bounds[low], covered.min())
                self._bounds[high] = max(self._bounds[high], covered.max())

    def _count_confidence(self, p: NDArray[np.float64]) -> None:
        counters = [self._words[place] for place in (self._state.top, self._state.margin, self._state.entropy)]
        reliability = (self._state.reliability_n, self._state.reliability_p, self._state.reliability_v)
        number, total, variance = (self._words[place] for place in reliability)
        for row in p:
            if not ((row >= 0) & (row <= 1)).all():
                for counter in counters:
                    counter[c.CONFIDENCE_INVALID] += 1
                continue
            ordered = np.sort(row)
            top = float(ordered[-1])
            margin = top - float(ordered[-2]) if len(row) > 1 else top
            for counter, value in zip(counters, (top, margin, normalised_entropy(row)), strict=True):
                counter[min(c.CONFIDENCE_BINS - 1, int(value * c.CONFIDENCE_BINS))] += 1
            place = sum(edge <= top for edge in self.layout.reliability_edges)
            number[place] += 1
            total[place] += int(np.rint(top * c.PROBABILITY_UNIT))
            variance[place] += int(np.rint(top * (1.0 - top) * c.PROBABILITY_UNIT))


def numeric_slots(feature: NumericFeature, x: NDArray[np.float64]) -> NDArray[np.int64]:
    """[N] the slot of every value, the contract's rules from last to first, each overruling those before."""
    edges, atoms = np.asarray(feature.edges), np.asarray(feature.atoms)
    slots = np.searchsorted(edges, x, side="right").astype(np.int64) - 1
    slots[x < edges[0]] = c.UNDERFLOW
    slots[x >= edges[-1]] = c.OVERFLOW
    for index, atom in enumerate(atoms):
        slots[x == atom] = c.FIRST_ATOM + index
    slots[(x < feature.valid_min) | (x > feature.valid_max)] = c.OUT_OF_RANGE
    slots[x == -np.inf] = c.NEG_INF
    slots[x == np.inf] = c.POS_INF
    slots[np.isnan(x)] = c.NAN
    if feature.missing is not None:
        slots[np.isnan(x) if math.isnan(feature.missing) else x == feature.missing] = c.MISSING
    return slots


def vocabulary_slots(feature: CategoricalFeature) -> dict[bytes | int, int]:
    """Slot by category; strings as UTF-8 bytes."""

    def key(value: str | int) -> bytes | int:
        return value.encode() if isinstance(value, str) else value

    vocabulary: Sequence[str | int] = feature.vocabulary
    other: Sequence[str | int] = feature.other
    slots = {key(value): slot for slot, value in enumerate(vocabulary)}
    slots.update((key(value), c.CAT_OTHER) for value in other)
    if feature.missing is not None:
        slots[key(feature.missing)] = c.CAT_MISSING
    return slots


def categorical_slots(
    feature: CategoricalFeature, lookup: dict[bytes | int, int], values: NDArray[Any]
) -> NDArray[np.int64]:
    """[N] the slot of every category. Strings come as bytes."""
    integers = isinstance(feature.vocabulary[0], int)

    def slot(value: bytes | float) -> int:
        if isinstance(value, float):
            if math.isnan(value):
                return c.CAT_MISSING
            if not (integers and value.is_integer() and -(2.0**63) <= value < 2.0**63):
                return c.CAT_INVALID
            value = int(value)
        if isinstance(value, bytes) == integers:
            return c.CAT_INVALID
        return lookup.get(value, c.CAT_UNSEEN)

    return np.fromiter((slot(value) for value in values.tolist()), np.int64, len(values))


def summarise(array: NDArray[Any]) -> NDArray[np.float64]:
    """[N, 5] mean, population standard deviation, L2 norm, minimum and maximum of every row, in float64.

    Sums go through eight strided partial sums (element i to sum i % 8), so that every kernel gets the same bits.
    """
    x = array.astype(np.float64)
    count = x.shape[1]
    with np.errstate(invalid="ignore", over="ignore"):
        mean = _eight_sums(x) / count
        deviation = x - mean[:, None]
        spread = np.sqrt(_eight_sums(deviation * deviation) / count)
        norm = np.sqrt(_eight_sums(x * x))
    return np.column_stack((mean, spread, norm, x.min(axis=1), x.max(axis=1)))


def _eight_sums(x: NDArray[np.float64]) -> NDArray[np.float64]:
    partial = np.zeros((x.shape[0], 8))
    for start in range(0, x.shape[1], 8):
        chunk = x[:, start : start + 8]
        partial[:, : chunk.shape[1]] += chunk
    pairs = partial[:, 0::2] + partial[:, 1::2]
    quads = pairs[:, 0::2] + pairs[:, 1::2]
    total: NDArray[np.float64] = quads[:, 0] + quads[:, 1]
    return total


def normalised_entropy(p: NDArray[np.float64]) -> float:
    """Entropy / ln C of one row, clipped to [0, 1]; 0 for one class."""
    if len(p) < 2:
        return 0.0
    total = -math.fsum(value * math.log(value) for value in p.tolist() if value > 0)
    return min(1.0, max(0.0, total / math.log(len(p))))


class ReferenceKernel:
    """Makes reference sketches."""

    name = "reference"
    isa = "numpy"

    def sketch(self, layout: Layout) -> ReferenceSketch:
        """A fresh sketch with every count at zero."""
        return ReferenceSketch(layout)
