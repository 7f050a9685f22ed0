"""Drift of what was served against what the bundle was built on: effects, lines they are held against, verdicts.

Pure functions on counts. A window below the minimum size is never judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from kedge.kernel.snapshot import Counts
from kedge.monitor.histograms import pairs
from kedge.monitor.reasons import explain
from kedge.monitor.report import Cell, Fault, Line, Report, Verdict
from kedge.stats import js_distance, psi_corrected
from kedge.stats.sensitivity import minimum_window, smallest_psi

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedge.bundle.contents import Bundle
    from kedge.bundle.manifest import MonitorConfig
    from kedge.monitor.histograms import Pair
    from kedge.monitor.panes import Window

FAULT_RISE: Final = 0.03
FAULT_RATIO: Final = 1.5
"""A kind of unusable value warns where its share q has q - p >= 0.03 and q >= 1.5 p."""


def judge(bundle: Bundle, window: Window) -> Report:
    """Compare the traffic of a window with the reference of its bundle.

    Raises:
        BundleError: the bundle carries no reference, or one that does not fit it.
    """
    counts = window.counts if window.counts is not None else Counts.zero(bundle.layout())
    both = list(pairs(bundle, counts))
    lines = [_line(pair, bundle.serving.monitor, len(both)) for pair in both]
    lines.sort(key=lambda line: (-line.verdict.rank, -line.psi, line.name))
    cells = max((_occupied(pair) for pair in both), default=2)
    reference = bundle.distributions
    return Report(
        model=bundle.name,
        version=bundle.version,
        bundle=bundle.id,
        window_start=window.start,
        window_end=window.end,
        rows=counts.rows,
        reference_rows=reference.rows if reference else 0,
        minimum_rows=minimum_window(cells, max(1, len(both))),
        smallest_detectable_psi=smallest_psi(counts.rows, cells, max(1, len(both))) if counts.rows else 0.0,
        verdict=_worst(lines),
        lines=tuple(lines),
    )


def _worst(lines: Sequence[Line]) -> Verdict:
    """The worst line; INSUFFICIENT only where nothing could be judged or nothing worse was found."""
    return max((line.verdict for line in lines), key=lambda verdict: verdict.rank, default=Verdict.INSUFFICIENT)


def _occupied(pair: Pair) -> int:
    return max(2, int(np.count_nonzero((pair.reference > 0) | (pair.current > 0))))


def _line(pair: Pair, config: MonitorConfig, lines: int) -> Line:
    rows, reference_rows = int(pair.current.sum()), int(pair.reference.sum())
    effect = float(psi_corrected(pair.reference, pair.current))
    faults = tuple(
        Fault(kind, _share(pair.current, cells), _share(pair.reference, cells)) for kind, cells in pair.faults
    )
    warn, critical = max(config.psi_warn, pair.natural_variation), max(config.psi_critical, pair.natural_variation)
    needed = minimum_window(_occupied(pair), lines)
    verdict, reasons = Verdict.OK, tuple[str, ...]()
    if rows < needed:
        verdict, reasons = Verdict.INSUFFICIENT, (f"{rows:,} rows in the window; {needed:,} are needed",)
    elif effect >= warn or any(map(_broken, faults)):
        verdict = Verdict.CRITICAL if effect >= critical else Verdict.WARN
        reasons = explain(pair, faults)
    return Line(
        subject=pair.subject,
        name=pair.name,
        kind=pair.kind,
        verdict=verdict,
        psi=effect,
        js=float(js_distance(pair.reference, pair.current, corrected=True)),
        psi_warn=warn,
        psi_critical=critical,
        natural_variation=pair.natural_variation,
        rows=rows,
        reference_rows=reference_rows,
        reasons=reasons,
        faults=faults,
        cells=tuple(
            Cell(pair.labels[i], int(pair.current[i]), int(pair.reference[i]))
            for i in pair.order
            if pair.current[i] or pair.reference[i]
        ),
    )


def _share(counts: np.typing.NDArray[np.int64], cells: tuple[int, ...]) -> float:
    total = int(counts.sum())
    return int(counts[list(cells)].sum()) / total if total else 0.0


def _broken(fault: Fault) -> bool:
    return fault.share - fault.reference_share >= FAULT_RISE and fault.share >= FAULT_RATIO * fault.reference_share
