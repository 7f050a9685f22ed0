"""What is frozen of the control before it is compared: how fast it runs, how often it fails, how it scores."""

from __future__ import annotations

from dataclasses import dataclass
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
_SIZES: Final = 2 ** np.arange(BATCH_SIZE_BUCKETS)
ENOUGH: Final = 3000
"""Batches of a size to know their 99 % quantile from; fewer, and none of that size counts as slow. Arms run batches of
different sizes. Of 300 batches the share above the line they give is anything from 0.3 to 2.4 %, and where two sizes
differ so, an equal canary is rolled back in a tenth of runs and more."""
ENOUGH_OF_MOST: Final = 100
"""Of the size that most rows stand in, while no other size has a line: both arms are held against that one, wherever it
is. Beside a line that is known well it would set the arms apart, as each runs in sizes of its own."""


def thresholds(runs: NDArray[np.int64]) -> tuple[int, ...]:
    """The control's p99 run time by batch-size bucket, in nanoseconds, 0 where it is not known.

    Args:
        runs: [BATCH_SIZE_BUCKETS, LATENCY_BUCKETS] the control's run times.

    Returns:
        The upper edge of the bucket that the quantile lies in.
    """
    lower = latency_lower()
    upper = np.append(lower[1:], lower[-1])
    total = runs.sum(axis=1)
    reached = np.cumsum(runs, axis=1) >= QUANTILE * total[:, np.newaxis]
    enough = total >= ENOUGH
    if not enough.any():
        most = (total * _SIZES).argmax()
        enough[most] = total[most] >= ENOUGH_OF_MOST
    return tuple(np.where(enough, upper[reached.argmax(axis=1)], 0).tolist())


def coverage(lines: tuple[int, ...], *arms: NDArray[np.int64]) -> float:
    """Part of the rows that ran in batches of a size with a line, in [0, 1]: the mean over arms that ran any.

    Args:
        lines: as `thresholds` gives them; empty for none.
        arms: [BATCH_SIZE_BUCKETS, LATENCY_BUCKETS] run times of each arm.
    """
    rows = [arm.sum(axis=1) * _SIZES for arm in arms if arm.any()]
    known = np.array(lines or (0,) * BATCH_SIZE_BUCKETS) > 0
    return float(np.mean([one[known].sum() / one.sum() for one in rows])) if rows else 0.0


KINDS: Final = {"errors": (2, 8, 13, 14, 15), "timeouts": (4,), "refusals": (3,)}
"""gRPC status numbers of the events that the kernel counts by request."""
NOT_COUNTED: Final = (1, 16)
"""CANCELLED and UNAUTHENTICATED."""


@dataclass(frozen=True)
class Frozen:
    """What was known of the control when a stretch began.

    Attributes:
        slow_ns: lines of slow runs by batch-size bucket, nanoseconds; 0 where none is known.
        covers: part of the rows of both arms that run in sizes with a line, in [0, 1].
        covered: part that the lines before covered.
        baseline: of the guards.
    """

    slow_ns: tuple[int, ...]
    covers: float
    covered: float
    baseline: Baseline


def freeze(cells: Mapping[CellKey, Cell], control: Bundle, candidate: Bundle, known: tuple[int, ...] = ()) -> Frozen:
    """What was counted of the control so far, for the stretch that begins now.

    The lines may rest on runs of stretches before, of this rollout too. That leaves the guard valid: units of a stretch
    are judged by lines that were drawn before any of them came, and each stretch compares the arms under lines that are
    the same for both, whatever those are.

    Args:
        cells: a snapshot of the plane.
        control: the bundle.
        candidate: the bundle compared with it.
        known: lines in force; they stay unless new ones cover more, as after a restart, when few runs are known.
    """
    runs, status = _counted(cells, control)
    theirs, _ = _counted(cells, candidate)
    status[list(NOT_COUNTED)] = 0
    slow = thresholds(runs)
    covers, covered = coverage(slow, runs, theirs), coverage(known, runs, theirs)
    if any(known) and covers <= covered:
        slow, covers = known, covered
    total = max(1, int(status.sum()))
    rates = {kind: float(status[list(codes)].sum()) / total for kind, codes in KINDS.items()}
    blind = frozenset[str]() if any(slow) else frozenset({"slow"})
    # What was seen at once before decides how many units one slow run may strike.
    baseline = Baseline(rates | {"slow": 1.0 - QUANTILE}, blind, score_of(control), {"slow": together(runs)})
    return Frozen(slow, covers, covered, baseline)


def _counted(cells: Mapping[CellKey, Cell], of: Bundle) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Run times by batch-size bucket and answers by status of a bundle, but for its time as a shadow: beside another it
    ran on a thread that yields to all.
    """
    layout = of.layout()
    runs = np.zeros((BATCH_SIZE_BUCKETS, LATENCY_BUCKETS), dtype=np.int64)
    status = np.zeros(17, dtype=np.int64)
    for (bundle, arm, _), cell in cells.items():
        if bundle == of.id and arm is not Arm.SHADOW:
            counts = Counts.parse(cell.counts, layout)
            runs += counts.latency_run_by_size
            status += counts.status
    return runs, status


def score_of(bundle: Bundle) -> NumericFeature | None:
    """How the scores that evidence counts are laid out: of class 1 of two classes, else of class 0 or the value."""
    scores = bundle.layout().scores
    return scores[1 if len(scores) == 2 else 0] if scores else None
