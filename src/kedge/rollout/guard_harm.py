"""Guards on events that are harm: is the canary's rate above the control's, and is it surely not much above it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kedge.rollout import explain
from kedge.rollout.reading import LEAST_UNITS, Reading
from kedge.rollout.recompute import NOTHING, recompute
from kedge.stats import smallest_ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedge.plane.evidence import Evidence, Kind
    from kedge.rollout.guard_plan import HarmGuard
    from kedge.rollout.plan import Plan
    from kedge.rollout.reading import Baseline, OutcomeStep, StepEvidence, Verdict
    from kedge.rollout.recompute import Numbers, Proof


@dataclass(frozen=True)
class Arm:
    """One arm's counts of one stage: units, first requests that were an event, units that ever had one."""

    units: int
    bad: int
    ever: int


@dataclass(frozen=True)
class Stage:
    """Both arms of one stage, and the canary's share of their units.

    `expected`: events of equal arms that fall on the canary, where the share of its units moved within the stage; None
    for that share of all events. `together`: units that one cause strikes at once; None for what the baseline says.
    """

    share: float
    canary: Arm
    control: Arm
    expected: float | None = None
    together: int | None = None


def harm(plan: Plan, kind: Kind, steps: Sequence[StepEvidence], baseline: Baseline) -> Reading:
    """Compare one kind of event, counted once a unit, through all stages.

    The e-value is on units that ever had such an event, the bound on first requests that were one: see
    `kedge.plane.evidence`.
    """
    stages = [Stage(step.share, _arm(step.canary, kind), _arm(step.control, kind)) for step in steps]
    return compare(plan, kind, stages, baseline)


def _arm(counted: Evidence, kind: Kind) -> Arm:
    return Arm(counted.units, counted.request_events(kind), counted.first_events(kind))


def wrong(plan: Plan, outcomes: Sequence[OutcomeStep], baseline: Baseline, *, labels_differ: bool) -> Reading:
    """Compare wrong predictions of labelled units, at the shares in force when they were predicted.

    Where labels do not come to both arms alike nothing is concluded from them.
    """
    stages = [
        Stage(
            step.share,
            Arm(step.canary_wrong + step.canary_right, step.canary_wrong, step.canary_wrong),
            Arm(step.control_wrong + step.control_right, step.control_wrong, step.control_wrong),
        )
        for step in outcomes
    ]
    reading = compare(plan, "outcomes", stages, baseline)
    if not labels_differ or reading.verdict == "off":
        return reading
    return replace(
        reading, verdict="insufficient", words=f"{explain.WHAT['outcomes']}: INSUFFICIENT (labels differ by arm)"
    )


def compare(plan: Plan, guard: str, stages: Sequence[Stage], baseline: Baseline) -> Reading:
    """A reading from counts alone.

    Args:
        plan: with the guard's tolerance and margin.
        guard: name of a `HarmGuard`.
        stages: counts, in order.
        baseline: with the control's rate.
    """
    rule: HarmGuard = getattr(plan.guards, guard)
    alpha = plan.guard_alpha
    numbers: Numbers = {
        "guard": guard,
        "method": "harm",
        "alpha": repr(alpha),
        "tolerance": repr(rule.tolerance),
        "margin": repr(rule.margin),
        "rate": repr(baseline.rates.get(guard, 0.0)),
        "together": max(1, baseline.together.get(guard, 1)),
        "stages": len(stages),
    }
    for place, stage in enumerate(stages):
        numbers[f"{place}.share"] = repr(stage.share)
        for name, arm in (("canary", stage.canary), ("control", stage.control)):
            numbers |= {
                f"{place}.{name}.units": arm.units,
                f"{place}.{name}.bad": arm.bad,
                f"{place}.{name}.ever": arm.ever,
            }
        if stage.expected is not None:
            numbers[f"{place}.expected"] = repr(stage.expected)
        if stage.together is not None:
            numbers[f"{place}.together"] = stage.together
    watched = rule.enabled and bool(stages)
    blind = guard in baseline.blind
    proof = recompute(numbers) if watched and not blind else NOTHING
    events = [(stage.canary.ever + stage.control.ever, stage) for stage in stages]
    causes = [(n / (stage.together or int(numbers["together"])), stage.share) for n, stage in events]
    ratio = smallest_ratio(causes, alpha, rule.tolerance)
    units = sum(stage.canary.units for stage in stages)
    reading = Reading(
        guard=guard,
        log_e=proof.log_e,
        threshold=-math.log(alpha),
        upper=proof.upper,
        margin=rule.margin,
        n=sum(n for n, _ in events),
        verdict=_verdict(proof, units, rule, alpha) if watched else "off",
        words="",
        numbers=numbers,
        action=rule.action,
        required=rule.required,
        detectable=ratio if math.isfinite(ratio) else None,
    )
    return replace(reading, words=explain.harm(reading, stages, blind=blind))


def _verdict(proof: Proof, units: int, rule: HarmGuard, alpha: float) -> Verdict:
    """Harm is said on however little evidence proves it; that there is none, only on enough."""
    if proof.log_e is None:
        return "insufficient"
    if proof.log_e >= -math.log(alpha):
        return "harm"
    if units < LEAST_UNITS:
        return "insufficient"
    return "proven" if proof.upper is not None and proof.upper < rule.margin else "open"
