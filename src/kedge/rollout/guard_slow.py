"""Guard on slow runs: of the units whose first request ran in a batch of a size with a line, not of all.

The arms run batches of different sizes, so the units that can be judged are not drawn in the ratio of the shares: at
5 % a canary may run requests one by one of which the control has twenty a batch. What is expected of the canary is
therefore its part of the *judged* units, look by look: with J judged units between two looks, Jc of them the canary's,
and n slow ones, ``expected`` grows by n Jc / J.

Why the e-value stays one. Between two looks, let each batch be slow with a probability p that is the same for both
arms, or at most `tolerance` times p for the canary, and let one batch hold at most c units. By the argument of
`kedge.rollout.recompute` the mean of exp((k g - n L) / c) is at most exp((p / c) (Jc (e^(g - L) - 1) + Jb (e^-L - 1))),
which is 1 for L = ln(1 + rho (e^g - 1)), rho = Jc / J. So with the rho of each look the product over looks is a test
supermartingale, whatever p and rho do over time, and whatever lines were in force: those of a stretch are frozen from
runs before it, and so is c. ln(1 + rho (e^g - 1)) is concave in rho, so one rho for many looks, their mean weighted by
n, which is ``expected`` / n, only makes the e-value smaller. The bound rests on totals: it assumes that judged units of
the arms keep about one ratio while the same lines are in force. Other lines judge other units in another ratio, so
what was judged under them is never added up with these, but has a stage of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from kedge.rollout import explain
from kedge.rollout.guard_harm import Arm, Stage, compare
from kedge.rollout.reading import LEAST_UNITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedge.rollout.plan import Plan
    from kedge.rollout.reading import Baseline, Reading, StepEvidence

COVERED: Final = 0.9
"""Part of the canary's units that must be judged before nothing can be said to be wrong with the others."""


def slow(plan: Plan, steps: Sequence[StepEvidence], baseline: Baseline) -> Reading:
    """Compare slow runs, counted once a unit by its first request, through all stages.

    Harm is said on however few units prove it. That there is none is said only where `COVERED` of the canary's units
    were judged since the lines in force were frozen, at least `LEAST_UNITS` of them.
    """
    reading = compare(plan, "slow", [stage for step in steps for stage in _stages(step)], baseline)
    if reading.verdict == "off":
        return reading
    ran, judged = steps[-1].covered
    reading = replace(reading, numbers={**reading.numbers, "of": "judged", "ran": ran, "judged": judged})
    if reading.verdict in {"open", "proven"} and (judged < LEAST_UNITS or judged < COVERED * ran):
        return replace(reading, verdict="insufficient", words=explain.uncovered(ran, judged, COVERED))
    return reading


def _stages(step: StepEvidence) -> list[Stage]:
    """Units by the lines they were judged under. Where one arm alone was judged there is nothing to compare."""
    both = [one for one in step.judged if one.canary and one.control]
    return [
        Stage(
            one.canary / (one.canary + one.control),
            Arm(one.canary, one.canary_slow, one.canary_slow),
            Arm(one.control, one.control_slow, one.control_slow),
            one.expected,
            one.together,
        )
        for one in both
    ] or [Stage(step.share, Arm(0, 0, 0), Arm(0, 0, 0), 0.0)]
