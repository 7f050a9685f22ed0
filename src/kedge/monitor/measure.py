"""Effects and tests of one window against a frame, all lines at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from kedge.stats import g_test, js_distance, psi_corrected, wasserstein_binned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kedge.monitor.frame import Frame

RISE_RATIO: Final = 1.5
"""A cell's share counts as risen only by this factor."""


@dataclass(frozen=True, eq=False)
class Measures:
    """A window measured against a frame; arrays over its lines.

    Attributes:
        rows: values counted.
        psi, js: effects less what sampling alone gives.
        psi_usable: PSI* over usable values alone.
        w1: Wasserstein-1 distance in reference standard deviations, likewise; 0 for what has no order.
        rise: largest q - p of a cell with q >= 1.5 p; 0 where there is none.
        statistic, p_value: of the G-test.
        events, trials: [faults] unusable values and all values.
    """

    rows: NDArray[np.int64]
    psi: NDArray[np.float64]
    psi_usable: NDArray[np.float64]
    js: NDArray[np.float64]
    w1: NDArray[np.float64]
    rise: NDArray[np.float64]
    statistic: NDArray[np.float64]
    p_value: NDArray[np.float64]
    events: NDArray[np.int64]
    trials: NDArray[np.int64]


def measure(frame: Frame, words: NDArray[np.int64]) -> Measures:
    """Measure a window's words (as in `kedge.kernel.snapshot.Counts`) against a frame."""
    lines = len(frame.sides)
    rows = np.zeros(lines, np.int64)
    psi, usable, js, w1, rise, statistic = (np.zeros(lines) for _ in range(6))
    p_value = np.ones(lines)
    padded = np.append(words, 0)
    for group in frame.groups:
        current = padded[group.cells]
        total = current.sum(axis=1)
        rows[group.lines] = total
        psi[group.lines] = psi_corrected(group.reference, current)
        usable[group.lines] = psi_corrected(group.reference * group.usable, current * group.usable)
        js[group.lines] = js_distance(group.reference, current, corrected=True)
        rise[group.lines] = _rise(group.reference, current)
        tested = g_test(group.reference, current)
        statistic[group.lines], p_value[group.lines] = tested.statistic, tested.p_value
    if frame.ordered is not None:
        place = frame.ordered
        moved = wasserstein_binned(place.reference, padded[place.cells], place.positions, 1.0, corrected=True)
        w1[place.lines] = moved
    events = padded[frame.faults.cells].sum(axis=1)
    return Measures(rows, psi, usable, js, w1, rise, statistic, p_value, events, rows[frame.faults.lines])


def _rise(reference: NDArray[np.float64], current: NDArray[np.int64]) -> NDArray[np.float64]:
    p = reference / np.maximum(reference.sum(axis=1, keepdims=True), 1)
    q = current / np.maximum(current.sum(axis=1, keepdims=True), 1)
    risen: NDArray[np.float64] = np.where(q >= RISE_RATIO * p, q - p, 0.0).max(axis=1, initial=0.0)
    return risen
