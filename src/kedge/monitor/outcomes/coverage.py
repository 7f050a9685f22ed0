"""Whether a conformal set or interval held the label, from what the prediction id holds and the threshold of its time.

1 where it did, 0 where not, -1 where there was none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from kedge.monitor.outcomes.counts import STEP

if TYPE_CHECKING:
    from numpy.typing import NDArray

HALF_STEP: Final = 0.5 / STEP
"""Probabilities come rounded; many models have scores that lie exactly on the threshold, and those are in the set."""


def held_classes(
    truth: NDArray[np.int64],
    predicted: NDArray[np.int64],
    steps: NDArray[np.int64],
    count: NDArray[np.int64],
    thresholds: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Of sets {c: 1 - p_c <= threshold}, or the top class where that is empty.

    Args:
        truth: (n,) class ids of the labels.
        predicted: (n,) class ids.
        steps: (n, 8) probabilities in steps of 1 / 65535.
        count: (n,) how many of them there are.
        thresholds: (n,); NaN without calibration.
    """
    known = (truth < count) & ~np.isnan(thresholds)
    own = steps[np.arange(len(truth)), np.minimum(truth, steps.shape[1] - 1)] / STEP
    # The chosen class is in every set: where it does not pass the threshold none does, and it stands alone.
    inside = (truth == predicted) | (1 - own <= thresholds + HALF_STEP)
    return np.where(known, inside, -1)


def held_values(
    truth: NDArray[np.float64],
    predicted: NDArray[np.float64],
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    thresholds: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Of intervals [lower, upper], or value +- threshold where the prediction id has none; all (n,)."""
    low = np.where(np.isnan(lower), predicted - thresholds, lower)
    high = np.where(np.isnan(upper), predicted + thresholds, upper)
    return np.where(np.isnan(low) | np.isnan(high), -1, (low <= truth) & (truth <= high))
