"""Verdicts on labels: is the model wrong more often than when it was built, do its intervals hold what they promise.

Both rest on confidence sequences, which hold at all times at once, so that they may be looked at after every label.
Closed cohorts alone are judged: in younger ones the labels that come early may be others than those that come late.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from kedge.monitor.verdict import Cause, Judgement, Span, Verdict
from kedge.stats import betting_confidence_sequence, coverage_floor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kedge.monitor.outcomes.report import ArmOutcomes, OutcomesReport
    from kedge.monitor.outcomes.target import Target

JUDGED_ARMS: Final = ("live", "control")
"""A canary's outcomes are compared with its control's, by the guard of its rollout."""
ALPHA: Final = 0.001
"""Chance of ever raising a false alarm about a bundle and arm."""
TOLERANCE: Final = 0.02
"""Share of wrong answers, or of missed labels, beyond what was measured at build, that is let pass."""
CRITICAL: Final = 0.05
"""The same from which it is critical."""
LEAST: Final = 100
"""Labels below which nothing is said."""


class Side(NamedTuple):
    """One side of a verdict: `bad` of `n` labels of closed cohorts, which should be at most `line` of them."""

    name: str
    test: str
    bad: int
    n: int
    line: float
    words: str
    share: float | None
    """Of the predictions it is about that have a label, where that is known."""


def judge(report: OutcomesReport) -> tuple[Judgement, ...]:
    """Judge every arm that answers by itself, in accuracy and coverage where they can be told.

    Accuracy: the lower confidence bound of the share of wrong classes against the upper bound of the same on the
    evaluation data. Coverage: the same of labels outside their interval or set, against what the coverage floor of the
    calibration data allows.

    Source: Podkopaev and Ramdas 2022, "Tracking the risk of a deployed model and detecting harmful distribution
    shifts"; Waudby-Smith and Ramdas 2024.
    """
    found: list[Judgement] = []
    for arm in report.arms:
        if arm.arm in JUDGED_ARMS:
            sides = (_accuracy(report.target, arm), _coverage(report.target, arm))
            found += judgements(report.target, arm, [side for side in sides if side is not None], ALPHA)
    return tuple(found)


def condemns(target: Target, found: Judgement) -> bool:
    """Whether a verdict may take the live bundle back: too many wrong classes, by labels that stand for the others.

    Labels that depend on the prediction alert and no more: of a bundle that is as good as ever, those that come may be
    the wrong ones.
    """
    return not target.selective and (found.arm, found.name, found.verdict) == ("live", "accuracy", Verdict.CRITICAL)


def _accuracy(target: Target, arm: ArmOutcomes) -> Side | None:
    if target.values or target.risk is None:
        return None
    n = arm.closed.labelled
    wrong = n - arm.closed.right
    words = (
        f"{100 * wrong / max(1, n):.1f} % of {n:,} labelled answers are wrong; at build {100 * target.risk:.1f} % at "
        "most were"
    )
    return Side("accuracy", "risk", wrong, n, target.risk, words, arm.closed_figures.share)


def _coverage(target: Target, arm: ArmOutcomes) -> Side | None:
    conformal = None if target.distributions is None else target.distributions.conformal
    if conformal is None or not conformal.n:
        return None
    n = arm.closed.intervals
    missed = n - arm.closed.covered
    floor = float(coverage_floor(conformal.n, target.confidence.alpha))
    what = "intervals" if target.values else "sets"
    words = (
        f"{100 * (n - missed) / max(1, n):.1f} % of {n:,} {what} held the label; {100 * floor:.1f} % is the least that "
        f"their calibration allows for"
    )
    return Side("coverage", "coverage", missed, n, 1.0 - floor, words, arm.closed_figures.share)


def judgements(target: Target, arm: ArmOutcomes, sides: Sequence[Side], alpha: float) -> Iterator[Judgement]:
    """What sides come to.

    Args:
        target: whose labels they are.
        arm: and of which arm.
        sides: what is judged.
        alpha: chance of ever raising a false alarm by one of them.
    """
    spans = [cohort for cohort in arm.cohorts if cohort.closed and cohort.counts.labelled]
    counted = np.array([(side.n - side.bad, side.bad) for side in sides]).reshape(-1, 2)
    lower, _ = betting_confidence_sequence([0.0, 1.0], counted, 2 * alpha)
    for side, least in zip(sides, np.atleast_1d(lower).tolist(), strict=True):
        reasons: tuple[str, ...]
        if side.n < LEAST:
            verdict, reasons = Verdict.INSUFFICIENT, (f"{side.n:,} labels of closed cohorts; {LEAST} are needed",)
        elif least > side.line + CRITICAL:
            verdict, reasons = Verdict.CRITICAL, (side.words, *_limits(target, side.share))
        elif least > side.line + TOLERANCE:
            verdict, reasons = Verdict.WARN, (side.words, *_limits(target, side.share))
        else:
            verdict, reasons = Verdict.OK, ()
        yield Judgement(
            model=target.model, version=target.version, bundle=target.bundle, arm=arm.arm, subject="outcomes",
            name=side.name, verdict=verdict, cause=Cause.MODEL if verdict.problem else Cause.NONE,
            test=side.test if side.n >= LEAST else "", effect=side.bad / max(1, side.n), line=side.line + TOLERANCE,
            statistic=float(side.bad), p_value=math.nan, rows=side.n,
            windows=(Span(spans[0].start, spans[-1].end, side.n),) if spans else (),
            smallest_detectable=min(1.0, TOLERANCE + math.sqrt(math.log(1 / alpha) / (2 * max(1, side.n)))),
            reasons=reasons,
        )  # fmt: skip


def _limits(target: Target, share: float | None) -> tuple[str, ...]:
    """What the labels do not say."""
    words = []
    if share is not None and share < 1:
        words.append(f"labels came for {100 * share:.1f} % of the predictions")
    if target.selective:
        words.append(
            "labels come for some predictions only, depending on the prediction: nothing is said of the others"
        )
    return tuple(words)
