"""What is frozen of the control before it is compared: how fast it runs, how often it fails, how it scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from kedge.kernel.contract import BATCH_SIZE_BUCKETS, LATENCY_BUCKETS
from kedge.kernel.latency import latency_lower
from kedge.kernel.snapshot import Counts
from kedge.plane.contract import Arm
from kedge.rollout.reading import Baseline
from kedge.rollout.together import together

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from kedge.bundle.contents import Bundle
    from kedge.kernel.contract import NumericFeature
    from kedge.plane.cells import Cell, CellKey

QUANTILE: Final = 0.99
ENOUGH: Final = 3000
"""Batches of a size to know their 99 % quantile from; fewer, and none of that size counts as slow. Arms run batches of
different sizes. Of 300 batches the share above the line they give is anything from 0.3 to 2.4 %, and where two sizes
differ so, an equal canary is rolled back in a tenth of runs and more."""
ENOUGH_OF_MOST: Final = 100
"""Of the size that most rows stand in: both arms are held against that line, wherever it is."""


def thresholds(runs: NDArray[np.int64], known: tuple[int, ...] = ()) -> tuple[int, ...]:
    """The control's p99 run time by batch-size bucket, in nanoseconds, 0 where it is not known.

    Args:
        runs: [BATCH_SIZE_BUCKETS, LATENCY_BUCKETS] the control's run times.
        known: as a call before gave it; what it knows stays as it is, so that the line does not move with the evidence.

    Returns:
        The upper edge of the bucket that the quantile lies in.
    """
    before = known or (0,) * BATCH_SIZE_BUCKETS
    lower = latency_lower()
    upper = np.append(lower[1:], lower[-1])
    total = runs.sum(axis=1)
    reached = np.cumsum(runs, axis=1) >= QUANTILE * total[:, np.newaxis]
    needed = np.full(BATCH_SIZE_BUCKETS, ENOUGH)
    needed[(total * 2 ** np.arange(BATCH_SIZE_BUCKETS)).argmax()] = ENOUGH_OF_MOST
    found = np.where(total >= needed, upper[reached.argmax(axis=1)], 0)
    return tuple(old or int(new) for old, new in zip(before, found, strict=True))


KINDS: Final = {"errors": (2, 8, 13, 14, 15), "timeouts": (4,), "refusals": (3,)}
"""gRPC status numbers of the events that the kernel counts by request."""
NOT_COUNTED: Final = (1, 16)
"""CANCELLED and UNAUTHENTICATED."""


def freeze(
    cells: Mapping[CellKey, Cell], control: Bundle, known: tuple[int, ...] = ()
) -> tuple[tuple[int, ...], Baseline]:
    """What was counted of the control so far.

    Args:
        cells: a snapshot of the plane.
        control: the bundle.
        known: thresholds of slow runs that are frozen already.

    Returns:
        Thresholds of slow runs by batch-size bucket, and the baseline of the guards.
    """
    layout = control.layout()
    runs = np.zeros((BATCH_SIZE_BUCKETS, LATENCY_BUCKETS), dtype=np.int64)
    status = np.zeros(17, dtype=np.int64)
    for (bundle, arm, _), cell in cells.items():
        if bundle == control.id and arm is not Arm.SHADOW:  # beside another it ran on a thread that yields to all
            counts = Counts.parse(cell.counts, layout)
            runs += counts.latency_run_by_size
            status += counts.status
    status[list(NOT_COUNTED)] = 0
    slow = thresholds(runs, known)
    total = max(1, int(status.sum()))
    rates = {kind: float(status[list(codes)].sum()) / total for kind, codes in KINDS.items()}
    blind = frozenset[str]() if any(slow) else frozenset({"slow"})
    # What was seen at once before decides how many units one slow run may strike.
    return slow, Baseline(rates | {"slow": 1.0 - QUANTILE}, blind, score_of(control), {"slow": together(runs)})


def score_of(bundle: Bundle) -> NumericFeature | None:
    """How the scores that evidence counts are laid out: of class 1 of two classes, else of class 0 or the value."""
    scores = bundle.layout().scores
    return scores[1 if len(scores) == 2 else 0] if scores else None
