"""Verdicts on labels: is the model wrong more often than when it was built, do its intervals hold what they promise.

Both rest on confidence sequences, which hold at all times at once, so that they may be looked at after every label.
Closed cohorts alone are judged: in younger ones the labels that come early may be others than those that come late.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

from kedge.monitor.verdict import Cause, Judgement, Span, Verdict
from kedge.stats import betting_confidence_sequence, coverage_floor

if TYPE_CHECKING:
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


class _Found(NamedTuple):
    """One side of a verdict: `bad` of `n`, which should be at most `line` of them."""

    name: str
    test: str
    bad: int
    n: int
    line: float
    words: str


def judge(report: OutcomesReport) -> tuple[Judgement, ...]:
    """Judge every arm that answers by itself, in accuracy and coverage where they can be told.

    Accuracy: the lower confidence bound of the share of wrong classes against the upper bound of the same on the
    evaluation data. Coverage: the same of labels outside their interval or set, against what the coverage floor of the
    calibration data allows.

    Source: Podkopaev and Ramdas 2022, "Tracking the risk of a deployed model and detecting harmful distribution
    shifts"; Waudby-Smith and Ramdas 2024.
    """
    return tuple(
        _judgement(report.target, arm, side)
        for arm in report.arms
        if arm.arm in JUDGED_ARMS
        for side in (_accuracy(report.target, arm), _coverage(report.target, arm))
        if side is not None
    )


def condemns(target: Target, found: Judgement) -> bool:
    """Whether a verdict may take the live bundle back: too many wrong classes, by labels that stand for the others.

    Labels that depend on the prediction alert and no more: of a bundle that is as good as ever, those that come may be
    the wrong ones.
    """
    return not target.selective and (found.arm, found.name, found.verdict) == ("live", "accuracy", Verdict.CRITICAL)


def _accuracy(target: Target, arm: ArmOutcomes) -> _Found | None:
    if target.values or target.risk is None:
        return None
    n = arm.closed.labelled
    wrong = n - arm.closed.right
    words = (
        f"{100 * wrong / max(1, n):.1f} % of {n:,} labelled answers are wrong; at build {100 * target.risk:.1f} % at "
        "most were"
    )
    return _Found("accuracy", "risk", wrong, n, target.risk, words)


def _coverage(target: Target, arm: ArmOutcomes) -> _Found | None:
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
    return _Found("coverage", "coverage", missed, n, 1.0 - floor, words)


def _judgement(target: Target, arm: ArmOutcomes, side: _Found) -> Judgement:
    lower = float(betting_confidence_sequence([0.0, 1.0], [side.n - side.bad, side.bad], 2 * ALPHA)[0])
    reasons: tuple[str, ...]
    if side.n < LEAST:
        verdict, reasons = Verdict.INSUFFICIENT, (f"{side.n:,} labels of closed cohorts; {LEAST} are needed",)
    elif lower > side.line + CRITICAL:
        verdict, reasons = Verdict.CRITICAL, (side.words, *_limits(target, arm))
    elif lower > side.line + TOLERANCE:
        verdict, reasons = Verdict.WARN, (side.words, *_limits(target, arm))
    else:
        verdict, reasons = Verdict.OK, ()
    spans = [cohort for cohort in arm.cohorts if cohort.closed and cohort.counts.labelled]
    windows = (Span(spans[0].start, spans[-1].end, side.n),) if spans else ()
    return Judgement(
        model=target.model, version=target.version, bundle=target.bundle, arm=arm.arm, subject="outcomes",
        name=side.name, verdict=verdict, cause=Cause.MODEL if verdict.problem else Cause.NONE,
        test=side.test if side.n >= LEAST else "", effect=side.bad / max(1, side.n), line=side.line + TOLERANCE,
        statistic=float(side.bad), p_value=math.nan, windows=windows, rows=side.n,
        smallest_detectable=min(1.0, TOLERANCE + math.sqrt(math.log(1 / ALPHA) / (2 * max(1, side.n)))),
        reasons=reasons,
    )  # fmt: skip


def _limits(target: Target, arm: ArmOutcomes) -> tuple[str, ...]:
    """What the labels do not say."""
    words = []
    share = arm.closed_figures.share
    if share is not None and share < 1:
        words.append(f"labels came for {100 * share:.1f} % of the predictions")
    if target.selective:
        words.append(
            "labels come for some predictions only, depending on the prediction: nothing is said of the others"
        )
    return tuple(words)
