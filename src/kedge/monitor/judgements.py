"""From what a track has seen to what is said of each line: the worst of its windows, faults and chart, in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from kedge.monitor.charts import HOUR
from kedge.monitor.reasons import explain, fault_reason
from kedge.monitor.report import Fault
from kedge.monitor.rules import FAULT_CRITICAL, Drift
from kedge.monitor.track import SIZES
from kedge.monitor.verdict import Cause, Judgement, Span, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kedge.bundle.contents import Bundle
    from kedge.monitor.charts import Charts
    from kedge.monitor.frame import Frame
    from kedge.monitor.rules import Window
    from kedge.monitor.system import Health
    from kedge.monitor.track import Track

FAULT_POWER: Final = 1.2816
"""Normal quantile of 90 % power."""
FAULT_QUANTILE: Final = 5.0
"""About that of the level of a fault test: budgets of 0.1 a day over dozens of tests and hundreds of windows."""
_INPUTS: Final = {
    Cause.NONE: "no single input drifted",
    Cause.DATA: "inputs drifted as well",
    Cause.PIPELINE: "inputs are broken",
}


def all_judgements(track: Track) -> list[Judgement]:
    """One for every line and every test of the system's health, in the frame's order."""
    evidence = _evidence(track)
    return [*(_line(track, i, evidence) for i in range(len(track.frame.sides))), *_system(track)]


def problems(track: Track) -> list[Judgement]:
    """Those that are WARN or CRITICAL."""
    lines = np.zeros(len(track.frame.sides), np.bool_)
    for running in track.running.values():
        if running.last is not None:
            lines[track.frame.faults.lines[running.last.broken]] = True
            if running.drift is not None:
                lines |= running.drift.drifted
    lines[list(track.units.claims)] = True
    if track.charts is not None:
        lines |= track.charts.alarm
    evidence = _evidence(track)
    found = [_line(track, i, evidence) for i in np.flatnonzero(lines).tolist()]
    return [item for item in (*found, *_system(track)) if item.verdict.problem]


@dataclass(frozen=True, eq=False)
class Evidence:
    """The windows judged last of one size (one or two), what they agree on, and what the inputs suffered in them."""

    windows: tuple[Window, ...]
    drift: Drift
    inputs: Cause

    @classmethod
    def of(cls, frame: Frame, windows: tuple[Window, ...], drift: Drift, claims: Mapping[int, str]) -> Evidence:
        """Gather what judging any line of these windows needs."""
        return cls(windows, drift, _inputs(frame, windows[-1], drift, claims))


def _evidence(track: Track) -> list[Evidence]:
    found = []
    for running in track.running.values():
        if running.last is not None:
            windows = (running.last,) if running.before is None else (running.before, running.last)
            none = np.zeros_like(running.last.moved)
            found.append(Evidence.of(track.frame, windows, running.drift or Drift(none, none), track.units.claims))
    return found


def _line(track: Track, line: int, evidence: list[Evidence]) -> Judgement:
    """The worst of all candidates; of equals the first: faults before drift before charts, fast before slow."""
    return max(_candidates(track, line, evidence), key=lambda item: item.verdict.rank)


def _candidates(track: Track, line: int, evidence: list[Evidence]) -> Iterator[Judgement]:
    frame, arm, claim = track.frame, track.arm, track.units.claims.get(line, "")
    for seen in evidence:
        yield from fault_judgements(frame, arm, line, seen.windows[-1])
    quiet: Judgement | None = None
    for seen in evidence:
        last = seen.windows[-1]
        if not last.judged[line] or (len(seen.windows) == 1 and last.moved[line] and not claim):
            continue  # one window without a finding is enough to call a line quiet, but not to accuse it
        item = drift_judgement(frame, arm, line, seen, claim=claim)
        if item.verdict.problem:
            yield item
        quiet = quiet or item
    if track.charts is not None and track.charts.alarm[line]:
        yield chart_judgement(frame, arm, line, track.charts, track.hour * HOUR)
    yield quiet or _unjudged(track, line)


def _inputs(frame: Frame, last: Window, drift: Drift, claims: Mapping[int, str]) -> Cause:
    """What the inputs suffered: the explanation of predictions that moved. NONE if nothing."""
    share = last.measures.events / np.maximum(last.measures.trials, 1)
    broken = last.broken & frame.features[frame.faults.lines] & (share - frame.faults.reference >= FAULT_CRITICAL)
    if broken.any() or any(frame.features[line] for line in claims):
        return Cause.PIPELINE
    return Cause.DATA if (drift.drifted & frame.features).any() else Cause.NONE


def drift_judgement(frame: Frame, arm: str, line: int, evidence: Evidence, *, claim: str = "") -> Judgement:
    """Judge a line by its last windows.

    Args:
        frame: of the bundle.
        arm: under which it answered; empty for several.
        line: of the frame.
        evidence: its windows, and what they agree on.
        claim: what points at the pipeline, if anything does.
    """
    side, last, inputs = frame.sides[line], evidence.windows[-1], evidence.inputs
    verdict, cause, reasons = Verdict.OK, Cause.NONE, tuple[str, ...]()
    if evidence.drift.drifted[line] or claim:
        verdict = Verdict.CRITICAL if evidence.drift.far[line] else Verdict.WARN
        reasons = (*((claim,) if claim else ()), *explain(side, last.words, faults(frame, line, last)))
        cause = Cause.PIPELINE if claim or _only_faults(frame, line, last) else Cause.DATA
        if side.subject != "feature":
            cause = Cause.MODEL if inputs is Cause.NONE else inputs
            reasons = (*reasons, _INPUTS[inputs])
    found = last.measures
    return Judgement(
        **_who(frame, arm, line), verdict=verdict, cause=cause, test="unit" if claim else "drift",
        effect=float(found.psi[line]), line=float(frame.warn[line]), statistic=float(found.statistic[line]),
        p_value=float(found.p_value[line]), windows=tuple(window.span for window in evidence.windows),
        rows=int(found.rows[line]), smallest_detectable=frame.smallest(line, int(found.rows[line])), reasons=reasons,
    )  # fmt: skip


def fault_judgements(frame: Frame, arm: str, line: int, window: Window) -> Iterator[Judgement]:
    """Judgements on unusable values of a line that are significantly more than the reference allows for."""
    for i in frame.faults.of_line[line]:
        if not window.broken[i]:
            continue
        share, usual, trials = window.share(i), float(frame.faults.upper[i]), int(window.measures.trials[i])
        fault = Fault(frame.faults.kinds[i], share, float(frame.faults.reference[i]))
        far = share - fault.reference_share >= FAULT_CRITICAL
        spread = math.sqrt(max(usual * (1 - usual), 1 / trials) / trials)
        yield Judgement(
            **_who(frame, arm, line), verdict=Verdict.CRITICAL if far else Verdict.WARN,
            cause=Cause.PIPELINE if frame.sides[line].subject == "feature" else Cause.MODEL, test=fault.kind,
            effect=share, line=usual, statistic=float(window.measures.events[i]), p_value=float(window.fault_p[i]),
            windows=(window.span,), rows=trials, smallest_detectable=min(1.0, (FAULT_QUANTILE + FAULT_POWER) * spread),
            reasons=(fault_reason(fault),),
        )  # fmt: skip


def _only_faults(frame: Frame, line: int, window: Window) -> bool:
    """What moved is the share of unusable values; usable ones lie as they should."""
    broken = any(window.broken[i] for i in frame.faults.of_line[line])
    return broken and bool(window.measures.psi_usable[line] < frame.warn[line])


def faults(frame: Frame, line: int, window: Window) -> tuple[Fault, ...]:
    """Shares of all kinds of unusable values of a line."""
    return tuple(
        Fault(frame.faults.kinds[i], window.share(i), float(frame.faults.reference[i]))
        for i in frame.faults.of_line[line]
    )


def chart_judgement(frame: Frame, arm: str, line: int, charts: Charts, end: float) -> Judgement:
    """Judge a line by its chart.

    Args:
        frame: of the bundle.
        arm: under which it answered.
        line: of the frame.
        charts: of all its lines, in the frame's order.
        end: of the hour taken in last, seconds since 1970.
    """
    alarm = bool(charts.alarm[line])
    up = bool(charts.up[line] >= charts.down[line])
    sums = float(max(charts.up[line], charts.down[line]))
    reason = (
        f"hourly values run {'above' if up else 'below'} those of the same hour over the last clean days "
        f"(CUSUM {sums:.1f}, limit {charts.limit:.1f}, in standard deviations)"
    )
    cause = Cause.DATA if frame.sides[line].subject == "feature" else Cause.MODEL
    return Judgement(
        **_who(frame, arm, line), verdict=Verdict.WARN if alarm else Verdict.OK, cause=cause if alarm else Cause.NONE,
        test="chart", effect=sums, line=charts.limit, statistic=math.nan, p_value=math.nan,
        windows=(Span(end - HOUR, end, 0),), rows=0, smallest_detectable=0.0, reasons=(reason,) if alarm else (),
    )  # fmt: skip


def _unjudged(track: Track, line: int) -> Judgement:
    """Nothing was judged yet."""
    rows = int(track.totals[track.frame.sides[line].place].sum()) if len(track.totals) else 0
    least = int(track.frame.needed[line])
    needed = min((size for size in SIZES.values() if size >= least), default=max(SIZES.values()))
    seen = any(running.last is not None and running.last.moved[line] for running in track.running.values())
    reason = "moved in one window; a second must agree" if seen else f"{rows:,} rows so far; {needed:,} are needed"
    return Judgement(
        **_who(track.frame, track.arm, line), verdict=Verdict.INSUFFICIENT, cause=Cause.NONE, test="", effect=0.0,
        line=float(track.frame.warn[line]), statistic=0.0, p_value=1.0, windows=(), rows=rows,
        smallest_detectable=track.frame.smallest(line, needed), reasons=(reason,),
    )  # fmt: skip


def _system(track: Track) -> Iterator[Judgement]:
    for health in track.system.health.values():
        yield system_judgement(track.frame.bundle, track.arm, health)


def system_judgement(bundle: Bundle, arm: str, health: Health) -> Judgement:
    """Put one test of the system's health in the form of a judgement."""
    return Judgement(
        model=bundle.name, version=bundle.version, bundle=bundle.id, arm=arm, subject="system",
        name=health.name, verdict=health.verdict, cause=health.cause, test=health.name, effect=health.effect,
        line=health.line, statistic=float(health.events), p_value=health.p_value, windows=health.windows,
        rows=health.windows[-1].rows if health.windows else 0, smallest_detectable=0.0, reasons=health.reasons,
    )  # fmt: skip


def _who(frame: Frame, arm: str, line: int) -> dict[str, Any]:
    bundle, side = frame.bundle, frame.sides[line]
    return {
        "model": bundle.name, "version": bundle.version, "bundle": bundle.id, "arm": arm,
        "subject": side.subject, "name": side.name,
    }  # fmt: skip
