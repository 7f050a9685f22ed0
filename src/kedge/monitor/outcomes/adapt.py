"""Adaptive conformal inference: the miss rate in force moves with outcomes, so that misses keep to the one asked for.

Labels come late, so whether one was missed depends on the rate in force when it was predicted; rates are kept with the
time from which they held.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Final

import numpy as np

from kedge.monitor.outcomes.tables import Rate
from kedge.stats import adaptive_alpha

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kedge.monitor.outcomes.database import Database
    from kedge.monitor.outcomes.target import Target

GAMMA: Final = 0.005
"""Step size (Gibbs and Candes 2021)."""
STEP_SECONDS: Final = 60
"""Between two steps; what came meanwhile is one step, which adds up to the same."""


class Adaptive:
    """The miss rates in force, by bundle. Used by one thread.

    Args:
        database: where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rates: dict[str, list[Rate]] = {}
        self._changed: set[str] = set()

    def alpha(self, target: Target) -> float:
        """The rate in force now."""
        rates = self._of(target.bundle)
        return rates[-1].alpha if rates else target.confidence.alpha

    def thresholds(self, target: Target, seconds: NDArray[np.int64]) -> NDArray[np.float64]:
        """The conformal thresholds in force when it was predicted: (n,) for (n,) seconds; NaN without calibration."""
        rates = self._of(target.bundle)
        alphas = np.array([target.confidence.alpha, *(rate.alpha for rate in rates)])
        places = np.searchsorted([rate.since for rate in rates], seconds, side="right")
        used = np.unique(places)
        found = {place: target.threshold(float(alphas[place])) for place in used.tolist()}
        table = np.full(len(alphas), np.nan)
        for place, threshold in found.items():
            table[place] = np.nan if threshold is None else threshold
        return table[places]

    def saw(self, target: Target, missed: int, labels: int, now: float) -> None:
        """Take in labels that came, if outcomes move the target's rate; a step is due after `STEP_SECONDS`."""
        if not target.confidence.adaptive or not labels:
            return
        rates = self._of(target.bundle)
        if not rates:
            rates.append(Rate(int(now), target.confidence.alpha))
        last = rates[-1]
        rates[-1] = last._replace(missed=last.missed + missed, labels=last.labels + labels)
        self._changed.add(target.bundle)

    def step(self, target: Target, now: float) -> bool:
        """Move the rate if a step is due. Returns whether it moved."""
        rates = self._of(target.bundle)
        if not rates or not rates[-1].labels or now - rates[-1].since < STEP_SECONDS:
            return False
        last = rates[-1]
        alpha = adaptive_alpha(last.alpha, target.confidence.alpha, last.missed, last.labels, GAMMA)
        rates.append(Rate(int(now), float(alpha)))
        self._changed.add(target.bundle)
        return True

    def forget_before(self, seconds: int) -> None:
        """Drop rates that were in force only before a moment."""
        for rates in self._rates.values():
            del rates[: max(0, bisect.bisect_right(rates, seconds, key=lambda rate: rate.since) - 1)]

    def write(self) -> None:
        """Put what changed into the transaction under way."""
        for bundle in self._changed:
            for rate in self._rates[bundle][-2:]:
                self._database.adapt(bundle, rate)

    def settle(self) -> None:
        """What was written is there to stay."""
        self._changed.clear()

    def discard(self) -> None:
        """Forget what was not written; it is read again."""
        for bundle in self._changed:
            del self._rates[bundle]
        self._changed.clear()

    def _of(self, bundle: str) -> list[Rate]:
        if bundle not in self._rates:
            self._rates[bundle] = self._database.adapted(bundle)
        return self._rates[bundle]
