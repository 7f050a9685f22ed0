"""What a drift report holds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

Subject = Literal["feature", "prediction", "score", "confidence"]


class Verdict(Enum):
    """How a line or a report stands."""

    OK = "OK"
    INSUFFICIENT = "INSUFFICIENT"
    WARN = "WARN"
    CRITICAL = "CRITICAL"

    @property
    def rank(self) -> int:
        """Larger is worse."""
        return list(Verdict).index(self)


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
        psi, js: effects, less what sampling alone gives (PSI* and JS* of STATISTICS).
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
    psi: float
    js: float
    psi_warn: float
    psi_critical: float
    natural_variation: float
    rows: int
    reference_rows: int
    reasons: tuple[str, ...]
    faults: tuple[Fault, ...]
    cells: tuple[Cell, ...]


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
