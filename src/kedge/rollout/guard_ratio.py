"""Sample ratio: do units, and labelled units, come to the arms in the ratio that was drawn."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from kedge.rollout import explain
from kedge.rollout.reading import Reading
from kedge.rollout.recompute import recompute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedge.rollout.plan import Plan
    from kedge.rollout.reading import OutcomeStep, StepEvidence
    from kedge.rollout.recompute import Numbers

PRIOR_UNITS: Final = 1000.0
"""Weight of the Beta prior around the declared share, in units. Lindon and Malek centre the prior on the share and
leave its weight open. At 1,000 it expects shares off by about one point at 10 % and 1.6 at 50 %, which is what lost
clients and broken routing look like; a weight only trades power, never validity."""
LABELS_ALPHA: Final = 0.001
"""Of the check on labelled units."""


def sample_ratio(plan: Plan, steps: Sequence[StepEvidence]) -> Reading:
    """Units per arm against the share, through all stages."""
    counts = [(step.share, step.canary.units, step.control.units) for step in steps]
    return _reading("sample_ratio", counts, plan.guard_alpha, plan)


def labels(plan: Plan, outcomes: Sequence[OutcomeStep]) -> Reading:
    """Labelled units per arm against the share when predicted: labels that come to one arm more often prove nothing."""
    counts = [
        (step.share, step.canary_wrong + step.canary_right, step.control_wrong + step.control_right)
        for step in outcomes
    ]
    return _reading("labels", counts, LABELS_ALPHA, plan)


def _reading(guard: str, counts: Sequence[tuple[float, int, int]], alpha: float, plan: Plan) -> Reading:
    numbers: Numbers = {
        "guard": guard,
        "method": "ratio",
        "alpha": repr(alpha),
        "prior": repr(PRIOR_UNITS),
        "stages": len(counts),
    }
    for place, (share, canary, control) in enumerate(counts):
        numbers |= {
            f"{place}.share": repr(share),
            f"{place}.canary.units": canary,
            f"{place}.control.units": control,
        }
    enabled = plan.guards.sample_ratio.enabled if guard == "sample_ratio" else plan.guards.outcomes.enabled
    log_e = recompute(numbers).log_e if enabled and counts else None
    threshold = -math.log(alpha)
    reading = Reading(
        guard=guard,
        log_e=log_e,
        threshold=threshold,
        upper=None,
        margin=0.0,
        n=sum(canary + control for _, canary, control in counts),
        verdict="off" if log_e is None else "harm" if log_e >= threshold else "open",
        words="",
        numbers=numbers,
        action=plan.guards.sample_ratio.action if guard == "sample_ratio" else "hold",
    )
    return replace(reading, words=explain.ratio(reading, counts))
