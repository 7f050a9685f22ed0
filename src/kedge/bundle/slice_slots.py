"""From the kernel's slots to slices: how many rows of the traffic were in each, without counting them again."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from kedge.kernel.contract import (
    FIRST_ATOM,
    NAN,
    NEG_INF,
    NUMERIC_SLOTS,
    OVERFLOW,
    POS_INF,
    UNDERFLOW,
    NumericFeature,
)
from kedge.kernel.contract import MISSING as MISSING_SLOT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kedge.bundle.slices import SliceFeature
    from kedge.kernel.contract import CategoricalFeature


def rows(
    item: SliceFeature, watched: NumericFeature | CategoricalFeature, slots: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Rows in each of a feature's slices; None where its bins do not end at the edges of the slices.

    Rows outside the schema's valid range, which the kernel does not tell high from low, are left out.

    Args:
        item: the feature that slices.
        watched: the same as the kernel counts it.
        slots: [32] or [64] what it counted.
    """
    if not isinstance(watched, NumericFeature):
        places = np.array(item.places_of_slots)
    elif set(item.edges) <= set(watched.edges):
        places = _of_numbers(item, watched)
    else:
        return None
    known = places >= 0
    found = np.zeros(len(item.values), np.int64)
    np.add.at(found, places[known], np.asarray(slots)[known])
    return found


def _of_numbers(item: SliceFeature, watched: NumericFeature) -> NDArray[np.int64]:
    places = np.full(NUMERIC_SLOTS, -1, np.int64)
    for slot, (low, _) in enumerate(pairwise(watched.edges)):
        places[slot] = bisect_right(item.edges, low)
    for slot, atom in enumerate(watched.atoms, FIRST_ATOM):
        places[slot] = bisect_right(item.edges, atom)
    places[[UNDERFLOW, NEG_INF]] = 0
    places[[OVERFLOW, POS_INF]] = len(item.edges)
    places[[NAN, MISSING_SLOT]] = len(item.edges) + 1
    return places
