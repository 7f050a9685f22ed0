"""`kedge.v1.OutcomeReports`: what labels say, as messages."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Final

from kedge.admin.handlers import Method
from kedge.monitor.outcomes.figures import Figures
from kedge.monitor.outcomes.judge import judge
from kedge.monitor.outcomes.slice_judge import judge_slices
from kedge.monitor.outcomes.sliced import compare
from kedge.proto import outcomes_report as pb

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kedge.admin.handlers import Call
    from kedge.monitor.outcomes.report import ArmOutcomes, OutcomesReport
    from kedge.monitor.outcomes.sliced import Compared

_PLAIN: Final = tuple(field.name for field in fields(Figures) if field.name != "bounds")


class OutcomeReports:
    """Answers the service.

    Args:
        reports: what labels say of one model, or of all where its name is empty; raises `NotLiveError`.
        clock: seconds since 1970.
    """

    def __init__(self, reports: Callable[[str], Sequence[OutcomesReport]], clock: Callable[[], float]) -> None:
        self._reports = reports
        self._clock = clock

    def methods(self) -> dict[str, Method]:
        """What it answers."""
        return {"GetOutcomesReport": Method(pb.GetOutcomesReportRequest, self.report)}

    def report(self, request: pb.GetOutcomesReportRequest, _: Call) -> pb.OutcomesReports:
        """Answer GetOutcomesReport."""
        return pb.OutcomesReports(time=self._clock(), bundles=map(_bundle, self._reports(request.model)))


def _bundle(report: OutcomesReport) -> pb.BundleOutcomes:
    target = report.target
    slices = judge_slices(report)
    stand = {(item.arm, item.name.removeprefix("accuracy of ")): item.verdict.value for item in slices}
    return pb.BundleOutcomes(
        model=target.model,
        version=target.version,
        bundle=target.bundle,
        classes=target.classes,
        maturity_seconds=target.maturity,
        selective=target.selective,
        alpha=report.alpha,
        statuses=report.statuses,
        evaluated=target.evaluated,
        arms=[_arm(arm, len(target.classes), stand) for arm in report.arms],
        verdicts=[
            pb.OutcomeVerdict(
                arm=item.arm,
                name=item.name,
                verdict=item.verdict.value,
                effect=item.effect,
                line=item.line,
                rows=item.rows,
                reasons=item.reasons,
            )
            for item in (*judge(report), *(item for item in slices if item.verdict.problem))
        ],
    )


def _arm(arm: ArmOutcomes, classes: int, stand: Mapping[tuple[str, str], str]) -> pb.ArmOutcomes:
    return pb.ArmOutcomes(
        arm=arm.arm,
        closed=_figures(arm.closed_figures),
        open=_figures(arm.open_figures),
        late=_figures(arm.late_figures),
        confusion=() if not classes else arm.closed.confusion.ravel().tolist(),
        cohorts=[
            pb.OutcomeCohort(start=cohort.start, end=cohort.end, closed=cohort.closed, figures=_figures(cohort.figures))
            for cohort in arm.cohorts
        ],
        slices=[
            pb.SliceOutcomes(
                feature=line.feature,
                value=line.value,
                closed=_figures(line.closed_figures),
                open=_figures(line.open_figures),
                figures=map(_compared, compare(line, classes)),
                verdict=stand.get((arm.arm, line.name), ""),
            )
            for line in arm.slices
        ],
    )


def _compared(figure: Compared) -> pb.SliceFigure:
    low, high = figure.interval or (None, None)
    built = figure.built
    return pb.SliceFigure(
        name=figure.name,
        value=figure.value,
        low=low,
        high=high,
        n=figure.n,
        built=None if built is None else built.value,
        built_low=None if built is None else built.low,
        built_high=None if built is None else built.high,
        built_n=0 if built is None else built.n,
    )


def _figures(figures: Figures) -> pb.OutcomeFigures:
    message = pb.OutcomeFigures(**{name: getattr(figures, name) for name in _PLAIN})
    if figures.bounds is not None:
        message.accuracy_low, message.accuracy_high = figures.bounds
    return message
