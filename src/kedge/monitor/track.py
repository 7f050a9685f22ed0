"""What is remembered of one bundle and arm between two looks: windows under way, windows judged, charts, health."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from kedge.monitor.charts import HOUR, Charts
from kedge.monitor.measure import measure
from kedge.monitor.rules import agree, fault_level, judge
from kedge.monitor.system import System
from kedge.monitor.units import Units
from kedge.monitor.verdict import Span

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kedge.kernel.snapshot import Counts
    from kedge.monitor.frame import Frame
    from kedge.monitor.rules import Drift, Window

SIZES: Final = {"fast": 1_000, "medium": 10_000, "slow": 100_000}
"""Rows that end a window."""
CHART_SHARE, FAULT_SHARE, SYSTEM_SHARE = 0.5, 0.25, 0.25
"""How the budget of false alarms is split."""
CHART_ROWS: Final = 100
"""Values an hour needs to count on a chart."""


@dataclass
class Running:
    """Windows of one size, one after the other without a gap.

    Attributes:
        rows: that end one.
        base: totals where the present one began.
        start: when that was, in seconds since 1970.
        before, last: the two judged last.
        drift: what they agree on.
    """

    rows: int
    base: NDArray[np.int64]
    start: float
    before: Window | None = None
    last: Window | None = None
    drift: Drift | None = None


@dataclass(frozen=True, eq=False)
class ChartedHour:
    """The hour that the charts took in last: their state before it, hours since 1970, and its counts."""

    before: bytes
    hour: int
    words: NDArray[np.int64]
    bounds: NDArray[np.float64]


@dataclass
class Track:
    """One bundle and arm.

    Args:
        frame: of the bundle.
        arm: under which it answers.
        start: when the first look was.
        charted: it has control charts.

    Attributes:
        looked: the window at which claims of changed units were renewed last.
        charted_hour: what the charts took in last.
    """

    frame: Frame
    arm: str
    start: float
    charted: bool
    running: dict[str, Running] = field(init=False)
    charts: Charts | None = None
    charted_hour: ChartedHour | None = None
    looked: Window | None = None
    hour: int = 0

    def __post_init__(self) -> None:
        budget = self.frame.bundle.serving.monitor.alarm_budget_per_day
        zero = np.zeros(0, np.int64)
        self.running = {name: Running(rows, zero, self.start) for name, rows in SIZES.items()}
        self.units = Units(self.frame)
        self.system = System(self.frame.layout, SYSTEM_SHARE * budget)
        self._fault_budget = fault_budget(self.frame)
        self.totals: NDArray[np.int64] = zero
        self.bounds: NDArray[np.float64] = np.zeros(0)
        self._hour_base: NDArray[np.int64] = zero
        self.hour = math.floor(self.start / HOUR)
        if self.charted and self.frame.sides:
            self.charts = charts_of(self.frame)

    def advance(self, counts: Counts, now: float) -> bool:
        """Take in totals (which never shrink) and judge every window that is full. Returns whether any was."""
        words = counts.words
        if not len(self.totals):
            zero = np.zeros_like(words)
            self._hour_base = zero
            for running in self.running.values():
                running.base = zero
        self.totals, self.bounds = words, counts.bounds
        judged = self.system.advance(counts, now)
        if not self.frame.sides:
            return judged
        for name, running in self.running.items():
            rows = int(words[0] - running.base[0])
            if rows == 0:
                running.start = now
            elif rows >= running.rows:
                span = Span(running.start, now, rows)
                level = fault_level(self._fault_budget, now - running.start)
                window = judge(self.frame, words - running.base, span, level, counts.bounds)
                running.before, running.last = running.last, window
                if running.before is not None:
                    running.drift = agree(self.frame, running.before, window)
                running.base, running.start = words, now
                if name == "fast":
                    self.units.look(window.words, window.moved)
                    self.looked = window
                judged = True
        return judged

    def turn_hour(self, hour: int) -> bool:
        """Close the hour's windows of the charts if a new hour began. Returns whether they were."""
        if self.charts is None or hour <= self.hour or not len(self.totals):
            return False
        words = self.totals - self._hour_base
        self.charted_hour = ChartedHour(self.charts.to_bytes(), self.hour, words, self.bounds)
        self.charts.step(self.hour, figures(self.frame, words))
        self.hour, self._hour_base = hour, self.totals
        return True

    def judged_lines(self) -> int:
        """Lines of which some window was judged."""
        seen = np.zeros(len(self.frame.sides), np.bool_)
        for running in self.running.values():
            if running.last is not None:
                seen |= running.last.judged
        return int(seen.sum())


def fault_budget(frame: Frame) -> float:
    """False alarms a day that the fault tests of windows of one size may give."""
    return FAULT_SHARE * frame.bundle.serving.monitor.alarm_budget_per_day / len(SIZES)


def charts_of(frame: Frame) -> Charts:
    """Charts of every line, as they begin."""
    budget = CHART_SHARE * frame.bundle.serving.monitor.alarm_budget_per_day
    return Charts([f"{side.subject} {side.name}" for side in frame.sides], budget)


def figures(frame: Frame, words: NDArray[np.int64]) -> NDArray[np.float64]:
    """What the charts follow of an hour: means of numeric lines in reference deviations, of all others JS*."""
    found = measure(frame, words)
    values = found.js.copy()
    for i, side in enumerate(frame.sides):
        now = side.now(words)
        if now is not None and side.moments is not None and side.moments.std > 0:
            values[i] = (now.mean - side.moments.mean) / side.moments.std
    return np.where(found.rows >= CHART_ROWS, values, np.nan)
