"""Counts: what a sketch has counted, as a value that adds, subtracts and travels.

Format, version 1, little-endian: magic ``KDGC``, uint16 version, uint16 zero, the layout's SHA-256 (32 bytes), uint64
number of words, uint64 number of bounds; the int64 words; the float64 bounds. `kedge.kernel.state` says what is where.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from kedge.errors import SnapshotError
from kedge.kernel import state as places
from kedge.kernel.contract import (
    BATCH_SIZE_BUCKETS,
    LATENCY_BUCKETS,
    MOMENT_CLIP,
    OVERFLOW,
    SCHEMA_KINDS,
    Layout,
)
from kedge.kernel.state import FeatureState, layout_digest, state_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC: Final = b"KDGC"
VERSION: Final = 1
HEADER: Final = struct.Struct("<4sHH32sQQ")
MAX_COUNT: Final = 2**53
"""No counter gets there in a lifetime; bytes that say otherwise are damaged. Sums of counters stay inside int64."""


@dataclass(frozen=True)
class FeatureCounts:
    """Counts of one feature or score.

    Attributes:
        slots: [32] int64 for a numeric, [64] for a categorical feature; meanings in `kedge.kernel.contract`.
        sum_q, sum_q2: sums of the scaled moments; 0 for a categorical feature.
        minimum, maximum: of the values the moments cover; inf and -inf where there were none.
        numeric: it has moments.
    """

    slots: NDArray[np.int64]
    sum_q: int
    sum_q2: int
    minimum: float
    maximum: float
    numeric: bool

    @property
    def rows(self) -> int:
        """Values counted, whatever they were."""
        return int(self.slots.sum())

    @property
    def n(self) -> int:
        """Values that the moments cover (bins, atoms, underflow, overflow); of a categorical feature all rows."""
        return int(self.slots[: OVERFLOW + 1].sum()) if self.numeric else self.rows


@dataclass(frozen=True, eq=False)
class Counts:
    """Everything a sketch counted. Arrays are read-only views of `words`.

    ``a + b`` merges. ``later - earlier`` is the window between two snapshots of one sketch: its minima and maxima are
    those of `later`, which bound the window's. Both raise `SnapshotError` for counts of different layouts; subtraction
    also where `earlier` is not earlier.
    """

    layout: Layout
    words: NDArray[np.int64]
    bounds: NDArray[np.float64]

    def __post_init__(self) -> None:
        self.words.flags.writeable = False
        self.bounds.flags.writeable = False

    @classmethod
    def zero(cls, layout: Layout) -> Counts:
        """Counts of nothing: the neutral element of addition."""
        state = state_of(layout)
        return cls(layout, np.zeros(state.words, np.int64), empty_bounds(state.bounds))

    @classmethod
    def parse(cls, data: bytes | memoryview, layout: Layout) -> Counts:
        """Read snapshot bytes, which may come from anyone.

        Args:
            data: as made by `Sketch.snapshot` or `to_bytes`.
            layout: what they must be counts of.

        Raises:
            SnapshotError: the bytes are damaged, of another version or of another layout.
        """
        state = state_of(layout)
        if len(data) < HEADER.size:
            raise SnapshotError(f"snapshot of {len(data)} bytes is shorter than its header; it was cut off")
        magic, version, zero, digest, words, bounds = HEADER.unpack_from(data)
        if magic != MAGIC or zero != 0:
            raise SnapshotError("these bytes are not a kernel snapshot")
        if version != VERSION:
            raise SnapshotError(f"snapshot version {version} is not known; this Kedge reads version {VERSION}")
        if digest != layout_digest(layout):
            raise SnapshotError("the snapshot was counted under another layout; counts of two layouts never mix")
        if (words, bounds) != (state.words, state.bounds) or len(data) != HEADER.size + 8 * (words + bounds):
            raise SnapshotError(f"snapshot of {len(data)} bytes has not the length its layout asks for")
        counts = cls(
            layout,
            np.frombuffer(data, "<i8", words, HEADER.size).astype(np.int64),
            np.frombuffer(data, "<f8", bounds, HEADER.size + 8 * words).astype(np.float64),
        )
        counts._check()
        return counts

    def to_bytes(self) -> bytes:
        """The snapshot bytes; `parse` gives equal counts back."""
        return b"".join(
            (
                HEADER.pack(MAGIC, VERSION, 0, layout_digest(self.layout), len(self.words), len(self.bounds)),
                self.words.astype("<i8", copy=False).tobytes(),
                self.bounds.astype("<f8", copy=False).tobytes(),
            )
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counts) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def __add__(self, other: Counts) -> Counts:
        self._same_layout(other)
        return Counts(self.layout, self.words + other.words, merge_bounds(self.bounds, other.bounds))

    def __sub__(self, earlier: Counts) -> Counts:
        self._same_layout(earlier)
        words = self.words - earlier.words
        if (words[self._counters] < 0).any():
            raise SnapshotError("the snapshot to subtract is not an earlier one of the same sketch")
        bounds = self.bounds.copy()
        for place in self._state.numeric:
            if not words[place.slots][: OVERFLOW + 1].any():
                bounds[place.bounds : place.bounds + 2] = np.inf, -np.inf
        return Counts(self.layout, words, bounds)

    def _same_layout(self, other: Counts) -> None:
        if layout_digest(self.layout) != layout_digest(other.layout):
            raise SnapshotError("counts of two layouts never mix")

    def _check(self) -> None:
        counters = self.words[self._counters]
        if (counters < 0).any() or (counters > MAX_COUNT).any():
            raise SnapshotError("a counter of the snapshot is negative or absurd; the bytes are damaged")
        for counts in (*self._numeric, *self.scores):
            n = counts.n
            ordered = counts.minimum <= counts.maximum and np.isfinite((counts.minimum, counts.maximum)).all()
            if not (ordered if n else (counts.minimum, counts.maximum) == (np.inf, -np.inf)):
                raise SnapshotError(
                    "a minimum or maximum of the snapshot does not fit its counts; the bytes are damaged"
                )
            if abs(counts.sum_q) > n * MOMENT_CLIP or not 0 <= counts.sum_q2 <= n * MOMENT_CLIP**2:
                raise SnapshotError("a moment of the snapshot does not fit its counts; the bytes are damaged")

    @cached_property
    def _state(self) -> places.State:
        return state_of(self.layout)

    @cached_property
    def _counters(self) -> NDArray[np.bool_]:
        """Words that only ever grow by counting: all but the sums of moments and probabilities."""
        mask = np.ones(len(self.words), np.bool_)
        for place in self._state.numeric:
            mask[place.sum_q : place.sum_q2 + 1] = False
        mask[self._state.reliability_p] = False
        mask[self._state.reliability_v] = False
        return mask

    def _feature(self, place: FeatureState) -> FeatureCounts:
        if place.bounds < 0:
            return FeatureCounts(self.words[place.slots], 0, 0, np.inf, -np.inf, numeric=False)
        return FeatureCounts(
            self.words[place.slots],
            int(self.words[place.sum_q]),
            int(self.words[place.sum_q2]),
            float(self.bounds[place.bounds]),
            float(self.bounds[place.bounds + 1]),
            numeric=True,
        )

    @cached_property
    def features(self) -> tuple[FeatureCounts, ...]:
        """One entry a `layout.features` entry."""
        return tuple(map(self._feature, self._state.features))

    @property
    def _numeric(self) -> tuple[FeatureCounts, ...]:
        return tuple(feature for feature in self.features if feature.numeric)

    @cached_property
    def scores(self) -> tuple[FeatureCounts, ...]:
        """One entry a `layout.scores` entry."""
        return tuple(map(self._feature, self._state.scores))

    @property
    def rows(self) -> int:
        """Rows of inputs."""
        return int(self.words[places.ROWS])

    @property
    def classes(self) -> NDArray[np.int64]:
        """[classes + 1]: rows a predicted class, the last for ids outside; [0] without classes."""
        return self.words[self._state.classes]

    @property
    def top(self) -> NDArray[np.int64]:
        """[32] rows by top probability; [0] without classes, as for all confidence."""
        return self.words[self._state.top]

    @property
    def margin(self) -> NDArray[np.int64]:
        """[32] rows by top probability minus the second."""
        return self.words[self._state.margin]

    @property
    def entropy(self) -> NDArray[np.int64]:
        """[32] rows by entropy / ln C."""
        return self.words[self._state.entropy]

    @property
    def reliability_n(self) -> NDArray[np.int64]:
        """[len(reliability_edges) + 1] rows a bin of top probability p."""
        return self.words[self._state.reliability_n]

    @property
    def reliability_p(self) -> NDArray[np.int64]:
        """Sum of p a bin, in units of 2**-32."""
        return self.words[self._state.reliability_p]

    @property
    def reliability_v(self) -> NDArray[np.int64]:
        """Sum of p * (1 - p) a bin, in units of 2**-32."""
        return self.words[self._state.reliability_v]

    @property
    def latency_queue(self) -> NDArray[np.int64]:
        """[2048] requests by queue time; buckets in `kedge.kernel.latency`."""
        return self.words[self._state.latency_queue]

    @property
    def latency_run_by_size(self) -> NDArray[np.int64]:
        """[12, 2048] batches by size and run time."""
        return self.words[self._state.latency_run_by_size].reshape(BATCH_SIZE_BUCKETS, LATENCY_BUCKETS)

    @property
    def latency_run(self) -> NDArray[np.int64]:
        """[2048] batches by run time, whatever their size."""
        total: NDArray[np.int64] = self.latency_run_by_size.sum(axis=0)
        return total

    @property
    def status(self) -> NDArray[np.int64]:
        """[17] answers by gRPC status."""
        return self.words[places.STATUS]

    @property
    def schema(self) -> NDArray[np.int64]:
        """[len(schema_inputs), 3] violations: missing, mistyped, misshaped."""
        return self.words[self._state.schema].reshape(-1, len(SCHEMA_KINDS))

    @property
    def schema_unknown(self) -> int:
        """Tensors sent under names the schema does not know."""
        return int(self.words[places.SCHEMA_UNKNOWN])


def empty_bounds(count: int) -> NDArray[np.float64]:
    """Minima and maxima of nothing: inf, -inf, inf, ..."""
    return np.tile([np.inf, -np.inf], count // 2).astype(np.float64)


def merge_bounds(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minima by minimum, maxima by maximum."""
    merged = np.minimum(a, b)
    merged[1::2] = np.maximum(a[1::2], b[1::2])
    return merged
