"""Verdicts on slices: is the model wrong more often in one part of its traffic than it was there at build.

A slice alerts the owner of the model, who knows what it means; it never takes a bundle back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kedge.monitor.outcomes.judge import ALPHA, JUDGED_ARMS, Side, judgements
from kedge.stats import clopper_pearson_upper

if TYPE_CHECKING:
    from kedge.bundle.manifest import Metric
    from kedge.monitor.outcomes.report import OutcomesReport
    from kedge.monitor.outcomes.sliced import SliceOutcomes
    from kedge.monitor.verdict import Judgement

BOUND: Final = 0.025
"""Chance that any of the bounds taken from the evaluation data is too low: of all slices together."""


def judge_slices(report: OutcomesReport) -> tuple[Judgement, ...]:
    """Judge the accuracy of every slice that was measured at build, in every arm that answers by itself.

    As `judge` judges accuracy, by a confidence sequence that may be looked at after every label, with `ALPHA` divided
    by the number of slices that are judged, which is known before the first label. The line is the upper
    Clopper-Pearson bound of the slice's own share of wrong classes at build, at `BOUND` divided likewise: where those
    hold, the chance of ever accusing any slice of an arm that is no worse than at build is at most `ALPHA`. Slices
    that were not measured at build, and predicted values, are shown and not judged.

    Source: Podkopaev and Ramdas 2022; Waudby-Smith and Ramdas 2024; Bonferroni.
    """
    target = report.target
    built = {
        name: metric
        for name in target.slices.names
        if (metric := target.measured.get(name, {}).get("accuracy")) is not None
        and metric.n
        and 0 <= metric.value <= 1  # a bundle may say anything
    }
    together = len(built)
    if target.values or not together:
        return ()
    known = {name: _built(metric, BOUND / together) for name, metric in built.items()}
    found: list[Judgement] = []
    for arm in report.arms:
        if arm.arm in JUDGED_ARMS:
            sides = [_side(line, *known[line.name], together) for line in arm.slices if line.name in known]
            found += judgements(target, arm, sides, ALPHA / together)
    return tuple(found)


def _built(metric: Metric, alpha: float) -> tuple[float, float]:
    """Share of wrong classes at build, and its upper bound."""
    wrong = round((1 - metric.value) * metric.n)
    return wrong / metric.n, float(clopper_pearson_upper(wrong, metric.n, 1 - alpha))


def _side(line: SliceOutcomes, before: float, risk: float, together: int) -> Side:
    n, wrong = line.closed.labelled, line.closed.labelled - line.closed.right
    words = (
        f"{100 * wrong / max(1, n):.1f} % of {n:,} labelled answers with {line.name} are wrong; at build "
        f"{100 * before:.1f} % were, {100 * risk:.1f} % at most ({together} slices judged together)"
    )
    return Side(f"accuracy of {line.name}", "risk", wrong, n, risk, words, line.closed_figures.share)
