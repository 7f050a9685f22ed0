"""Accuracy without labels: what the model's confidence was worth at calibration, applied to today's confidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from kedge.monitor.report import Estimate
from kedge.stats import cbpe, cbpe_thin_share

if TYPE_CHECKING:
    from kedge.bundle.contents import Bundle
    from kedge.kernel.snapshot import Counts

THIN: Final = 0.05
"""Share of rows in bins that calibration hardly saw, from which nothing is estimated."""


def estimate(bundle: Bundle, counts: Counts) -> Estimate | None:
    """Estimate the accuracy of what was predicted, or None where the bundle has no calibration of classes."""
    reliability = bundle.distributions.reliability if bundle.distributions else None
    now = counts.reliability_n
    if reliability is None or len(now) != len(reliability.n):
        return None
    accuracy, error = cbpe(now, reliability.n, reliability.sum_y)
    thin = float(cbpe_thin_share(now, reliability.n))
    measured = sum(reliability.sum_y) / max(1, sum(reliability.n))
    rows = int(np.sum(now))
    return Estimate(float(accuracy), float(error), measured, rows, rows > 0 and thin <= THIN)
