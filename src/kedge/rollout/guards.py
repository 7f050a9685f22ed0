"""All guards of a plan, read on what was counted so far. Pure: counts in, words and numbers out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge.plane.evidence import KINDS
from kedge.rollout import guard_harm, guard_ratio, guard_scores, guard_shadow, guard_slow
from kedge.rollout.reading import Baseline, ConfidenceStep, OutcomeStep, Reading, StepEvidence
from kedge.rollout.recompute import recompute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedge.plane.evidence import Evidence
    from kedge.rollout.plan import Plan

__all__ = ["Baseline", "ConfidenceStep", "OutcomeStep", "Reading", "StepEvidence", "read", "recompute"]


def read(
    plan: Plan,
    steps: Sequence[StepEvidence],
    baseline: Baseline | None = None,
    *,
    shadow: Evidence | None = None,
    confidence: Sequence[ConfidenceStep] = (),
    outcomes: Sequence[OutcomeStep] = (),
) -> tuple[Reading, ...]:
    """What every guard of the plan says now.

    Args:
        plan: which guards there are.
        steps: every stage with two arms so far, baking included, in order; none before the first.
        baseline: what was frozen before the rollout; None: nothing.
        shadow: the shadow's cell; None where the rollout has had none.
        confidence: top probabilities of the same stages, where the bundle has any.
        outcomes: labelled units, where labels have come.

    Returns:
        One reading a guard, in the plan's order, and ``labels``: whether labels come to both arms alike.
    """
    known = baseline or Baseline()
    labels = guard_ratio.labels(plan, outcomes)
    return (
        *(guard_harm.harm(plan, kind, steps, known) for kind in KINDS if kind != "slow"),
        guard_slow.slow(plan, steps, known),
        guard_harm.wrong(plan, outcomes, known, labels_differ=labels.fired),
        labels,
        guard_ratio.sample_ratio(plan, steps),
        guard_scores.distribution(plan, steps, known),
        guard_scores.confidence(plan, confidence),
        guard_shadow.disagreement(plan, shadow),
        guard_shadow.difference(plan, shadow),
        guard_shadow.failed(plan, shadow),
    )
