"""Reference distributions: bins chosen from the reference alone, counts by the kernel that will count the traffic."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import numpy as np

from kedge.build.features import SUMMARIES
from kedge.bundle import layout as layouts
from kedge.bundle.manifest import CategoricalReference, Distributions, NumericReference
from kedge.bundle.slices import Slices
from kedge.kernel.contract import CATEGORICAL_SLOTS, MAX_ATOMS, MAX_BINS, MAX_SCORES, NUMERIC_SLOTS
from kedge.kernel.select import select
from kedge.kernel.snapshot import Counts
from kedge.stats import psi_corrected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from kedge.build.prediction import Read
    from kedge.bundle.manifest import Conformal, Feature, Manifest, Reliability, Schema, Serving
    from kedge.kernel.contract import Layout
    from kedge.kernel.snapshot import FeatureCounts

KERNEL: Final = "reference"
"""All kernels count alike, save that an entropy on a bin's very edge may fall to either side; one kernel everywhere
keeps equal inputs equal bytes, and this one is everywhere and has nothing to compile."""

RESOLUTION: Final = 1024.0
"""Steps of the moments in a standard deviation: the clip at 2**15 is 32 of them away."""
MIN_BLOCKS: Final = 20
BLOCK_ROWS: Final = 1000
MAX_BLOCKS: Final = 1000
NATURAL_QUANTILE: Final = 0.99

_R = TypeVar("_R", bound=NumericReference | CategoricalReference)


def feature_values(feature: Feature, tensor: NDArray[Any]) -> NDArray[Any]:
    """[N] values of a feature in its tensor; of a summary, computed in float64."""
    if feature.kind != "summary":
        return tensor.reshape(len(tensor), -1)[:, feature.source.column]
    rows = tensor.reshape(len(tensor), -1).astype(np.float64)
    with np.errstate(all="ignore"):
        summary = {
            "mean": lambda: rows.mean(axis=1),
            "std": lambda: rows.std(axis=1),
            "norm": lambda: np.sqrt((rows**2).sum(axis=1)),
            "min": lambda: rows.min(axis=1),
            "max": lambda: rows.max(axis=1),
        }
        values: NDArray[Any] = summary[SUMMARIES[feature.source.column]]()
        return values


def numeric(
    name: str, values: NDArray[Any], regular: NDArray[np.bool_] | None = None, cuts: Sequence[float] = ()
) -> NumericReference:
    """Bins, atoms and moments of one numeric feature, counts still zero.

    Up to 5 values with more than a twentieth of the mass are atoms. The rest lies in up to 20 bins of equal frequency,
    whose last edge is just above the greatest value, so that everything in the reference is in a bin or an atom.

    Args:
        name: of the feature or score.
        values: [N] any real dtype, as clients send them.
        regular: [N] which to use: not missing and within the valid range. Infinities and NaN are left out anyway.
        cuts: increasing values at which a bin must end, so that rows between them can be told from the counts; bins
            beside them have another share then. More than there are bins for are left out.
    """
    wide = values.astype(np.float64)
    usable = np.isfinite(wide) if regular is None else np.isfinite(wide) & regular
    wide = wide[usable] + 0.0  # -0.0 becomes 0.0
    if not len(wide):
        zeros = (0,) * NUMERIC_SLOTS
        return NumericReference(name=name, edges=(0.0, 1.0), bin_means=(0.5,), center=0.0, scale=1.0, counts=zeros)
    found, counts = np.unique(wide, return_counts=True)
    heavy = np.lexsort((found, -counts))[:MAX_ATOMS]
    atoms = np.sort(found[heavy[counts[heavy] * MAX_BINS > len(wide)]])
    rest = wide[~np.isin(wide, atoms)]
    base = rest if len(rest) else wide
    edges = np.unique(np.quantile(base, np.linspace(0, 1, MAX_BINS + 1), method="inverted_cdf"))
    edges = edges[:-1] if len(edges) > 1 else edges
    edges = np.append(edges, np.nextafter(base.max(), np.inf))
    edges = _cut(edges, cuts)
    with np.errstate(over="ignore", invalid="ignore"):  # near the ends of float64 sums overflow; means fall back
        held, _ = np.histogram(rest, edges)
        sums, _ = np.histogram(rest, edges, weights=rest)
        means = sums / np.maximum(held, 1)
        means = np.where((held > 0) & np.isfinite(means), means, edges[:-1] / 2 + edges[1:] / 2)
        center, deviation = float(wide.mean()), float(wide.std())
    scale = RESOLUTION / deviation if deviation > 0 else 0.0
    if not (math.isfinite(center) and 0 < scale < math.inf):
        center, scale = (center if math.isfinite(center) else 0.0), 1.0
    return NumericReference(
        name=name,
        edges=tuple(edges.tolist()),
        atoms=tuple(atoms.tolist()),
        bin_means=tuple(means.tolist()),
        center=center,
        scale=scale,
        counts=(0,) * NUMERIC_SLOTS,
    )


def _cut(edges: NDArray[np.float64], cuts: Sequence[float]) -> NDArray[np.float64]:
    """Edges with the cuts among them; of the others those nearest to a cut make room, but not the first and last."""
    if not cuts or len(cuts) > MAX_BINS - 1:
        return edges
    merged = np.union1d(edges, cuts)
    while len(merged) > MAX_BINS + 1:
        free = [at for at in range(1, len(merged) - 1) if merged[at] not in cuts]
        merged = np.delete(merged, min(free, key=lambda at: min(abs(merged[at] - cut) for cut in cuts)))
    return merged


@dataclass(frozen=True)
class Subject:
    """What of a bundle decides its layout."""

    manifest: Manifest
    schema: Schema
    serving: Serving


def distributions(
    subject: Subject,
    tensors: Mapping[str, NDArray[Any]],
    predicted: Read | None,
    *,
    reliability: Reliability | None,
    conformal: Conformal | None,
    timed: bool,
) -> Distributions:
    """What traffic is compared with.

    Args:
        subject: the bundle so far.
        tensors: inputs by name for the reference's rows, in order of time where `timed`.
        predicted: what the model says of them, or None where predictions are not watched.
        reliability: measured on the calibration data.
        conformal: likewise.
        timed: natural variation is measured, between blocks of the rows.
    """
    rows = len(next(iter(tensors.values())))
    cuts = {item.feature.name: item.edges for item in Slices.of(subject.schema).features}
    blank = Distributions(
        rows=rows,
        features=tuple(_blank(feature, tensors, cuts.get(feature.name, ())) for feature in subject.schema.features),
        scores=_scores(predicted),
        reliability=reliability,
        conformal=conformal,
    )
    layout = layouts.build(subject.manifest, subject.schema, blank, subject.serving)
    blocks = _blocks(layout, tensors, predicted, rows)
    total = sum(blocks[1:], start=blocks[0])
    parts = blocks if timed and len(blocks) >= MIN_BLOCKS else []
    features = [
        _filled(item, total.features[i], [part.features[i] for part in parts]) for i, item in enumerate(blank.features)
    ]
    scores = [_filled(item, total.scores[i], [part.scores[i] for part in parts]) for i, item in enumerate(blank.scores)]
    confident = predicted is not None and predicted.probabilities
    return blank.model_copy(
        update={
            "features": tuple(features),
            "scores": tuple(scores),
            "classes": tuple(total.classes.tolist()) if layout.classes else (),
            "top": tuple(total.top.tolist()) if confident else (),
            "margin": tuple(total.margin.tolist()) if confident else (),
            "entropy": tuple(total.entropy.tolist()) if confident else (),
        }
    )


def _blank(
    feature: Feature, tensors: Mapping[str, NDArray[Any]], cuts: Sequence[float]
) -> NumericReference | CategoricalReference:
    if feature.kind == "categorical":
        return CategoricalReference(name=feature.name, counts=(0,) * CATEGORICAL_SLOTS)
    values = feature_values(feature, tensors[feature.source.tensor])
    low = -math.inf if feature.valid.min is None else feature.valid.min
    high = math.inf if feature.valid.max is None else feature.valid.max
    wide = values.astype(np.float64)
    regular = (wide >= low) & (wide <= high)
    if feature.missing.kind == "sentinel":
        regular &= wide != feature.missing.value
    return numeric(feature.name, values, regular, cuts)


def _scores(predicted: Read | None) -> tuple[NumericReference, ...]:
    if predicted is None or predicted.scores is None:
        return ()
    if not predicted.probabilities:
        return (numeric("value", predicted.scores),)
    if predicted.scores.shape[1] > MAX_SCORES:
        return ()
    return tuple(numeric(f"class {i}", predicted.scores[:, i]) for i in range(predicted.scores.shape[1]))


def _blocks(layout: Layout, tensors: Mapping[str, NDArray[Any]], predicted: Read | None, rows: int) -> list[Counts]:
    """Counts of equal stretches of the rows; their sum counts all of them."""
    kernel = select(KERNEL)
    number = min(MAX_BLOCKS, max(1, rows // BLOCK_ROWS))
    bounds = np.linspace(0, rows, number + 1).astype(np.int64).tolist()
    blocks = []
    for start, end in itertools.pairwise(bounds):
        sketch = kernel.sketch(layout)
        sketch.observe([tensors[tensor.name][start:end] for tensor in layout.tensors])
        if predicted is not None:
            part = predicted.part(slice(start, end))
            sketch.observe_predictions(part.classes, part.scores, probabilities=part.probabilities)
        blocks.append(Counts.parse(sketch.snapshot(), layout))
    return blocks


def _filled(item: _R, whole: FeatureCounts, parts: Sequence[FeatureCounts]) -> _R:
    """A blank reference with its counts, and the natural variation between `parts` and the whole."""
    update: dict[str, Any] = {"counts": tuple(whole.slots.tolist())}
    if whole.numeric and whole.n:
        update |= {"minimum": whole.minimum, "maximum": whole.maximum}
    if parts:
        effects = psi_corrected(whole.slots, np.stack([part.slots for part in parts]))
        update["natural_variation"] = float(np.quantile(effects, NATURAL_QUANTILE))
    return cast("_R", item.model_copy(update=update))
