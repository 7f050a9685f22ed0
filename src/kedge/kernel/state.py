"""Where every counter of a layout lives: the flat state that all kernels fill and snapshots carry.

The state is one vector of int64 words and one of float64 bounds. The C++ kernel computes the same offsets
(`cpp/sketch/state.cpp`); snapshots of either are read by the other, which the tests prove.

Words, in order: rows, unknown schema names, answers by status; every feature (numeric: 32 slots, sum of q, sum of
q * q; categorical: 64 slots); class counts (classes + 1, none without classes); every score, as a numeric feature; with
classes top, margin and entropy (32 each) and reliability n, p and p * (1 - p); schema violations (3 an input); queue
time; run time by batch size. Bounds: minimum and maximum of every numeric feature, then of every score.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from kedge.kernel.contract import (
    BATCH_SIZE_BUCKETS,
    CATEGORICAL_SLOTS,
    CONFIDENCE_SLOTS,
    LATENCY_BUCKETS,
    NUMERIC_SLOTS,
    SCHEMA_KINDS,
    STATUS_CODES,
    CategoricalFeature,
    Layout,
    NumericFeature,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMERIC_WORDS: Final = NUMERIC_SLOTS + 2
ROWS: Final = 0
SCHEMA_UNKNOWN: Final = 1
STATUS: Final = slice(2, 2 + STATUS_CODES)


@dataclass(frozen=True)
class FeatureState:
    """One feature's place.

    Attributes:
        slots: its counters among the words; for a numeric feature the sums of q and q * q follow.
        bounds: index of its minimum among the bounds, its maximum follows; -1 for a categorical feature.
    """

    slots: slice
    bounds: int

    @property
    def sum_q(self) -> int:
        return int(self.slots.stop)

    @property
    def sum_q2(self) -> int:
        return int(self.slots.stop) + 1


@dataclass(frozen=True)
class State:
    """The offsets of one layout. Slices index the words."""

    features: tuple[FeatureState, ...]
    classes: slice
    scores: tuple[FeatureState, ...]
    top: slice
    margin: slice
    entropy: slice
    reliability_n: slice
    reliability_p: slice
    reliability_v: slice
    schema: slice
    latency_queue: slice
    latency_run_by_size: slice
    words: int
    bounds: int

    @property
    def numeric(self) -> Iterator[FeatureState]:
        """Every feature and score that has moments, minimum and maximum."""
        return (place for place in (*self.features, *self.scores) if place.bounds >= 0)


@lru_cache(maxsize=256)
def state_of(layout: Layout) -> State:
    """The offsets of a layout."""
    word = STATUS.stop
    bound = 0

    def take(count: int) -> slice:
        nonlocal word
        word += count
        return slice(word - count, word)

    def place(feature: NumericFeature | CategoricalFeature) -> FeatureState:
        nonlocal word, bound
        if isinstance(feature, CategoricalFeature):
            return FeatureState(take(CATEGORICAL_SLOTS), -1)
        slots = take(NUMERIC_SLOTS)
        word += NUMERIC_WORDS - NUMERIC_SLOTS
        bound += 2
        return FeatureState(slots, bound - 2)

    features = tuple(map(place, layout.features))
    watched = layout.classes > 0
    classes = take(layout.classes + 1 if watched else 0)
    scores = tuple(map(place, layout.scores))
    top, margin, entropy = (take(CONFIDENCE_SLOTS if watched else 0) for _ in range(3))
    number, total, variance = (take(len(layout.reliability_edges) + 1 if watched else 0) for _ in range(3))
    schema = take(len(layout.schema_inputs) * len(SCHEMA_KINDS))
    queue = take(LATENCY_BUCKETS)
    run = take(BATCH_SIZE_BUCKETS * LATENCY_BUCKETS)
    return State(
        features, classes, scores, top, margin, entropy, number, total, variance, schema, queue, run, word, bound
    )


@lru_cache(maxsize=256)
def layout_digest(layout: Layout) -> bytes:
    """SHA-256 over everything that gives a counter its meaning. Snapshots of different digests never merge."""

    def exact(value: float | None) -> str | None:
        return None if value is None else (float(value) + 0.0).hex()

    def describe(feature: NumericFeature | CategoricalFeature) -> list[object]:
        where = [feature.name, feature.tensor, feature.column]
        if isinstance(feature, CategoricalFeature):
            return ["categorical", *where, list(feature.vocabulary), list(feature.other), feature.missing]
        edges, atoms = list(map(exact, feature.edges)), list(map(exact, feature.atoms))
        limits = (feature.valid_min, feature.valid_max, feature.missing, feature.center, feature.scale)
        return ["numeric", *where, edges, atoms, *map(exact, limits)]

    text = json.dumps(
        [
            [[t.name, t.columns, t.summary] for t in layout.tensors],
            [describe(feature) for feature in layout.features],
            layout.classes,
            [describe(score) for score in layout.scores],
            [exact(edge) for edge in layout.reliability_edges],
            list(layout.schema_inputs),
        ],
        separators=(",", ":"),
    )
    return hashlib.sha256(text.encode()).digest()
