"""What a drift report holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from kedge.monitor.verdict import Cause, Subject, Verdict


@dataclass(frozen=True)
class Cell:
    """One cell of both histograms, and what it holds: ``[12, 18)``, ``= 0``, ``UA``, ``missing``."""

    label: str
    current: int
    reference: int


@dataclass(frozen=True)
class Fault:
    """Share of values that are no usable value, in [0, 1]."""

    kind: str
    share: float
    reference_share: float


@dataclass(frozen=True)
class Line:
    """One watched distribution against its reference.

    Attributes:
        subject, name: such as ``feature`` and ``temp``.
        kind: ``numeric`` or ``categorical``.
        verdict, cause: how it stands, and whose problem that is.
        test: what decided, as in `kedge.monitor.verdict.Judgement`.
        psi, js: effects, less what sampling alone gives: population stability index and Jensen-Shannon distance.
        w1: Wasserstein-1 distance in reference standard deviations, likewise; 0 for what has no order.
        rise: largest rise of one cell's share that also grew by half.
        p_value: of the G-test over the whole window.
        windows: disjoint windows that were judged: 2, 1 where traffic could not be parted, 0 where it was too little.
        psi_warn, psi_critical: the lines PSI* is held against; never below natural variation.
        natural_variation: PSI* the reference shows between its own blocks in time; 0 if unknown.
        rows, reference_rows: values counted on either side.
        reasons: why, in words, strongest first.
        faults: shares of missing, invalid, unseen and out-of-range values.
        cells: in order of value; those empty on both sides are left out.
    """

    subject: Subject
    name: str
    kind: Literal["numeric", "categorical"]
    verdict: Verdict
    cause: Cause
    test: str
    psi: float
    js: float
    w1: float
    rise: float
    p_value: float
    windows: int
    psi_warn: float
    psi_critical: float
    natural_variation: float
    rows: int
    reference_rows: int
    reasons: tuple[str, ...]
    faults: tuple[Fault, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Estimate:
    """Accuracy estimated without labels, from confidence alone. Concept drift can fool it.

    Attributes:
        accuracy, error: the estimate and its standard error.
        reference: the same estimate on the calibration data, where it is the accuracy that was measured.
        rows: predictions it is made of.
        enough: False where too many of them have a confidence that calibration hardly saw, or there are none.
    """

    accuracy: float
    error: float
    reference: float
    rows: int
    enough: bool


@dataclass(frozen=True)
class Report:
    """All lines of one bundle's traffic in one window, worst first.

    Attributes:
        model, version, bundle: whose.
        window_start, window_end: of the traffic, seconds since 1970; both 0 without any.
        rows, reference_rows: rows in the window and in the reference.
        minimum_rows: rows from which the lines with most cells are judged.
        smallest_detectable_psi: PSI* a window of this size shows with 90 % power; 0 without traffic.
        verdict: the worst of the lines.
        estimate: of the accuracy; None where the bundle has no calibration or predicts no classes.
    """

    model: str
    version: str
    bundle: str
    window_start: float
    window_end: float
    rows: int
    reference_rows: int
    minimum_rows: int
    smallest_detectable_psi: float
    verdict: Verdict
    lines: tuple[Line, ...]
    estimate: Estimate | None = None
