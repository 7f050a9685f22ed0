"""What guards are given and what they say: values, no rules."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from kedge.kernel.contract import NumericFeature
    from kedge.plane.evidence import Evidence
    from kedge.rollout.guard_plan import Action

Verdict = Literal["harm", "proven", "open", "insufficient", "off"]
"""harm: the guard fired. proven: harm is surely below the margin. open: neither. insufficient: too little was seen to
say anything, and nothing bad. off: the plan has it off, or there is nothing of the kind to see in this stage."""

LEAST_UNITS: Final = 1000
"""Units of the canary, or pairs of a shadow, below which nothing is proven."""


@dataclass(frozen=True)
class Judged:
    """Units that could be judged for slow runs under the same lines: see `kedge.rollout.guard_slow`.

    Attributes:
        canary, canary_slow, control, control_slow: units of each arm, and of them slow.
        expected: slow units that equal arms have on the canary.
        together: units that one slow run may strike at once, as it was known when the lines were frozen.
    """

    canary: int
    canary_slow: int
    control: int
    control_slow: int
    expected: float
    together: int = 1

    def __add__(self, more: Judged) -> Judged:
        """Both, under the same lines."""
        return Judged(
            self.canary + more.canary,
            self.canary_slow + more.canary_slow,
            self.control + more.control,
            self.control_slow + more.control_slow,
            self.expected + more.expected,
            self.together,
        )


@dataclass(frozen=True)
class StepEvidence:
    """What was counted in one stage with traffic.

    Attributes:
        index: of the step; baking has the number of steps.
        share: the canary's share of the units of the two arms compared.
        canary, control: counts since the stage began.
        judged: for slow runs, by the lines that were in force, in order; empty where nothing could be judged.
        covered: units of the canary that ran, and of them judged for slow runs, since the lines in force were frozen.
    """

    index: int
    share: float
    canary: Evidence
    control: Evidence
    judged: tuple[Judged, ...] = ()
    covered: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class OutcomeStep:
    """Labelled units of one stage, closed cohorts only.

    Attributes:
        share: the canary's share *when the predictions were made*.
        canary_wrong, canary_right, control_wrong, control_right: labelled units by arm.
    """

    share: float
    canary_wrong: int
    canary_right: int
    control_wrong: int
    control_right: int

    @property
    def labelled(self) -> int:
        """Labelled units on both arms."""
        return self.canary_wrong + self.canary_right + self.control_wrong + self.control_right


@dataclass(frozen=True, eq=False)
class ConfidenceStep:
    """Top probabilities of one stage, in the kernel's confidence slots, rows of each arm: [slots] int64."""

    canary: NDArray[np.int64]
    control: NDArray[np.int64]


@dataclass(frozen=True)
class Baseline:
    """What was known of the control before the rollout, frozen then.

    Attributes:
        rates: event rate by guard, in [0, 1]; a guard left out has 0. They buy power, never validity.
        blind: guards that cannot see: ``slow`` while no run times of the control are frozen.
        score: layout of the scores, so that their slots can be put in the order of their values.
        together: units that one cause may strike at once, by guard, at least 1; a guard left out has 1. ``slow``: the
            requests of one batch run together, see `kedge.rollout.together`; as it is for units to come, those judged
            before have theirs in `Judged`.
    """

    rates: Mapping[str, float] = field(default_factory=dict)
    blind: frozenset[str] = frozenset()
    score: NumericFeature | None = None
    together: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """What one guard says now.

    Attributes:
        guard: its name in the plan; ``labels`` belongs to `outcomes`.
        log_e: evidence of harm, natural logarithm; None where the guard works with bounds alone.
        threshold: of `log_e`; the guard fires at or above it.
        lower: lower bound of the difference, for guards that fire on one; else None.
        upper: upper bound of the harm or difference; None where nothing bounds it.
        margin: what `upper` must be below (for guards that fire on `lower`: what that must be above).
        n: what it counted: events on both arms, units, or pairs.
        verdict: see `Verdict`.
        words: for a person, one sentence.
        numbers: everything it was computed from, as a record can hold it; see `kedge.rollout.recompute`.
        action: what the plan lets a verdict of harm do.
        required: whether a proof step waits for it.
        detectable: the smallest ratio of canary to control rate that `n` events would have shown; None where that says
            nothing.
    """

    guard: str
    log_e: float | None
    threshold: float
    upper: float | None
    margin: float
    n: int
    verdict: Verdict
    words: str
    numbers: Mapping[str, str | int]
    action: Action = "gate"
    required: bool = False
    lower: float | None = None
    detectable: float | None = None

    @property
    def fired(self) -> bool:
        """The guard has its proof of a difference or of harm."""
        return self.verdict == "harm"
