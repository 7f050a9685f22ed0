"""A report on demand: any stretch of time against the reference, by the rules that the evaluator applies every second.

The stretch is parted in two halves, and a line that moved must have moved in both. Where it cannot be parted, or the
halves are too small, the whole is one window: a question asked once needs no second witness, but the report says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge.kernel.snapshot import Counts
from kedge.monitor.confidence import estimate
from kedge.monitor.judgements import Evidence, drift_judgement, fault_judgements, faults
from kedge.monitor.report import Cell, Line, Report
from kedge.monitor.rules import Drift, agree, fault_level, judge
from kedge.monitor.track import FAULT_SHARE
from kedge.monitor.verdict import Cause, Span, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kedge.monitor import panes
    from kedge.monitor.frame import Frame

ONE_WINDOW = "seen in one window, which could not be parted in two"

HALF = ("moved in the first half of this window only", "moved in the second half of this window only")
NEITHER = "moved over the whole window, in neither half of it by itself"


def report(frame: Frame, parts: Sequence[panes.Window], claims: Mapping[int, str] | None = None) -> Report:
    """Compare traffic with the reference of its bundle.

    Args:
        frame: of the bundle.
        parts: two disjoint windows running, or one, or none (as `Panes.halves` gives them).
        claims: by line: what points at the pipeline.
    """
    counted = [(part, part.counts) for part in parts if part.counts is not None]
    whole = sum((counts for _, counts in counted), start=Counts.zero(frame.layout))
    start, end = (counted[0][0].start, counted[-1][0].end) if counted else (0.0, 0.0)
    budget = FAULT_SHARE * frame.bundle.serving.monitor.alarm_budget_per_day
    judged = judge(frame, whole.words, Span(start, end, whole.rows), fault_level(budget, end - start))
    windows = tuple(
        judge(frame, counts.words, Span(part.start, part.end, counts.rows), 0.0) for part, counts in counted
    )
    known = claims or {}
    alone = Evidence.of(frame, (judged,), Drift(judged.moved, judged.far), known)
    both = Evidence.of(frame, windows, agree(frame, *windows), known) if len(windows) == 2 else alone
    lines = [_line(frame, i, alone, both, known.get(i, "")) for i in range(len(frame.sides))]
    lines.sort(key=lambda line: (-line.verdict.rank, line.cause is not Cause.PIPELINE, -line.psi, line.name))
    widest = int(frame.needed.argmax()) if len(frame.sides) else 0
    return Report(
        model=frame.bundle.name,
        version=frame.bundle.version,
        bundle=frame.bundle.id,
        window_start=start,
        window_end=end,
        rows=whole.rows,
        reference_rows=frame.reference_rows,
        minimum_rows=int(frame.needed.max(initial=0)),
        smallest_detectable_psi=frame.smallest(widest, whole.rows) if len(frame.sides) else 0.0,
        verdict=max((line.verdict for line in lines), key=lambda verdict: verdict.rank, default=Verdict.INSUFFICIENT),
        lines=tuple(lines),
        estimate=estimate(frame.bundle, whole),
    )


def _line(frame: Frame, line: int, alone: Evidence, both: Evidence, claim: str) -> Line:
    whole = alone.windows[0]
    side, found = frame.sides[line], whole.measures
    evidence = both if all(window.judged[line] for window in both.windows) else alone
    candidates = [
        *fault_judgements(frame, "", line, whole),
        drift_judgement(frame, "", line, evidence, claim=claim),
    ]
    worst = max(candidates, key=lambda item: item.verdict.rank)
    verdict, reasons = worst.verdict, worst.reasons
    if worst.test not in ("drift", "unit", ""):  # a fault says what; the drift beside it says how much moved
        reasons = (*reasons, *(reason for reason in candidates[-1].reasons if reason not in reasons))
    elif verdict.problem and len(evidence.windows) == 1:
        reasons = (*reasons, ONE_WINDOW)
    elif evidence is both and not verdict.problem and alone.drift.drifted[line]:
        moved = [window.moved[line] for window in both.windows]
        reasons = (*reasons, HALF[moved.index(True)] if any(moved) else NEITHER)
    judged = bool(whole.judged[line])
    if not judged and not verdict.problem:
        verdict = Verdict.INSUFFICIENT
        reasons = (f"{int(found.rows[line]):,} rows in the window; {int(frame.needed[line]):,} are needed",)
    current = side.current(whole.words)
    return Line(
        subject=side.subject,
        name=side.name,
        kind=side.kind,
        verdict=verdict,
        cause=worst.cause if verdict.problem else Cause.NONE,
        test=worst.test,
        psi=float(found.psi[line]),
        js=float(found.js[line]),
        w1=float(found.w1[line]),
        rise=float(found.rise[line]),
        p_value=float(found.p_value[line]),
        windows=len(evidence.windows) if judged else 0,
        psi_warn=float(frame.warn[line]),
        psi_critical=float(frame.critical[line]),
        natural_variation=side.natural_variation,
        rows=int(found.rows[line]),
        reference_rows=int(side.reference.sum()),
        reasons=reasons,
        faults=faults(frame, line, whole),
        cells=tuple(
            Cell(side.labels[i], int(current[i]), int(side.reference[i]))
            for i in side.order
            if current[i] or side.reference[i]
        ),
    )
