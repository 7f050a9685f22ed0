"""What every kernel counts and where: the one contract of `native`, `numba` and `reference`.

A *layout* says what is watched, a *sketch* counts it. All state is additive (integers, and minima and maxima),
so that snapshots of shards, processes and machines merge exactly, in any order.

A value of a numeric feature falls into exactly one slot; the first rule that applies wins:

1. MISSING       it equals `missing` (a NaN `missing` matches every NaN)
2. NAN           it is NaN
3. POS_INF, NEG_INF
4. OUT_OF_RANGE  x < valid_min or x > valid_max
5. an atom       x == atoms[i], slot FIRST_ATOM + i  (-0.0 equals 0.0)
6. UNDERFLOW     x < edges[0];  OVERFLOW: x >= edges[-1]
7. bin i         edges[i] <= x < edges[i + 1]

Comparisons are those of float64. A float32 value is compared with the bound rounded *up* to float32, which gives
the same answer. Integers and booleans are converted to float64 first. numpy has no bfloat16: whoever holds BF16 bit
patterns widens them to float32 before counting.

Moments cover the values of rules 5 to 7: q = rint((x - center) * scale) in float64 (ties to even), clipped to
+-2**15; the sums of q and q * q are int64. Minimum and maximum cover the same values, as float64; -0.0 is kept as 0.0.

Sums of q and of probabilities wrap modulo 2**64, so that the difference of two snapshots is exact however old the
sketch.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from kedge.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from kedge.kernel.snapshot import Counts

MAX_BINS: Final = 20
MAX_ATOMS: Final = 5
NUMERIC_SLOTS: Final = 32
FIRST_ATOM: Final = MAX_BINS
UNDERFLOW: Final = 25
OVERFLOW: Final = 26
OUT_OF_RANGE: Final = 27
NAN: Final = 28
POS_INF: Final = 29
NEG_INF: Final = 30
MISSING: Final = 31

MAX_VOCABULARY: Final = 60
CATEGORICAL_SLOTS: Final = 64
CAT_OTHER: Final = 60
CAT_UNSEEN: Final = 61
CAT_MISSING: Final = 62
CAT_INVALID: Final = 63

MOMENT_CLIP: Final = 2**15
MAX_SCORES: Final = 32
"""Classes whose score is kept as a histogram each; a wider output keeps class counts and confidence only."""

CONFIDENCE_BINS: Final = 20
"""Equal-width bins on [0, 1] for top probability, margin and entropy / ln C: min(19, floor(value * 20)) in float64."""
CONFIDENCE_SLOTS: Final = 32
"""The bins, then slot CONFIDENCE_INVALID for rows whose probabilities are not finite or leave [0, 1]."""
CONFIDENCE_INVALID: Final = 31
RELIABILITY_BINS: Final = 20
"""At most. Each keeps n, sum of p, sum of p * (1 - p) of the top probability p; a p equal to an edge is above it."""
PROBABILITY_UNIT: Final = 2.0**32
"""Probabilities are summed as rint(p * 2**32) in int64, p * (1 - p) likewise."""

LATENCY_SUB_BITS: Final = 6
LATENCY_BUCKETS: Final = 2048
"""Nanoseconds below 64 have a bucket each; above, 64 an octave (midpoint within 0.8 %), up to 2**37 ns."""
BATCH_SIZE_BUCKETS: Final = 12
"""Rows a batch: 1, 2, 3-4, 5-8, ..., 513-1024, more; bucket = min(11, ceil(log2(rows)))."""
STATUS_CODES: Final = 17
SCHEMA_KINDS: Final = ("missing", "mistyped", "misshaped")


@dataclass(frozen=True)
class NumericFeature:
    """One numeric value a row, counted into 32 slots.

    Attributes:
        name: feature name.
        tensor: index into `Layout.tensors` of the tensor that carries it.
        column: column of a [N, F] tensor; 0 for a tensor of shape [N] or [N, 1]. For a `SummaryTensor`: 0 mean,
            1 standard deviation (population), 2 L2 norm, 3 minimum, 4 maximum of the row.
        edges: 2 to 21 finite, strictly increasing bounds of the reference's equal-frequency bins.
        atoms: up to 5 finite, distinct, increasing values that carry much of the reference's mass.
        valid_min, valid_max: the schema's valid range, inclusive; infinite where there is none.
        missing: what stands for missing: NaN, a sentinel, or None where nothing does.
        center, scale: of the moments; scale is finite and > 0.

    Raises:
        KernelError: a bound is not as stated.
    """

    name: str
    tensor: int
    column: int
    edges: tuple[float, ...]
    atoms: tuple[float, ...] = ()
    valid_min: float = -math.inf
    valid_max: float = math.inf
    missing: float | None = math.nan
    center: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        def refuse(what: str) -> None:
            raise KernelError(f"feature '{self.name}': {what}")

        if not 2 <= len(self.edges) <= MAX_BINS + 1:
            refuse(f"needs 2 to {MAX_BINS + 1} edges, got {len(self.edges)}")
        if len(self.atoms) > MAX_ATOMS:
            refuse(f"has {len(self.atoms)} atoms; at most {MAX_ATOMS} are kept")
        for values, label in ((self.edges, "edges"), (self.atoms, "atoms")):
            if not all(map(math.isfinite, values)):
                refuse(f"{label} must be finite")
            if any(b <= a for a, b in itertools.pairwise(values)):
                refuse(f"{label} must increase strictly")
        if math.isnan(self.valid_min) or math.isnan(self.valid_max) or self.valid_min > self.valid_max:
            refuse(f"valid range [{self.valid_min}, {self.valid_max}] is empty")
        if not (math.isfinite(self.center) and math.isfinite(self.scale) and self.scale > 0):
            refuse("center must be finite and scale finite and above zero")


@dataclass(frozen=True)
class CategoricalFeature:
    """One category a row, counted into 64 slots.

    A string tensor is matched as UTF-8 bytes against a vocabulary of strings. An integer or boolean tensor is matched
    as int64 against a vocabulary of integers; unsigned values of 2**63 and more are UNSEEN. A floating tensor is
    matched as int64 where the value is integral and in range; NaN is MISSING; any other value is INVALID. Where the
    kinds differ (a string tensor and a vocabulary of integers, or the reverse) every value is INVALID, but a floating
    NaN is MISSING.

    Attributes:
        name, tensor, column: as in `NumericFeature`.
        vocabulary: up to 60 distinct categories, most frequent in the reference first; slot = position.
        other: categories that the reference knows but that are rare; they share slot OTHER.
        missing: the category that stands for missing (such as ""), or None.

    Raises:
        KernelError: the vocabulary is empty, too long, mixed in type, has duplicates or holds `missing`, or an integer
            does not fit int64.
    """

    name: str
    tensor: int
    column: int
    vocabulary: tuple[str, ...] | tuple[int, ...]
    other: tuple[str, ...] | tuple[int, ...] = ()
    missing: str | int | None = None

    def __post_init__(self) -> None:
        known = (*self.vocabulary, *self.other, *(() if self.missing is None else (self.missing,)))
        if not 1 <= len(self.vocabulary) <= MAX_VOCABULARY:
            raise KernelError(
                f"feature '{self.name}': needs 1 to {MAX_VOCABULARY} categories, got {len(self.vocabulary)}"
            )
        if {type(value) for value in known} not in ({str}, {int}):
            raise KernelError(f"feature '{self.name}': categories must be all strings or all integers")
        if len(set(known)) != len(known):
            raise KernelError(f"feature '{self.name}': a category appears twice")
        if any(isinstance(value, int) and not -(2**63) <= value < 2**63 for value in known):
            raise KernelError(f"feature '{self.name}': a category does not fit 64 bits")
        try:
            "".join(value for value in known if isinstance(value, str)).encode()
        except UnicodeEncodeError:
            raise KernelError(f"feature '{self.name}': a category is not valid Unicode") from None


@dataclass(frozen=True)
class Tensor:
    """An input tensor the layout reads: [N], [N, 1] or [N, F]; a summary tensor has any trailing shape of F elements.

    Attributes:
        name: as in the request.
        columns: F; 1 for [N] and [N, 1].
        summary: the row is wide (an image, an embedding): its five summary values are the features, computed in
            float64 over eight strided partial sums (element i goes to sum i % 8, the eight are added pairwise:
            ((0+1)+(2+3))+((4+5)+(6+7))), so that every kernel gets the same bits. The deviation is two-pass. A NaN
            anywhere in the row makes all five NaN.

    Raises:
        KernelError: there are no columns.
    """

    name: str
    columns: int
    summary: bool = False

    def __post_init__(self) -> None:
        if self.columns < 1:
            raise KernelError(f"tensor '{self.name}' has {self.columns} columns; at least 1 is needed")


@dataclass(frozen=True)
class Layout:
    """All that one sketch watches. The offsets of every kernel's state follow from it.

    Attributes:
        tensors: input tensors, in the order `Sketch.observe` takes them.
        features: what is counted of them.
        classes: number of classes predicted; 0 for regression or when predictions are not watched.
        scores: one feature a class score (classification, at most MAX_SCORES) or the one predicted value (regression);
            their `tensor` is 0 and `column` the class.
        reliability_edges: inner edges (0 to 19, increasing) of the bins of top probability; empty edges: one bin.
        schema_inputs: input names whose schema violations are counted.

    Raises:
        KernelError: a feature points outside its tensor, or a limit is passed.
    """

    tensors: tuple[Tensor, ...] = ()
    features: tuple[NumericFeature | CategoricalFeature, ...] = ()
    classes: int = 0
    scores: tuple[NumericFeature, ...] = ()
    reliability_edges: tuple[float, ...] = ()
    schema_inputs: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for feature in self.features:
            if not 0 <= feature.tensor < len(self.tensors):
                raise KernelError(f"feature '{feature.name}' reads tensor {feature.tensor}, of {len(self.tensors)}")
            tensor = self.tensors[feature.tensor]
            width = 5 if tensor.summary else tensor.columns
            if tensor.summary and isinstance(feature, CategoricalFeature):
                raise KernelError(f"feature '{feature.name}' is categorical; '{tensor.name}' is a summary")
            if not 0 <= feature.column < width:
                raise KernelError(
                    f"feature '{feature.name}' reads column {feature.column} of '{tensor.name}' [N, {width}]"
                )
        if self.classes < 0:
            raise KernelError(f"{self.classes} classes")
        if len(self.scores) > MAX_SCORES:
            raise KernelError(f"{len(self.scores)} score histograms; at most {MAX_SCORES}")
        for score in self.scores:
            if score.tensor != 0 or not 0 <= score.column < max(1, self.classes):
                raise KernelError(f"score '{score.name}' reads column {score.column} of {max(1, self.classes)}")
        edges = self.reliability_edges
        if len(edges) > RELIABILITY_BINS - 1:
            raise KernelError(f"{len(edges)} reliability edges; at most {RELIABILITY_BINS - 1}")
        if not all(map(math.isfinite, edges)) or any(b <= a for a, b in itertools.pairwise(edges)):
            raise KernelError("reliability edges must be finite and increase strictly")
        if len(set(self.schema_inputs)) != len(self.schema_inputs):
            raise KernelError("an input appears twice in schema_inputs")


class Sketch(Protocol):
    """Counts of one (bundle, arm, epoch) by one writer. Not thread-safe: one writer, no other reader.

    Every method copies nothing that is C-contiguous or strided by whole elements, and releases the GIL where the
    implementation is compiled.
    """

    layout: Layout

    def observe(self, tensors: Sequence[NDArray[Any]]) -> None:
        """Count N rows of inputs.

        Args:
            tensors: one array a `layout.tensors` entry, in order, of equal N; float32, float64, float16, any integer,
                bool, or for strings numpy 'S' or 'U' or object arrays of `bytes` or `str`. N = 0 is legal.

        Raises:
            KernelError: a count, shape or dtype does not fit the layout; nothing was counted.
        """

    def observe_predictions(
        self, classes: NDArray[np.int64] | None, scores: NDArray[Any] | None, *, probabilities: bool = False
    ) -> None:
        """Count N predictions.

        Args:
            classes: [N] or [N, 1] ids of any integer dtype in [0, layout.classes); others are counted as class
                `layout.classes`. None: not known. Refused where the layout has no classes.
            scores: [N, C] float32, float64 or float16: class scores, or [N] / [N, 1] the regression value. None: not
                known.
            probabilities: the scores are probabilities of `layout.classes` classes: top probability, its margin over
                the second, entropy / ln C and reliability are counted too. With one class the margin is the top and
                the entropy 0.

        Raises:
            KernelError: shapes or dtypes do not fit the layout; nothing was counted.
        """

    def observe_batch(self, queue_ns: NDArray[np.int64], run_ns: int, rows: int) -> None:
        """Count one batch: queue time a request ([R] int64), one run time, the rows it had (at least 1).

        Negative times count as 0.
        """

    def observe_status(self, code: int, count: int = 1) -> None:
        """Count `count` (0 or more) answers of gRPC status `code` (0 to 16; anything else counts as 2, UNKNOWN)."""

    def observe_schema(self, kind: str, name: str) -> None:
        """Count one schema violation: `kind` in SCHEMA_KINDS for a known input, or any name for kind "unknown".

        Raises:
            KernelError: another kind, or an input that `layout.schema_inputs` does not list.
        """

    def merge(self, counts: Counts) -> None:
        """Add counts of the same layout. Raises `SnapshotError` for another layout."""

    def snapshot(self) -> bytes:
        """Everything counted so far, as versioned bytes (see `kedge.kernel.snapshot`)."""

    def reset(self) -> None:
        """Forget everything counted."""


class Kernel(Protocol):
    """A factory of sketches.

    Attributes:
        name: ``native``, ``numba`` or ``reference``.
        isa: the instruction set in use, such as ``avx2``, ``llvm`` or ``numpy``.
    """

    name: str
    isa: str

    def sketch(self, layout: Layout) -> Sketch:
        """A fresh sketch with every count at zero."""
