"""Both sides of every watched distribution as plain histograms: counts, and what each cell stands for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kedge.errors import BundleError
from kedge.kernel import contract as k

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from kedge.bundle.contents import Bundle
    from kedge.bundle.manifest import NumericReference
    from kedge.kernel.snapshot import Counts, FeatureCounts
    from kedge.monitor.report import Subject

NUMERIC_FAULTS = (
    ("missing", (k.MISSING,)),
    ("invalid", (k.NAN, k.POS_INF, k.NEG_INF)),
    ("out of range", (k.OUT_OF_RANGE,)),
)
CATEGORICAL_FAULTS = (("missing", (k.CAT_MISSING,)), ("invalid", (k.CAT_INVALID,)), ("unseen", (k.CAT_UNSEEN,)))
CONFIDENCE_FAULTS = (("invalid", (k.CONFIDENCE_INVALID,)),)


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of the usable values; NaN where there are none."""

    mean: float
    std: float


@dataclass(frozen=True)
class Pair:
    """One distribution, current against reference.

    Attributes:
        subject, name, kind: as in `kedge.monitor.report.Line`.
        reference, current: int64 counts over the same cells.
        labels: what each cell stands for.
        order: cells in order of value, for display.
        faults: name and cells of each kind of unusable value.
        reference_moments, current_moments: of a numeric one, else None.
        natural_variation: PSI* of the reference against itself over time; 0 if unknown.
    """

    subject: Subject
    name: str
    kind: Literal["numeric", "categorical"]
    reference: NDArray[np.int64]
    current: NDArray[np.int64]
    labels: tuple[str, ...]
    order: tuple[int, ...]
    faults: tuple[tuple[str, tuple[int, ...]], ...] = ()
    reference_moments: Moments | None = None
    current_moments: Moments | None = None
    natural_variation: float = 0.0


def pairs(bundle: Bundle, counts: Counts) -> Iterator[Pair]:
    """Every distribution that the bundle has a reference of and the counts cover.

    Raises:
        BundleError: the bundle has no reference, or one of another shape than its layout.
    """
    reference = bundle.distributions
    if reference is None:
        raise BundleError(
            f"bundle {bundle.name} {bundle.version} carries no reference distributions, so there is no drift to "
            "measure; build it with 'data' in its spec"
        )
    layout = counts.layout
    for ref, feature, now in zip(reference.features, layout.features, counts.features, strict=True):
        if ref.kind == "numeric":
            yield _numeric("feature", ref, now)
        elif isinstance(feature, k.CategoricalFeature):
            yield _categorical(ref.name, ref.counts, feature.vocabulary, now.slots, ref.natural_variation)
    classes = bundle.serving.prediction.classes if bundle.serving.prediction else ()
    if reference.classes and layout.classes:
        known = _fit(reference.classes, layout.classes + 1, "classes", pad=True)
        labels = (*classes, "other")
        yield Pair("prediction", "class", "categorical", known, counts.classes, labels, tuple(range(len(labels))))
    scores = list(zip(reference.scores, counts.scores, strict=False))
    for ref, now in scores[1:] if layout.classes == 2 else scores:  # of two probabilities one says all
        yield _numeric("score", ref, now)
    for name, values, current in (
        ("top", reference.top, counts.top),
        ("margin", reference.margin, counts.margin),
        ("entropy", reference.entropy, counts.entropy),
    ):
        if values and len(current):
            yield _confidence(name, values, current)


def _fit(counts: Sequence[int], cells: int, name: str, *, pad: bool = False) -> NDArray[np.int64]:
    array = np.zeros(cells, dtype=np.int64)
    if len(counts) > cells or (len(counts) < cells and not pad):
        raise BundleError(f"reference of '{name}' has {len(counts)} cells, expected {cells}; build the bundle again")
    array[: len(counts)] = counts
    return array


def _numeric(subject: Subject, ref: NumericReference, now: FeatureCounts) -> Pair:
    reference = _fit(ref.counts, k.NUMERIC_SLOTS, ref.name)
    labels = [""] * k.NUMERIC_SLOTS
    at: dict[int, float] = {}
    for i, (low, high) in enumerate(zip(ref.edges, ref.edges[1:], strict=False)):
        labels[i] = f"[{low:.4g}, {high:.4g})"
        at[i] = low
    for i, atom in enumerate(ref.atoms):
        labels[k.FIRST_ATOM + i] = f"= {atom:.4g}"
        at[k.FIRST_ATOM + i] = atom
    labels[k.UNDERFLOW], labels[k.OVERFLOW] = f"< {ref.edges[0]:.4g}", f">= {ref.edges[-1]:.4g}"
    at[k.UNDERFLOW], at[k.OVERFLOW] = -math.inf, math.inf
    named = {k.OUT_OF_RANGE: "out of range", k.NAN: "NaN", k.POS_INF: "+inf", k.NEG_INF: "-inf", k.MISSING: "missing"}
    for slot, label in named.items():
        labels[slot] = label
    order = (*sorted(at, key=lambda slot: (at[slot], slot >= k.FIRST_ATOM)), *named)
    return Pair(
        subject,
        ref.name,
        "numeric",
        reference,
        now.slots,
        tuple(labels),
        order,
        NUMERIC_FAULTS,
        _reference_moments(ref, reference),
        _current_moments(ref, now),
        ref.natural_variation,
    )


def _reference_moments(ref: NumericReference, counts: NDArray[np.int64]) -> Moments:
    """From bin means and atoms: the mean is exact, the deviation misses the (small) spread inside bins."""
    middles = ref.bin_means or tuple((a + b) / 2 for a, b in zip(ref.edges, ref.edges[1:], strict=False))
    values = np.concatenate([np.asarray(middles, dtype=np.float64), np.asarray(ref.atoms, dtype=np.float64)])
    weights = np.concatenate([counts[: len(middles)], counts[k.FIRST_ATOM : k.FIRST_ATOM + len(ref.atoms)]])
    if not weights.sum():
        return Moments(math.nan, math.nan)
    mean = float(np.average(values, weights=weights))
    return Moments(mean, math.sqrt(float(np.average((values - mean) ** 2, weights=weights))))


def _current_moments(ref: NumericReference, now: FeatureCounts) -> Moments:
    if not now.n:
        return Moments(math.nan, math.nan)
    mean = now.sum_q / now.n
    return Moments(ref.center + mean / ref.scale, math.sqrt(max(0.0, now.sum_q2 / now.n - mean * mean)) / ref.scale)


def _categorical(
    name: str, counts: Sequence[int], vocabulary: Sequence[Any], now: NDArray[np.int64], natural_variation: float
) -> Pair:
    labels = [str(value) for value in vocabulary] + [""] * (k.CAT_OTHER - len(vocabulary))
    labels += ["other known", "unseen", "missing", "invalid"]
    order = (*range(len(vocabulary)), *range(k.CAT_OTHER, k.CATEGORICAL_SLOTS))
    return Pair(
        "feature",
        name,
        "categorical",
        _fit(counts, k.CATEGORICAL_SLOTS, name),
        now,
        tuple(labels),
        order,
        CATEGORICAL_FAULTS,
        natural_variation=natural_variation,
    )


def _confidence(name: str, counts: Sequence[int], now: NDArray[np.int64]) -> Pair:
    width = 1 / k.CONFIDENCE_BINS
    labels = [f"[{i * width:.2f}, {(i + 1) * width:.2f})" for i in range(k.CONFIDENCE_BINS)]
    labels += [""] * (k.CONFIDENCE_SLOTS - len(labels))
    labels[k.CONFIDENCE_INVALID] = "invalid"
    order = (*range(k.CONFIDENCE_BINS), k.CONFIDENCE_INVALID)
    known = _fit(counts, k.CONFIDENCE_SLOTS, name, pad=True)
    return Pair("confidence", name, "numeric", known, now, tuple(labels), order, CONFIDENCE_FAULTS)
