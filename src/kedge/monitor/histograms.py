"""Every watched distribution of a bundle: the reference's counts, where the kernel counts it, what cells stand for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kedge.errors import BundleError
from kedge.kernel import contract as k
from kedge.kernel.state import state_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from kedge.bundle.contents import Bundle
    from kedge.bundle.manifest import NumericReference
    from kedge.kernel.state import FeatureState
    from kedge.monitor.verdict import Subject

Faults = tuple[tuple[str, tuple[int, ...]], ...]

NUMERIC_FAULTS: Faults = (
    ("missing", (k.MISSING,)),
    ("invalid", (k.NAN, k.POS_INF, k.NEG_INF)),
    ("out of range", (k.OUT_OF_RANGE,)),
)
CATEGORICAL_FAULTS: Faults = (
    ("missing", (k.CAT_MISSING,)),
    ("invalid", (k.CAT_INVALID,)),
    ("unseen", (k.CAT_UNSEEN,)),
)
CONFIDENCE_FAULTS: Faults = (("invalid", (k.CONFIDENCE_INVALID,)),)


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of the usable values; NaN where there are none."""

    mean: float
    std: float


@dataclass(frozen=True, eq=False)
class Side:
    """The reference's side of one distribution.

    Attributes:
        subject, name: what is watched.
        kind: ``numeric`` or ``categorical``.
        place: where the kernel's words count the same cells.
        reference: [cells] int64.
        labels: what each cell stands for.
        order: cells in order of value, for display.
        faults: name and cells of each kind of unusable value.
        positions: of a numeric one, a value for every cell that stands for values; else empty.
        center, scale: of the kernel's moments; scale 0 where there are none.
        moments: of the reference; None where there are none.
        natural_variation: PSI* of the reference against itself over time; 0 if unknown.
    """

    subject: Subject
    name: str
    kind: Literal["numeric", "categorical"]
    place: slice
    reference: NDArray[np.int64]
    labels: tuple[str, ...]
    order: tuple[int, ...]
    faults: Faults = ()
    positions: tuple[tuple[int, float], ...] = ()
    center: float = 0.0
    scale: float = 0.0
    moments: Moments | None = None
    natural_variation: float = 0.0

    def current(self, words: NDArray[np.int64]) -> NDArray[np.int64]:
        """[cells] counted."""
        return words[self.place]

    def now(self, words: NDArray[np.int64]) -> Moments | None:
        """Moments of what was counted; None where there are none to compare with."""
        if self.moments is None:
            return None
        n = int(words[self.place][: k.OVERFLOW + 1].sum())
        if not n:
            return Moments(math.nan, math.nan)
        first, second = int(words[self.place.stop]) / n, int(words[self.place.stop + 1]) / n
        return Moments(self.center + first / self.scale, math.sqrt(max(0.0, second - first * first)) / self.scale)


def sides(bundle: Bundle) -> tuple[Side, ...]:
    """Every distribution that the bundle has a reference of; none without a reference.

    Raises:
        BundleError: the reference is of another shape than its layout.
    """
    return tuple(_sides(bundle)) if bundle.distributions is not None else ()


def _sides(bundle: Bundle) -> Iterator[Side]:
    reference = bundle.distributions
    assert reference is not None  # noqa: S101 - `sides` looked
    layout = bundle.layout()
    state = state_of(layout)
    for ref, feature, place in zip(reference.features, layout.features, state.features, strict=True):
        if ref.kind == "numeric":
            yield _numeric("feature", ref, place)
        elif isinstance(feature, k.CategoricalFeature):
            yield _categorical(ref.name, ref.counts, feature.vocabulary, place, ref.natural_variation)
    # Classes and confidence are functions of the scores (and those of the features), and no function varies more than
    # what it is made of; the reference measures the latter.
    varying = reference.scores or reference.features
    natural = max((item.natural_variation for item in varying), default=0.0)
    classes = bundle.serving.prediction.classes if bundle.serving.prediction else ()
    if reference.classes and layout.classes:
        known = _fit(reference.classes, layout.classes + 1, "classes", pad=True)
        labels = (*classes, "other")
        order = tuple(range(len(labels)))
        yield Side("prediction", "class", "categorical", state.classes, known, labels, order, natural_variation=natural)
    scores = list(zip(reference.scores, state.scores, strict=False))
    for ref, place in scores[1:] if layout.classes == 2 else scores:  # of two probabilities one says all
        yield _numeric("score", ref, place)
    for name, values, slots in (
        ("top", reference.top, state.top),
        ("margin", reference.margin, state.margin),
        ("entropy", reference.entropy, state.entropy),
    ):
        if values and layout.classes:
            yield _confidence(name, values, slots, natural)


def _fit(counts: Sequence[int], cells: int, name: str, *, pad: bool = False) -> NDArray[np.int64]:
    array = np.zeros(cells, dtype=np.int64)
    if len(counts) > cells or (len(counts) < cells and not pad):
        raise BundleError(f"reference of '{name}' has {len(counts)} cells, expected {cells}; build the bundle again")
    array[: len(counts)] = counts
    return array


def _numeric(subject: Subject, ref: NumericReference, place: FeatureState) -> Side:
    reference = _fit(ref.counts, k.NUMERIC_SLOTS, ref.name)
    labels = [""] * k.NUMERIC_SLOTS
    at: dict[int, float] = {}
    positions: dict[int, float] = {k.UNDERFLOW: ref.edges[0], k.OVERFLOW: ref.edges[-1]}
    for i, (low, high) in enumerate(zip(ref.edges, ref.edges[1:], strict=False)):
        labels[i] = f"[{low:.4g}, {high:.4g})"
        at[i] = low
        positions[i] = ref.bin_means[i] if i < len(ref.bin_means) else low / 2 + high / 2
    for i, atom in enumerate(ref.atoms):
        labels[k.FIRST_ATOM + i] = f"= {atom:.4g}"
        at[k.FIRST_ATOM + i] = positions[k.FIRST_ATOM + i] = atom
    labels[k.UNDERFLOW], labels[k.OVERFLOW] = f"< {ref.edges[0]:.4g}", f">= {ref.edges[-1]:.4g}"
    at[k.UNDERFLOW], at[k.OVERFLOW] = -math.inf, math.inf
    named = {k.OUT_OF_RANGE: "out of range", k.NAN: "NaN", k.POS_INF: "+inf", k.NEG_INF: "-inf", k.MISSING: "missing"}
    for slot, label in named.items():
        labels[slot] = label
    order = (*sorted(at, key=lambda slot: (at[slot], slot >= k.FIRST_ATOM)), *named)
    ordered = tuple(sorted(positions.items(), key=lambda item: (item[1], item[0])))
    return Side(
        subject,
        ref.name,
        "numeric",
        place.slots,
        reference,
        tuple(labels),
        order,
        NUMERIC_FAULTS,
        ordered,
        ref.center,
        ref.scale,
        _moments(ordered, reference),
        ref.natural_variation,
    )


def _moments(positions: tuple[tuple[int, float], ...], counts: NDArray[np.int64]) -> Moments:
    """From bin means and atoms: the mean is exact, the deviation misses the (small) spread inside bins."""
    weights = counts[[slot for slot, _ in positions]]
    if not weights.sum():
        return Moments(math.nan, math.nan)
    values = np.array([value for _, value in positions])
    mean = float(np.average(values, weights=weights))
    return Moments(mean, math.sqrt(float(np.average((values - mean) ** 2, weights=weights))))


def _categorical(
    name: str, counts: Sequence[int], vocabulary: Sequence[Any], place: FeatureState, natural_variation: float
) -> Side:
    labels = [str(value) for value in vocabulary] + [""] * (k.CAT_OTHER - len(vocabulary))
    labels += ["other known", "unseen", "missing", "invalid"]
    order = (*range(len(vocabulary)), *range(k.CAT_OTHER, k.CATEGORICAL_SLOTS))
    return Side(
        "feature",
        name,
        "categorical",
        place.slots,
        _fit(counts, k.CATEGORICAL_SLOTS, name),
        tuple(labels),
        order,
        CATEGORICAL_FAULTS,
        natural_variation=natural_variation,
    )


def _confidence(name: str, counts: Sequence[int], place: slice, natural: float) -> Side:
    width = 1 / k.CONFIDENCE_BINS
    labels = [f"[{i * width:.2f}, {(i + 1) * width:.2f})" for i in range(k.CONFIDENCE_BINS)]
    labels += [""] * (k.CONFIDENCE_SLOTS - len(labels))
    labels[k.CONFIDENCE_INVALID] = "invalid"
    order = (*range(k.CONFIDENCE_BINS), k.CONFIDENCE_INVALID)
    known = _fit(counts, k.CONFIDENCE_SLOTS, name, pad=True)
    return Side(
        "confidence", name, "numeric", place, known, tuple(labels), order, CONFIDENCE_FAULTS, natural_variation=natural
    )
