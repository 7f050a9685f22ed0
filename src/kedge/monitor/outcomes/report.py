"""Everything the labels of a bundle say, by arm: closed cohorts, open ones, late labels, and units of splits."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kedge.monitor.outcomes import cohorts, sliced
from kedge.monitor.outcomes.cohorts import FOLDED
from kedge.monitor.outcomes.counts import Counts
from kedge.monitor.outcomes.figures import Figures
from kedge.monitor.outcomes.tables import Units

if TYPE_CHECKING:
    from kedge.monitor.outcomes.database import Database
    from kedge.monitor.outcomes.sliced import SliceOutcomes
    from kedge.monitor.outcomes.target import Target
    from kedge.monitor.outcomes.units import Splits


@dataclass(frozen=True, eq=False)
class Cohort:
    """Predictions of one stretch of time.

    Attributes:
        start, end: of the stretch, seconds since 1970; a start of 0 stands for all closed long ago.
        closed: whether all of them have reached maturity.
        counts: of the labels that were on time.
        predicted: rows, labelled or not.
        unit: see `Target.unit`.
    """

    start: int
    end: int
    closed: bool
    counts: Counts
    predicted: int
    unit: float

    @property
    def figures(self) -> Figures:
        """What the counts amount to."""
        return Figures.of(self.counts, self.predicted, self.unit)


@dataclass(frozen=True, eq=False)
class ArmOutcomes:
    """The labels of one arm.

    Attributes:
        arm: such as ``live``.
        closed: sums over closed cohorts: what is judged.
        closed_figures, open_figures, late_figures: of closed cohorts, of younger ones, and of labels that came after
            their cohort was closed.
        cohorts: in order of time.
        slices: the same labels, once for every feature that slices.
    """

    arm: str
    closed: Counts
    closed_figures: Figures
    open_figures: Figures
    late_figures: Figures
    cohorts: tuple[Cohort, ...]
    slices: tuple[SliceOutcomes, ...]


@dataclass(frozen=True)
class SplitUnits:
    """Labelled units of the epochs of a split in which the canary had the same share.

    Attributes:
        share: of the canary among canary and control.
        canary, control: their units.
    """

    share: float
    canary: Units
    control: Units


@dataclass(frozen=True, eq=False)
class OutcomesReport:
    """What the labels of a bundle say.

    Attributes:
        target: the bundle.
        arms: those that predicted or have labels, by name.
        statuses: labels that ever came, by what became of them.
        alpha: the miss rate in force.
    """

    target: Target
    arms: tuple[ArmOutcomes, ...]
    statuses: dict[str, int]
    alpha: float


def gather(database: Database, target: Target, now: float) -> OutcomesReport:
    """Read everything about a bundle.

    Raises:
        OutcomesError: the database cannot be read.
    """
    counted: dict[str, dict[int, Counts]] = defaultdict(dict)
    late: dict[str, Counts] = defaultdict(Counts.empty)
    for key, counts in database.cells(target.bundle).items():
        if key.late:
            late[key.arm] = late[key.arm] + counts
        else:
            before = counted[key.arm].get(key.cohort)
            counted[key.arm][key.cohort] = counts if before is None else before + counts
    predicted: dict[str, dict[int, int]] = defaultdict(dict)
    for (arm, cohort), rows in database.predicted(target.bundle).items():
        predicted[arm][cohort] = rows
    rates = database.adapted(target.bundle)
    slices = sliced.gather(database, target, now) if target.slices.features else {}
    return OutcomesReport(
        target=target,
        arms=tuple(
            _arm(target, arm, counted[arm], predicted[arm], late[arm], now=now, slices=slices.get(arm, ()))
            for arm in sorted({*counted, *predicted, *late})
        ),
        statuses={status: count for (bundle, status), count in database.statuses().items() if bundle == target.bundle},
        alpha=rates[-1].alpha if rates else target.confidence.alpha,
    )


def _arm(
    target: Target,
    arm: str,
    counted: dict[int, Counts],
    predicted: dict[int, int],
    late: Counts,
    *,
    now: float,
    slices: tuple[SliceOutcomes, ...],
) -> ArmOutcomes:
    wide = cohorts.width(target.maturity)
    found = tuple(
        Cohort(
            start=start,
            end=start + wide,
            closed=cohorts.closed(start, target.maturity, now),
            counts=counted.get(start, Counts.empty()),
            predicted=predicted.get(start, 0),
            unit=target.unit,
        )
        for start in sorted({*counted, *predicted})
    )
    sums = {}
    for done in (True, False):
        chosen = [cohort for cohort in found if cohort.closed is done]
        total = sum((cohort.counts for cohort in chosen), Counts.empty())
        sums[done] = total, Figures.of(total, sum(cohort.predicted for cohort in chosen), target.unit)
    return ArmOutcomes(
        arm=arm,
        closed=sums[True][0],
        closed_figures=sums[True][1],
        open_figures=sums[False][1],
        late_figures=Figures.of(late, 0, target.unit),
        cohorts=found,
        slices=slices,
    )


def split_units(
    database: Database, splits: Splits, canary: Target, control: Target, *, rollout: bytes, now: float
) -> tuple[SplitUnits, ...]:
    """Labelled units of a canary and of its control, by the canary's share when it was predicted; closed cohorts alone.

    Args:
        database: of outcomes.
        splits: how traffic was randomised.
        canary: bundle under trial, in the arm ``canary``.
        control: bundle it is compared with, in the arm ``control``.
        rollout: `Split.rollout` of the trial; epochs of others are left out.
        now: seconds since 1970.

    Raises:
        OutcomesError: the database cannot be read.
    """
    trial, known = _closed_units(database, canary, now), _closed_units(database, control, now)
    found: dict[float, SplitUnits] = {}
    for epoch, split in sorted(splits.of(canary.bundle).items()):
        pair = split.shares.get("canary", 0.0), split.shares.get("control", 0.0)
        if split.rollout == rollout and min(pair) > 0:
            share = pair[0] / sum(pair)
            before = found.get(share, SplitUnits(share, Units(), Units()))
            found[share] = SplitUnits(
                share,
                before.canary + trial.get(("canary", epoch), Units()),
                before.control + known.get(("control", epoch), Units()),
            )
    return tuple(found.values())


def _closed_units(database: Database, target: Target, now: float) -> dict[tuple[str, int], Units]:
    total: dict[tuple[str, int], Units] = {}
    for (arm, epoch, cohort), units in database.units(target.bundle).items():
        if cohort == FOLDED or cohorts.closed(cohort, target.maturity, now):
            total[(arm, epoch)] = total.get((arm, epoch), Units()) + units
    return total
