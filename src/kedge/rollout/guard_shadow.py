"""Guards on a shadow: how often, and how far, its answers differ from those of the live bundle, and how often it fails.

Pairs are requests, not units: a shadow has no arm that was drawn. A client that sends the same row a thousand times
weighs a thousand times, so these guards hold a rollout for a person to look and do not roll back unless told to. The
bets are fixed, so their capital is a function of counts: panes may be summed, and order does not matter.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from kedge.plane.evidence import DIFFERENCE_BINS, Evidence
from kedge.rollout import explain
from kedge.rollout.reading import LEAST_UNITS, Reading
from kedge.rollout.recompute import NOTHING, recompute, text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kedge.rollout.guard_plan import DriftGuard
    from kedge.rollout.plan import Plan
    from kedge.rollout.recompute import Numbers

_NO_YES = np.array([0.0, 1.0])
_EDGES = np.arange(DIFFERENCE_BINS + 1) / DIFFERENCE_BINS


def disagreement(plan: Plan, shadow: Evidence | None) -> Reading:
    """Share of pairs whose predicted classes differ; off where no classes are predicted."""
    cell = shadow or Evidence.empty()
    pairs = int(cell.agreement.sum())
    counts = np.array([pairs - cell.disagreed, cell.disagreed])
    return _mean(plan, "disagreement", counts, _NO_YES, _NO_YES)


def difference(plan: Plan, shadow: Evidence | None) -> Reading:
    """Mean |score difference| of pairs, from the edges of its bins; off where there are no scores."""
    return _mean(plan, "difference", (shadow or Evidence.empty()).differences, _EDGES[:-1], _EDGES[1:])


def failed(plan: Plan, shadow: Evidence | None) -> Reading:
    """Share of requests that the live bundle answered and the shadow's model failed on."""
    cell = shadow or Evidence.empty()
    return _mean(plan, "failed", np.array([cell.compared, cell.failed]), _NO_YES, _NO_YES)


def _mean(
    plan: Plan, guard: str, counts: NDArray[np.int64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> Reading:
    rule: DriftGuard = getattr(plan.guards, guard)
    numbers: Numbers = {
        "guard": guard,
        "method": "mean",
        "alpha": repr(plan.guard_alpha),
        "tolerance": repr(rule.tolerance),
        "low": " ".join(map(repr, low.tolist())),
        "high": " ".join(map(repr, high.tolist())),
        "counts": text(counts),
    }
    n, threshold = int(counts.sum()), -math.log(plan.guard_alpha)
    watched = rule.enabled and n > 0
    proof = recompute(numbers) if watched else NOTHING
    reading = Reading(
        guard=guard,
        log_e=proof.log_e,
        threshold=threshold,
        upper=proof.upper,
        lower=proof.lower,
        margin=rule.tolerance,
        n=n,
        verdict="insufficient" if watched else "off",
        words="",
        numbers=numbers,
        action=rule.action,
    )
    if reading.verdict != "off":
        if (proof.log_e or 0.0) >= threshold:
            reading = replace(reading, verdict="harm")
        elif n >= LEAST_UNITS:
            near = proof.upper is not None and proof.upper < rule.tolerance
            reading = replace(reading, verdict="proven" if near else "open")
    return replace(reading, words=explain.mean(reading, float(counts @ low) / n if n else 0.0))
