"""A numeric feature as one sorted line of bounds: every rule of the contract becomes "how many bounds are <= x"."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from kedge.kernel.contract import MISSING, NAN, NumericFeature
from kedge.kernel.reference import numeric_slots

if TYPE_CHECKING:
    from numpy.typing import NDArray


def compile_feature(feature: NumericFeature) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Bounds, and the slot of every position.

    A value's position is the number of bounds <= it. Position 0 is below every bound and holds NaN alone, for -inf is
    itself a bound. Between two neighbouring bounds no rule changes its answer, so the lower one answers for both.

    Returns:
        bounds [B] increasing float64; slots [B + 1].
    """
    spikes = [*feature.atoms, -math.inf]
    if feature.missing is not None and not math.isnan(feature.missing):
        spikes.append(feature.missing)
    bounds = np.unique(
        [
            *feature.edges,
            *spikes,
            *(math.nextafter(spike, math.inf) for spike in spikes),
            feature.valid_min,
            math.nextafter(feature.valid_max, math.inf),
            math.inf,
        ]
    )
    nan_is_missing = feature.missing is not None and math.isnan(feature.missing)
    slots = np.concatenate(([MISSING if nan_is_missing else NAN], numeric_slots(feature, bounds)))
    return bounds, slots.astype(np.int64)


def round_up(bounds: NDArray[np.float64]) -> NDArray[np.float32]:
    """Each bound's smallest float32 not below it; comparing a float32 with either gives the same answer."""
    with np.errstate(over="ignore", under="ignore"):
        nearest = bounds.astype(np.float32)
        return np.where(nearest < bounds, np.nextafter(nearest, np.float32(np.inf)), nearest)
