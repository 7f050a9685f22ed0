"""What the evaluator says, as plain values: how something stands, whose problem it is, and on what evidence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

Subject = Literal["feature", "prediction", "score", "confidence", "system", "outcomes"]


class Verdict(Enum):
    """How something stands."""

    OK = "OK"
    INSUFFICIENT = "INSUFFICIENT"
    WARN = "WARN"
    CRITICAL = "CRITICAL"

    @property
    def rank(self) -> int:
        """Larger is worse."""
        return _RANKS[self]

    @property
    def problem(self) -> bool:
        """Somebody should look."""
        return self in (Verdict.WARN, Verdict.CRITICAL)


_RANKS = {verdict: rank for rank, verdict in enumerate(Verdict)}


class Cause(Enum):
    """What kind of problem it is, and so whose.

    DATA: the world moved; values are plausible but others than the model was built on. The data owner's.
    PIPELINE: values are missing, invalid, never seen, out of range, stuck or in another unit. The feature owner's.
    MODEL: inputs look as they did, but predictions or their confidence moved. The model owner's.
    SYSTEM: errors or latency. The platform owner's.
    """

    NONE = "none"
    DATA = "data"
    PIPELINE = "pipeline"
    MODEL = "model"
    SYSTEM = "system"


@dataclass(frozen=True)
class Span:
    """One window of traffic that was judged: seconds since 1970, and rows (answers, for errors)."""

    start: float
    end: float
    rows: int


@dataclass(frozen=True)
class Judgement:
    """How one watched thing stands now, and why.

    Attributes:
        model, version, bundle, arm: whose traffic; the arm is ``live``, ``canary`` and so on.
        subject, name: what, such as ``feature`` and ``temp``, ``confidence`` and ``margin``, ``system`` and ``errors``.
        verdict, cause: how it stands and whose problem that is; NONE where there is none.
        test: what decided: ``drift``, ``missing``, ``invalid``, ``unseen``, ``out of range``, ``chart``, ``errors``,
            ``latency``; empty where nothing was judged.
        effect, line: the measure that decided and the line it passed or is held against. PSI* for drift and for
            everything that is fine; a share for faults, errors and latency; the larger CUSUM sum for charts.
        statistic, p_value: of the test: G for drift, events for faults, errors and latency; NaN for charts.
        windows: the disjoint windows judged, in order of time.
        rows: in the last of them; of what was not judged, rows so far.
        smallest_detectable: PSI* (of faults: rise of the share) that a window of these rows shows with 90 % power.
        reasons: why, in words, strongest first.
    """

    model: str
    version: str
    bundle: str
    arm: str
    subject: Subject
    name: str
    verdict: Verdict
    cause: Cause
    test: str
    effect: float
    line: float
    statistic: float
    p_value: float
    windows: tuple[Span, ...]
    rows: int
    smallest_detectable: float
    reasons: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What it is about: bundle, arm, subject and name."""
        return (self.bundle, self.arm, self.subject, self.name)
