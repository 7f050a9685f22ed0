"""Labels by slice: counted once for every feature that slices, and set beside what was measured at build."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kedge.monitor.outcomes import cohorts
from kedge.monitor.outcomes.cohorts import FOLDED
from kedge.monitor.outcomes.counts import Counts
from kedge.monitor.outcomes.figures import Figures
from kedge.stats import clopper_pearson_upper

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge.bundle.manifest import Metric
    from kedge.monitor.outcomes.database import Database
    from kedge.monitor.outcomes.target import Target

Z: Final = 1.959963984540054
"""Of 95 % intervals, as at build."""


@dataclass(frozen=True, eq=False)
class SliceOutcomes:
    """The labels of one arm in one slice that were on time.

    Attributes:
        feature, value: which.
        closed: sums over closed cohorts: what is judged.
        closed_figures, open_figures: of them, and of younger cohorts.
        measured: figures of the same slice on the evaluation data, by name; empty where it had too few rows.
    """

    feature: str
    value: str
    closed: Counts
    closed_figures: Figures
    open_figures: Figures
    measured: Mapping[str, Metric]

    @property
    def name(self) -> str:
        """``feature=value``."""
        return f"{self.feature}={self.value}"


@dataclass(frozen=True)
class Compared:
    """A figure of closed cohorts with its 95 % interval, and the same at build.

    The interval is for one look at one slice; verdicts rest on bounds for any number of both.

    Attributes:
        name: as in eval/metrics.json: accuracy, brier or mae.
        value: None without labels.
        interval: None without them.
        n: labels it is of.
        built: None where it was not measured.
    """

    name: str
    value: float | None
    interval: tuple[float, float] | None
    n: int
    built: Metric | None


def gather(database: Database, target: Target, now: float) -> dict[str, tuple[SliceOutcomes, ...]]:
    """Slices by arm, in the bundle's order: those with labels or predictions, or a figure at build.

    Raises:
        OutcomesError: the database cannot be read.
    """
    none = Counts.empty()
    closed: dict[tuple[str, int], Counts] = defaultdict(lambda: none)
    young: dict[tuple[str, int], Counts] = defaultdict(lambda: none)
    rows: dict[tuple[str, int, bool], int] = defaultdict(int)
    arms = set()
    for key, counts in database.slices.cells(target.bundle).items():
        side = closed if _closed(key.cohort, target, now) else young
        side[key.arm, key.slice] = side[key.arm, key.slice] + counts
        arms.add(key.arm)
    for key, count in database.slices.predicted(target.bundle).items():
        rows[key.arm, key.slice, _closed(key.cohort, target, now)] += count
        arms.add(key.arm)

    def figures(counts: Counts, arm: str, number: int, *, done: bool) -> Figures:
        return Figures.of(counts, rows[arm, number, done], target.unit)

    found: dict[str, tuple[SliceOutcomes, ...]] = {}
    for arm in arms:
        lines = [
            SliceOutcomes(
                feature=feature.feature.name,
                value=feature.values[place],
                closed=closed[arm, number],
                closed_figures=figures(closed[arm, number], arm, number, done=True),
                open_figures=figures(young[arm, number], arm, number, done=False),
                measured=target.measured.get(feature.name(place), {}),
            )
            for number, (feature, place) in enumerate(target.slices.places_of_features)
        ]
        found[arm] = tuple(
            line
            for line in lines
            if line.measured or any(one.labelled or one.predicted for one in (line.closed_figures, line.open_figures))
        )
    return found


def compare(line: SliceOutcomes, classes: int) -> tuple[Compared, ...]:
    """Figures of a slice beside those at build, where there is either.

    Accuracy: Clopper-Pearson. Brier score: normal, with the largest variance that its mean and range allow, since its
    squares are not summed. MAE: normal.

    Args:
        line: the slice.
        classes: how many there are; 0 for values.
    """
    counts, figures = line.closed, line.closed_figures
    found = []
    if classes:
        n, wrong = counts.labelled, counts.labelled - counts.right
        low, high = 1 - float(clopper_pearson_upper(wrong, n, 0.975)), float(clopper_pearson_upper(n - wrong, n, 0.975))
        found.append(("accuracy", figures.accuracy, (low, high), n))
        score, most = figures.brier or 0.0, 1.0 if classes == 2 else 2.0
        half = _half(score * (most - score), counts.scored)
        found.append(("brier", figures.brier, (max(0.0, score - half), min(most, score + half)), counts.scored))
    else:
        mean, square = figures.mae or 0.0, figures.rmse or 0.0
        half = _half(square**2 - mean**2, counts.values)
        found.append(("mae", figures.mae, (max(0.0, mean - half), mean + half), counts.values))
    return tuple(
        Compared(name, value, None if value is None else interval, n, line.measured.get(name))
        for name, value, interval, n in found
        if value is not None or name in line.measured
    )


def _half(variance: float, n: int) -> float:
    return Z * math.sqrt(max(0.0, variance) / n) if n else 0.0


def _closed(cohort: int, target: Target, now: float) -> bool:
    return cohort == FOLDED or cohorts.closed(cohort, target.maturity, now)
