"""The rules: when one window of traffic counts as moved or broken. Pure functions of a window's measures.

A window is moved where a G-test finds it different (Benjamini-Hochberg over all lines, q = 0.001) *and* the difference
matters: PSI* reaches its line, or Wasserstein-1 distance 0.2 standard deviations, or some cell rose by 3 points of
share and by half. Whichever it is, PSI* must have reached natural variation: what the reference shows between its own
blocks in time is no drift. Two disjoint windows running of the same line that agree are drift.

Unusable values (missing, invalid, unseen, out of range) need one window: a one-sided binomial test against the highest
rate that the reference allows for, at a level that spends a budget of false alarms a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from kedge.monitor.measure import measure
from kedge.stats import benjamini_hochberg, binomial_excess

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kedge.monitor.frame import Frame
    from kedge.monitor.measure import Measures
    from kedge.monitor.verdict import Span

FALSE_DISCOVERIES: Final = 0.001
W1_LINE: Final = 0.2
RISE_LINE: Final = 0.03
FAULT_CRITICAL: Final = 0.1
"""Rise of a share of unusable values from which it is critical."""
DAY: Final = 86400.0


@dataclass(frozen=True, eq=False)
class Window:
    """A window of traffic with what the rules say of it; arrays over the frame's lines, or its fault tests.

    Attributes:
        span: when, and rows.
        words: the kernel's counts.
        bounds: minima and maxima known when it ended, which bound its own; None where nobody will ask.
        measures: effects and tests.
        judged: [lines] enough rows.
        moved, far: [lines] significant and past the warning (critical) line.
        fault_p: [faults] p-values.
        broken: [faults] significant.
    """

    span: Span
    words: NDArray[np.int64]
    measures: Measures
    judged: NDArray[np.bool_]
    moved: NDArray[np.bool_]
    far: NDArray[np.bool_]
    fault_p: NDArray[np.float64]
    broken: NDArray[np.bool_]
    bounds: NDArray[np.float64] | None = None

    def share(self, fault: int) -> float:
        """Share of unusable values of one fault test."""
        trials = int(self.measures.trials[fault])
        return int(self.measures.events[fault]) / trials if trials else 0.0


def judge(
    frame: Frame, words: NDArray[np.int64], span: Span, level: float, bounds: NDArray[np.float64] | None = None
) -> Window:
    """Apply the rules to one window.

    Args:
        frame: of the bundle that answered.
        words: what the kernel counted in the window.
        span: when that was.
        level: of all fault tests together, see `fault_level`.
        bounds: minima and maxima known, for whoever stores the window's counts.
    """
    found = measure(frame, words)
    judged = found.rows >= frame.needed
    significant = judged & benjamini_hochberg(np.where(judged, found.p_value, np.nan), FALSE_DISCOVERIES)
    tests = max(1, len(frame.faults.kinds))
    fault_p = np.asarray(binomial_excess(found.events, found.trials, frame.faults.upper), dtype=np.float64)
    return Window(
        span=span,
        words=words,
        measures=found,
        judged=judged,
        moved=significant & _matters(frame, found),
        far=significant & (found.psi >= frame.critical),
        fault_p=fault_p,
        broken=fault_p <= level / tests,
        bounds=bounds,
    )


@dataclass(frozen=True, eq=False)
class Drift:
    """What two windows running agree on; [lines].

    Attributes:
        drifted: moved in both, and together as well.
        far: likewise past the critical line.
    """

    drifted: NDArray[np.bool_]
    far: NDArray[np.bool_]


def agree(frame: Frame, before: Window, last: Window) -> Drift:
    """Ask two disjoint windows running.

    Both must have moved, and their sum must still matter: two days that left the ordinary in opposite ways, or barely,
    are weather. (By convexity the sum's PSI is at most the mean of theirs, and about it only where both went one way.)
    """
    both = before.moved & last.moved
    if not both.any():
        return Drift(both, both)
    together = measure(frame, before.words + last.words)
    drifted = both & _matters(frame, together)
    return Drift(drifted, drifted & before.far & last.far & (together.psi >= frame.critical))


def _matters(frame: Frame, found: Measures) -> NDArray[np.bool_]:
    plain = (found.w1 >= W1_LINE) | (found.rise >= RISE_LINE)
    return (found.psi >= frame.warn) | (plain & (found.psi >= frame.natural))


def fault_level(alarms_a_day: float, seconds: float) -> float:
    """The level of one window's fault tests together, so that windows that long spend `alarms_a_day` in a day.

    Args:
        alarms_a_day: false alarms these windows may give.
        seconds: that the window lasted; less than one counts as one.
    """
    return min(0.01, alarms_a_day * max(1.0, seconds) / DAY)
