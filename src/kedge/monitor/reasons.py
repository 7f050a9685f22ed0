"""Why a distribution counts as moved, in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kedge.monitor.histograms import Side
    from kedge.monitor.report import Fault

MEAN_SHIFT: Final = 0.1
"""Reference standard deviations from which a mean is said to have moved."""
SPREAD_RATIO: Final = 1.2
"""Ratio of standard deviations from which the spread is said to have changed."""
FAULT_SHARE: Final = 0.005
FAULT_RATIO: Final = 1.5
"""A fault is worth a word where its share grew by this much of all values and by this factor."""
CELLS_NAMED: Final = 2


def explain(side: Side, words: NDArray[np.int64], faults: tuple[Fault, ...]) -> tuple[str, ...]:
    """Reasons for a line that moved, strongest first; at least one where any share changed."""
    return (*_faults(faults), *_numeric(side, words), *_cells(side, words))


def _faults(faults: tuple[Fault, ...]) -> list[str]:
    grown = [
        f for f in faults if f.share - f.reference_share >= FAULT_SHARE and f.share >= FAULT_RATIO * f.reference_share
    ]
    grown.sort(key=lambda fault: fault.reference_share - fault.share)
    return [fault_reason(fault) for fault in grown]


def fault_reason(fault: Fault) -> str:
    """``missing share 1.9 % -> 100 %``."""
    what = "unseen category" if fault.kind == "unseen" else fault.kind
    if fault.reference_share == 0:
        return f"{what} share {percent(fault.share)} (none in the reference)"
    return f"{what} share {percent(fault.reference_share)} -> {percent(fault.share)}"


def _numeric(side: Side, words: NDArray[np.int64]) -> list[str]:
    before, now = side.moments, side.now(words)
    if before is None or now is None or math.isnan(before.mean) or math.isnan(now.mean):
        return []
    moved = now.mean - before.mean
    if moved and abs(moved) >= MEAN_SHIFT * before.std:
        way = "up" if moved > 0 else "down"
        return [f"distribution moved {way}: mean {before.mean:.4g} -> {now.mean:.4g} (reference sd {before.std:.3g})"]
    if before.std and not 1 / SPREAD_RATIO < now.std / before.std < SPREAD_RATIO:
        way = "widened" if now.std > before.std else "narrowed"
        return [f"distribution {way}: sd {before.std:.3g} -> {now.std:.3g}"]
    return []


def _cells(side: Side, words: NDArray[np.int64]) -> list[str]:
    """The cells whose share changed most."""
    current = side.current(words)
    p = side.reference / max(1, side.reference.sum())
    q = current / max(1, current.sum())
    named = {cell for _, cells in side.faults for cell in cells}
    change = np.abs(q - p)
    worst = [int(i) for i in np.argsort(-change, kind="stable") if int(i) not in named and change[i] > 0]
    quote = "'" if side.kind == "categorical" else ""
    return [f"share of {quote}{side.labels[i]}{quote}: {percent(p[i])} -> {percent(q[i])}" for i in worst[:CELLS_NAMED]]


def percent(share: float) -> str:
    """``3.2 %``; two significant digits below 1 %."""
    value = 100 * float(share)
    return f"{value:.0f} %" if value >= 10 else f"{value:.1f} %" if value >= 1 else f"{value:.2g} %"
