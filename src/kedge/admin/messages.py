"""Values of the monitor as messages of ``kedge.v1``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge.proto import admin as pb

if TYPE_CHECKING:
    from kedge.monitor.report import Line, Report
    from kedge.monitor.verdict import Judgement


def drift_message(report: Report) -> pb.DriftReport:
    """A drift report as its message."""
    estimate = report.estimate
    return pb.DriftReport(
        model=report.model,
        version=report.version,
        bundle=report.bundle,
        window_start=report.window_start,
        window_end=report.window_end,
        rows=report.rows,
        reference_rows=report.reference_rows,
        minimum_rows=report.minimum_rows,
        smallest_detectable_psi=report.smallest_detectable_psi,
        verdict=pb.Verdict.Value(report.verdict.value),
        lines=map(_line, report.lines),
        estimate=None
        if estimate is None
        else pb.AccuracyEstimate(
            accuracy=estimate.accuracy,
            error=estimate.error,
            reference=estimate.reference,
            rows=estimate.rows,
            enough=estimate.enough,
        ),
    )


def standing_message(item: Judgement) -> pb.Standing:
    """A judgement as its message."""
    return pb.Standing(
        model=item.model,
        version=item.version,
        bundle=item.bundle,
        arm=item.arm,
        subject=item.subject,
        name=item.name,
        verdict=pb.Verdict.Value(item.verdict.value),
        cause=pb.Cause.Value(item.cause.name),
        test=item.test,
        effect=item.effect,
        line=item.line,
        statistic=item.statistic,
        p_value=item.p_value,
        windows=[pb.Span(start=span.start, end=span.end, rows=span.rows) for span in item.windows],
        rows=item.rows,
        smallest_detectable=item.smallest_detectable,
        reasons=item.reasons,
    )


def _line(line: Line) -> pb.DriftLine:
    return pb.DriftLine(
        subject=line.subject,
        name=line.name,
        kind=line.kind,
        verdict=pb.Verdict.Value(line.verdict.value),
        cause=pb.Cause.Value(line.cause.name),
        test=line.test,
        w1=line.w1,
        rise=line.rise,
        p_value=line.p_value,
        windows=line.windows,
        psi=line.psi,
        js=line.js,
        psi_warn=line.psi_warn,
        psi_critical=line.psi_critical,
        natural_variation=line.natural_variation,
        rows=line.rows,
        reference_rows=line.reference_rows,
        reasons=line.reasons,
        faults=[pb.FaultShare(kind=f.kind, share=f.share, reference_share=f.reference_share) for f in line.faults],
        cells=[pb.Cell(label=c.label, count=c.current, reference_count=c.reference) for c in line.cells],
    )
