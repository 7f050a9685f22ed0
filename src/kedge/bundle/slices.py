"""Slices: parts of the traffic whose labels are reported apart, by the values of features that the schema names.

Every such feature has a few values with a place each: its most frequent categories, or the intervals between its edges,
and then what is rare, unseen or missing. A row has one id for all of them, which its prediction id carries in 16 bits:
1 + sum of place * stride over the features, in mixed radix, so that every feature's place can be read out again.
0 is a row that has none.

Ids live in prediction ids for a month and in the file of outcomes for as long as that is kept: how they come about is
part of both formats.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kedge.dtypes import widened
from kedge.errors import BundleError
from kedge.kernel.contract import CAT_MISSING, CAT_OTHER, CATEGORICAL_SLOTS, MAX_VOCABULARY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from kedge.bundle.manifest import Feature, Schema

CATEGORIES: Final = 20
"""Of a feature that have a slice each: the first of its vocabulary, which are the most frequent."""
MAX_SLICES: Final = 96
"""Values of all features of a bundle together: each is a row in the file of outcomes for every arm and cohort, and a
series of some metrics."""
MAX_ID: Final = (1 << 16) - 1
"""That a prediction id can hold."""
OTHER: Final = "(other)"
UNSEEN: Final = "(unseen)"
MISSING: Final = "(missing)"


@dataclass(frozen=True)
class SliceFeature:
    """A feature that slices.

    A category's place is that in the vocabulary. After the first `CATEGORIES` come, in this order, the others where
    there are more; what is not in the vocabulary, or is no category; and what is missing. A number's place is that of
    the interval it lies in, a value equal to an edge above it; then comes what is missing or NaN.

    Attributes:
        feature: as the schema has it.
        edges: of the intervals, increasing; empty for a categorical feature.
        values: names by place.
        stride: of a place in the id.
    """

    feature: Feature
    edges: tuple[float, ...]
    values: tuple[str, ...]
    stride: int

    @classmethod
    def of(cls, feature: Feature, edges: tuple[float, ...], stride: int) -> SliceFeature:
        """The feature with these edges; `stride` is the product of the sizes of those before it."""
        if feature.kind == "categorical":
            names = [_plain(str(category)) for category in feature.vocabulary[:CATEGORIES]]
            others = (OTHER,) if len(feature.vocabulary) > CATEGORIES else ()
            return cls(feature, (), (*names, *others, UNSEEN, MISSING), stride)
        texts = [f"{edge:g}" if float(f"{edge:g}") == edge else repr(edge) for edge in edges]
        between = (f"{low} to {high}" for low, high in itertools.pairwise(texts))
        return cls(feature, edges, (f"below {texts[0]}", *between, f"{texts[-1]} and above", MISSING), stride)

    def name(self, place: int) -> str:
        """``feature=value``, as eval/metrics.json has it."""
        return f"{self.feature.name}={self.values[place]}"

    @property
    def places_of_slots(self) -> tuple[int, ...]:
        """[64] the place of what falls into each of the kernel's slots of a categorical feature."""
        size, kept = len(self.values), min(CATEGORIES, len(self.feature.vocabulary))
        places = [size - 2] * CATEGORICAL_SLOTS
        places[:kept] = range(kept)
        if len(self.feature.vocabulary) > kept:
            places[kept:MAX_VOCABULARY] = [kept] * (MAX_VOCABULARY - kept)
            places[CAT_OTHER] = kept
        places[CAT_MISSING] = size - 1
        return tuple(places)

    def reader(self) -> Callable[[Any], int]:
        """From a value, as a tensor's `tolist` has it, to its place."""
        return self._of_categories() if self.feature.kind == "categorical" else self._of_numbers()

    def _of_categories(self) -> Callable[[Any], int]:
        unseen, missing = len(self.values) - 2, len(self.values) - 1
        table = {value: min(place, CATEGORIES) for place, value in enumerate(self.feature.vocabulary)}
        if self.feature.missing.kind == "sentinel":
            table[self.feature.missing.value] = missing

        def read(value: Any) -> int:
            if isinstance(value, float):
                if math.isnan(value):
                    return missing
                if not value.is_integer():  # infinite ones too
                    return unseen
                value = int(value)
            return table.get(value, unseen)

        return read

    def _of_numbers(self) -> Callable[[Any], int]:
        edges, last, policy = self.edges, len(self.values) - 1, self.feature.missing
        # A sentinel of a numeric feature is a number: bundle/layout.py refuses any other.
        sentinel = float(policy.value) if policy.kind == "sentinel" else math.nan  # type: ignore[arg-type]

        def read(value: Any) -> int:
            number = float(value)
            return last if math.isnan(number) or number == sentinel else bisect_right(edges, number)

        return read


@dataclass(frozen=True)
class Slices:
    """The slices of a bundle.

    Attributes:
        features: in the schema's order; empty where it names none.
    """

    features: tuple[SliceFeature, ...] = ()

    @classmethod
    def of(cls, schema: Schema) -> Slices:
        """The slices a schema names.

        Raises:
            BundleError: naming the feature that cannot slice, or the limit that is passed.
        """
        known = {feature.name: feature for feature in schema.features}
        found: list[SliceFeature] = []
        stride = 1
        for said in schema.slices:
            name, edges = (said, ()) if isinstance(said, str) else (said.feature, said.edges)
            if name not in known:
                raise BundleError(f"slices: there is no feature '{name}'")
            if reason := _fault(known[name], edges):
                raise BundleError(f"slices: feature '{name}' {reason}")
            if any(item.feature.name == name for item in found):
                raise BundleError(f"slices: feature '{name}' appears twice")
            found.append(SliceFeature.of(known[name], edges, stride))
            stride *= len(found[-1].values)
        count = sum(len(item.values) for item in found)
        if count > MAX_SLICES:
            raise BundleError(f"slices: the features have {count} together; at most {MAX_SLICES} are reported apart")
        if stride > MAX_ID:
            sizes = " x ".join(str(len(item.values)) for item in found)
            raise BundleError(
                f"slices: {sizes} = {stride} combinations; a prediction id can tell {MAX_ID} apart, so name fewer "
                "features or edges"
            )
        return cls(tuple(found))

    @property
    def places_of_features(self) -> tuple[tuple[SliceFeature, int], ...]:
        """Every slice as a feature and a place, feature by feature: its position here is its number."""
        return tuple((item, place) for item in self.features for place in range(len(item.values)))

    @property
    def names(self) -> tuple[str, ...]:
        """``feature=value`` of every slice, by number."""
        return tuple(item.name(place) for item, place in self.places_of_features)

    def numbers(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """[N, features] numbers of the slices that rows with these ids are in; -1 for an id of none."""
        rest, numbers, start = ids - 1, np.full((len(ids), len(self.features)), -1, np.int64), 0
        size = math.prod(len(item.values) for item in self.features)
        some = (ids > 0) & (ids <= size)
        for column, item in enumerate(self.features):
            places = rest // item.stride % len(item.values)
            numbers[some, column] = start + places[some]
            start += len(item.values)
        return numbers

    def places(self, tensors: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        """[N, features] places of N rows of inputs, each [N], [N, 1] or [N, F]."""
        columns = []
        for item in self.features:
            source = item.feature.source
            tensor = tensors[source.tensor]
            array = widened(tensor) if item.feature.dtype == "BF16" else tensor
            values = array.reshape(len(array), -1)[:, source.column].tolist()
            columns.append(np.fromiter(map(item.reader(), values), np.int64, len(values)))
        return np.stack(columns, axis=1)


def _fault(feature: Feature, edges: tuple[float, ...]) -> str | None:
    if feature.kind == "summary":
        return "is a summary; only a numeric or categorical one can slice"
    if feature.kind == "categorical":
        if edges:
            return "is categorical, so it has no edges to be cut at"
        return None if feature.vocabulary else "has no vocabulary to slice by"
    if not edges:
        return "is numeric; say the edges it is cut at, such as {feature: " + feature.name + ", edges: [0, 10]}"
    increasing = all(low < high for low, high in itertools.pairwise(edges))
    return None if increasing else "has edges that do not increase"


def _plain(text: str) -> str:
    """A category's name, told apart from those of what is no category."""
    return f"'{text}'" if text in (OTHER, UNSEEN, MISSING) else text
