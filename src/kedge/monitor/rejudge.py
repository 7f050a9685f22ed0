"""Judging again: the rules of the evaluator on counts that were kept. Pure functions of a frame and grounds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from kedge.errors import Code, KedgeError, SnapshotError
from kedge.kernel.contract import BATCH_SIZE_BUCKETS, LATENCY_BUCKETS
from kedge.kernel.state import STATUS, state_of
from kedge.monitor.judgements import (
    Evidence,
    chart_judgement,
    drift_judgement,
    fault_judgements,
    system_judgement,
)
from kedge.monitor.rules import Drift, agree, fault_level, judge
from kedge.monitor.system import CODES, TESTS, Usual, share_health
from kedge.monitor.track import SYSTEM_SHARE, charts_of, fault_budget, figures
from kedge.monitor.units import Units

if TYPE_CHECKING:
    from kedge.monitor.frame import Frame
    from kedge.monitor.grounds import Counted, Grounds
    from kedge.monitor.rules import Window
    from kedge.monitor.system import Health
    from kedge.monitor.verdict import Judgement

FAULTS: Final = frozenset({"missing", "invalid", "unseen", "out of range"})


class GroundsError(KedgeError):
    """What a judgement was made of does not fit what is to be judged again."""

    code = Code.FAILED_PRECONDITION


def rejudge(frame: Frame, grounds: Grounds, *, arm: str, subject: str, name: str, test: str) -> Judgement:
    """Judge one watched thing again.

    Args:
        frame: of the bundle.
        grounds: what the judgement rested on.
        arm: under which the bundle answered.
        subject: of what is watched, as in `Judgement`.
        name: of it.
        test: that decided.

    Raises:
        GroundsError: the bundle watches no such thing, or the grounds are not those of such a judgement.
    """
    try:
        if subject == "system":
            return system_judgement(frame.bundle, arm, _health(frame, name, grounds))
        lines = [i for i, side in enumerate(frame.sides) if (side.subject, side.name) == (subject, name)]
        if not lines:
            raise GroundsError(f"bundle {frame.bundle.id[:12]} watches no {subject} '{name}'")
        if test == "chart":
            return _charted(frame, arm, lines[0], grounds)
        return _line(frame, arm, lines[0], test, grounds)
    except SnapshotError as error:
        raise GroundsError(f"{subject} {name}: {error}") from error


def _line(frame: Frame, arm: str, line: int, test: str, grounds: Grounds) -> Judgement:
    windows = tuple(_window(frame, counted) for counted in grounds.windows)
    if not windows:
        raise GroundsError(f"no window of {frame.sides[line].subject} '{frame.sides[line].name}' was kept")
    if test in FAULTS:
        for item in fault_judgements(frame, arm, line, windows[-1]):
            if item.test == test:
                return item
    none = np.zeros(len(frame.sides), np.bool_)
    drift = agree(frame, *windows) if len(windows) == 2 else Drift(none, none)
    known = {} if grounds.looked is None else claims(frame, grounds.looked, grounds.units)
    return drift_judgement(frame, arm, line, Evidence.of(frame, windows, drift, known), claim=known.get(line, ""))


def _window(frame: Frame, counted: Counted) -> Window:
    span = counted.span
    return judge(frame, counted.counts.words, span, fault_level(fault_budget(frame), span.end - span.start))


def claims(frame: Frame, looked: Counted, memory: bytes) -> dict[int, str]:
    """What points at a changed unit or a stuck value, by line, found again.

    Args:
        frame: of the bundle.
        looked: the window that was looked at last.
        memory: what was remembered before it, as `Units.before` gives it.

    Raises:
        SnapshotError: the memory is damaged or of other features.
    """
    units = Units(frame)
    units.restore(memory)
    window = _window(frame, looked)
    units.look(window.words, window.moved)
    return units.claims


def _charted(frame: Frame, arm: str, line: int, grounds: Grounds) -> Judgement:
    charts = charts_of(frame)
    if not charts.restored(grounds.memory):
        raise GroundsError("the charts' state that was kept is damaged or of other lines")
    end = math.nan
    if grounds.windows:
        (window,) = grounds.windows
        charts.step(int(window.span.start // 3600), figures(frame, window.counts.words))
        end = window.span.end
    return chart_judgement(frame, arm, line, charts, end)


def _health(frame: Frame, name: str, grounds: Grounds) -> Health:
    if not grounds.windows:
        raise GroundsError(f"no window of {name} was kept")
    budget = SYSTEM_SHARE * frame.bundle.serving.monitor.alarm_budget_per_day / TESTS
    last = grounds.windows[-1]
    if name in CODES:
        return share_health(name, last.counts.words[STATUS], last.span, grounds.past, budget)
    shape = (BATCH_SIZE_BUCKETS, LATENCY_BUCKETS)
    if len(grounds.memory) != 8 * BATCH_SIZE_BUCKETS * LATENCY_BUCKETS:
        raise GroundsError("the usual run times that were kept are damaged")
    usual = Usual(np.frombuffer(grounds.memory, "<i8").astype(np.int64).reshape(shape))
    place = state_of(frame.layout).latency_run_by_size
    before = None
    if len(grounds.windows) == 2:
        first = grounds.windows[0]
        if usual.test(first.counts.words[place].reshape(shape), first.span, budget)[0]:
            before = first.span
    health = usual.health(last.counts.words[place].reshape(shape), last.span, before, budget)
    if health is None:
        raise GroundsError("the window of latency that was kept has too few batches")
    return health
