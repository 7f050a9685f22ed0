"""Guards on distributions of the arms: scores of units, and top probabilities of rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kedge.kernel import contract as k
from kedge.rollout import explain
from kedge.rollout.reading import LEAST_UNITS, Reading
from kedge.rollout.recompute import NOTHING, recompute, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from kedge.rollout.guard_plan import DriftGuard
    from kedge.rollout.plan import Plan
    from kedge.rollout.reading import Baseline, ConfidenceStep, StepEvidence
    from kedge.rollout.recompute import Numbers

Arms = tuple["NDArray[np.int64]", "NDArray[np.int64]"]


def slot_order(score: k.NumericFeature | None) -> tuple[int, ...]:
    """Score slots in the order of their values, what is no value last.

    An atom stands after the bin it lies in. Any fixed order is valid; this one has power.

    Args:
        score: layout of the scores; None leaves atoms after the bins.
    """
    placed: list[tuple[float, int, int]] = []
    if score is None:
        placed = [(float(slot), 0, slot) for slot in range(k.UNDERFLOW)]
    else:
        placed = [(edge, 1, slot) for slot, edge in enumerate(score.edges[:-1])]
        # An atom on a bin's lower edge comes before the rest of that bin, one inside it after.
        placed += [
            (atom, 0, k.FIRST_ATOM + place) if atom in score.edges else (_floor(atom, score), 2, k.FIRST_ATOM + place)
            for place, atom in enumerate(score.atoms)
        ]
    values = (k.UNDERFLOW, *(slot for _, _, slot in sorted(placed)), k.OVERFLOW)
    return (*values, *(slot for slot in range(k.NUMERIC_SLOTS) if slot not in values))


def _floor(value: float, score: k.NumericFeature) -> float:
    return max((edge for edge in score.edges if edge <= value), default=-np.inf)


def distribution(plan: Plan, steps: Sequence[StepEvidence], baseline: Baseline) -> Reading:
    """Scores of first requests, canary against control."""
    order = list(slot_order(baseline.score))
    arms = [(step.canary.first_scores[order], step.control.first_scores[order]) for step in steps]
    return _apart(plan, "distribution", arms)


def confidence(plan: Plan, steps: Sequence[ConfidenceStep]) -> Reading:
    """Top probabilities of rows. Rows of one request are alike, so the bands are narrower than they should be."""
    return _apart(plan, "confidence", [(step.canary, step.control) for step in steps])


def _apart(plan: Plan, guard: str, arms: Sequence[Arms]) -> Reading:
    rule: DriftGuard = getattr(plan.guards, guard)
    numbers: Numbers = {
        "guard": guard,
        "method": "bands",
        "alpha": repr(plan.guard_alpha),
        "tolerance": repr(rule.tolerance),
        "planned": plan.stages,
        "stages": len(arms),
    }
    for place, (canary, control) in enumerate(arms):
        numbers |= {f"{place}.canary": text(canary), f"{place}.control": text(control)}
    counted = sum(int(canary.sum()) for canary, _ in arms)
    watched = rule.enabled and counted > 0
    proof = recompute(numbers) if watched else NOTHING
    reading = Reading(
        guard=guard,
        log_e=None,
        threshold=0.0,
        upper=proof.upper,
        lower=proof.lower,
        margin=rule.tolerance,
        n=sum(int(canary.sum() + control.sum()) for canary, control in arms),
        verdict="insufficient" if watched else "off",
        words="",
        numbers=numbers,
        action=rule.action,
    )
    if reading.verdict != "off":
        if proof.lower is not None and proof.lower > rule.tolerance:
            reading = replace(reading, verdict="harm")
        elif counted >= LEAST_UNITS:
            near = proof.upper is not None and proof.upper < rule.tolerance
            reading = replace(reading, verdict="proven" if near else "open")
    return replace(reading, words=explain.apart(reading))
