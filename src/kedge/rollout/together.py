"""How many requests are slow together: all that stand in one batch, and batches grow with load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from kedge.kernel.contract import BATCH_SIZE_BUCKETS

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST: Final = 256
"""Requests a turn of the plane takes, and so a batch."""
QUANTILE: Final = 0.99


def together(runs: NDArray[np.int64]) -> int:
    """The batch size that 99 % of rows stood in at most.

    Each request is drawn for an arm by itself, but a slow run strikes all requests of its batch, and all of them are
    of one arm. `kedge.rollout.recompute` says what the number is for. Rows stand for requests, of which a batch has at
    most as many.

    Args:
        runs: [BATCH_SIZE_BUCKETS, ...] runs of the control by batch-size bucket, frozen before they are compared.

    Returns:
        The upper end of a bucket, in [1, 256]; 1 where nothing ran.
    """
    sizes = 2 ** np.arange(BATCH_SIZE_BUCKETS)
    rows = runs.reshape(BATCH_SIZE_BUCKETS, -1).sum(axis=1) * sizes
    if not rows.any():
        return 1
    reached = np.cumsum(rows) >= QUANTILE * rows.sum()
    return int(min(MOST, sizes[reached.argmax()]))
