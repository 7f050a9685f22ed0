"""Two-sided CUSUM charts on hourly windows, for shifts too small or too slow for any single window.

Each chart follows one figure an hour. It is compared with the mean of the same hour of the day over the last seven
clean days; the residual is divided by its own spread, measured while the chart warmed up (168 hourly windows) and
widened for what an hour's mean and the correlation of neighbouring hours add. Values under an alarm never enter the
seven days, so a shift cannot hide itself. Limits follow from a budget of false alarms.

Source: Page 1954 (CUSUM); Johnson and Bagshaw 1974 (correlated values); Hawkins 1993 (winsorising).
"""

from __future__ import annotations

import functools
import io
import math
import zipfile
import zlib
from typing import TYPE_CHECKING, Final

import numpy as np

from kedge.stats import cusum, cusum_limit, residual_scale

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

HOUR: Final = 3600.0
HOURS: Final = 24
DAYS: Final = 7
WARM_UP: Final = HOURS * DAYS
"""Windows a chart needs before it says anything."""
LEAST_DAYS: Final = 3
"""Clean days an hour needs for its mean."""
ALLOWANCE: Final = 0.5
"""k of the CUSUM: it is quickest for shifts of twice that, in deviations."""
OVERSHOOT: Final = 1.5
"""Sums stop at this multiple of the limit, so that an alarm ends within days of the shift and not months."""
RELEASE: Final = 0.5
"""An alarm ends below this share of the limit: a sum that hovers about its limit is one alarm."""
FARTHEST: Final = 3.0
"""Deviations at which a value is cut (a winsorised CUSUM): one wild hour says no more than a bad one."""
UNCERTAINTY: Final = 1.15
"""Widens the spread for what one week cannot tell of spread and correlation; by simulation, see the tests."""


class Charts:
    """A bank of charts, one a name. A value once an hour each; NaN where an hour had too little traffic.

    Args:
        names: of the charts.
        alarms_a_day: false alarms that all of them together may give.

    Attributes:
        up, down: [charts] the sums.
        alarm: [charts] which went beyond their limit and are not back yet.
        scale: [charts] the spread residuals are divided by; NaN while a chart warms up.
        limit: of the sums.
    """

    def __init__(self, names: Sequence[str], alarms_a_day: float) -> None:
        count = len(names)
        self.names = tuple(names)
        self.limit = limit(count, alarms_a_day)
        self.seen = np.zeros(count, np.int64)
        self.up, self.down = np.zeros(count), np.zeros(count)
        self.scale = np.full(count, np.nan)
        self.value = np.full(count, np.nan)
        self.alarm = np.zeros(count, np.bool_)
        self._same_hour = np.full((HOURS, DAYS, count), np.nan)
        self._warm = np.full((WARM_UP, count), np.nan)
        self._warm_hour = np.zeros((WARM_UP, count), np.int64)

    @property
    def ready(self) -> NDArray[np.bool_]:
        """Charts that are warm."""
        warm: NDArray[np.bool_] = ~np.isnan(self.scale)
        return warm

    def step(self, hour: int, values: NDArray[np.float64]) -> None:
        """Take in an hour.

        Args:
            hour: hours since 1970; its remainder by 24 is the hour of the day (UTC).
            values: [charts].
        """
        of_day = hour % HOURS
        present = ~np.isnan(values)
        days = (~np.isnan(self._same_hour[of_day])).sum(axis=0)
        mean = np.nansum(self._same_hour[of_day], axis=0) / np.maximum(days, 1)
        usable = present & self.ready & (self.scale > 0) & (days >= LEAST_DAYS)
        standard = np.where(usable, (values - mean) / np.where(usable, self.scale, 1.0), np.nan)
        standard = np.clip(standard, -FARTHEST, FARTHEST)
        path = cusum(standard[:, None], ALLOWANCE, self.limit, (self.up, self.down))
        highest = OVERSHOOT * self.limit
        self.up, self.down = np.minimum(path.up[:, 0], highest), np.minimum(path.down[:, 0], highest)
        self.alarm = np.maximum(self.up, self.down) > np.where(self.alarm, RELEASE, 1.0) * self.limit
        self.value = np.where(present, values, self.value)
        clean = present & ~self.alarm
        self._same_hour[of_day][:-1, clean] = self._same_hour[of_day][1:, clean]
        self._same_hour[of_day][-1, clean] = values[clean]
        warming = np.flatnonzero(present & ~self.ready)
        self._warm[self.seen[warming], warming] = values[warming]
        self._warm_hour[self.seen[warming], warming] = of_day
        self.seen[warming] += 1
        for chart in warming[self.seen[warming] == WARM_UP]:
            self.scale[chart] = self._spread(chart)

    def _spread(self, chart: int) -> float:
        """Of the warm-up's residuals from their own hourly means, of as many values each as were averaged."""
        values, hours = self._warm[:, chart], self._warm_hour[:, chart]
        size = np.bincount(hours, minlength=HOURS)[hours]
        mean = (np.bincount(hours, values, HOURS) / np.maximum(np.bincount(hours, minlength=HOURS), 1))[hours]
        # A mean that holds the value itself pulls the residual in by sqrt(1 - 1/size).
        shrunk = np.sqrt(1 - 1 / np.maximum(size, 2))
        residuals = np.where(size > 1, (values - mean) / shrunk, np.nan)
        return UNCERTAINTY * float(residual_scale(residuals, DAYS))

    def to_bytes(self) -> bytes:
        """State, for `restored`."""
        out = io.BytesIO()
        np.savez_compressed(
            out, names=np.array(self.names), seen=self.seen, up=self.up, down=self.down, alarm=self.alarm,
            scale=self.scale, value=self.value, same_hour=self._same_hour, warm=self._warm, warm_hour=self._warm_hour,
        )  # fmt: skip
        return out.getvalue()

    def restored(self, state: bytes) -> bool:
        """Go on from `to_bytes` of charts of the same names; False (and unchanged) where the state is of others."""
        fields = {
            "seen": "seen", "up": "up", "down": "down", "alarm": "alarm", "scale": "scale", "value": "value",
            "same_hour": "_same_hour", "warm": "_warm", "warm_hour": "_warm_hour",
        }  # fmt: skip
        try:
            with np.load(io.BytesIO(state), allow_pickle=False) as arrays:
                found = {name: arrays[name] for name in (*fields, "names")}
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error):
            return False
        if tuple(found["names"].tolist()) != self.names or any(
            found[name].shape != getattr(self, place).shape for name, place in fields.items()
        ):
            return False
        for name, place in fields.items():
            setattr(self, place, found[name].astype(getattr(self, place).dtype))
        return True


@functools.lru_cache(maxsize=256)
def limit(charts: int, alarms_a_day: float) -> float:
    """H for so many hourly charts that together give so many false alarms a day."""
    return float(cusum_limit(ALLOWANCE, max(charts, 1) * HOURS / alarms_a_day)) if charts else math.inf
