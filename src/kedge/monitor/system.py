"""Errors and latency of one bundle and arm against its own past: the server's health, whatever the data does.

Windows end after 1,000 answers, or after a minute with at least 50. A share of bad answers is tested against the past's
highest plausible rate; the past is made of windows that were fine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from kedge.kernel.contract import BATCH_SIZE_BUCKETS, LATENCY_BUCKETS
from kedge.kernel.latency import latency_lower
from kedge.kernel.state import STATUS, state_of
from kedge.monitor.reasons import percent
from kedge.monitor.rules import fault_level
from kedge.monitor.verdict import Cause, Span, Verdict
from kedge.stats import binomial_excess, clopper_pearson_upper

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from kedge.kernel.contract import Layout

ANSWERS: Final = 1000
FEW_ANSWERS: Final = 50
SECONDS: Final = 60.0
ERROR_CODES: Final = (2, 4, 8, 10, 13, 14, 15)
"""UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, INTERNAL, UNAVAILABLE, DATA_LOSS: the server's doing. What
clients did (CANCELLED, UNAUTHENTICATED, a model nobody serves) never counts."""
REFUSAL_CODES: Final = (3,)
"""INVALID_ARGUMENT: requests that do not fit the model's inputs."""
USUAL_SHARE: Final = 0.001
"""Share of bad answers that is no news where there is no past."""
CRITICAL_SHARE: Final = 0.05
BASELINE_BATCHES: Final = 1000
BUCKET_BATCHES: Final = 100
"""Batches of one size from which their 99 % quantile is taken as usual."""
SLOW_SHARE, SLOW_CRITICAL = 0.1, 0.5
"""Share of batches slower than the usual 99 %: a tenth warns, half is critical (the median passed the old tail)."""
TESTS: Final = 3


@dataclass(frozen=True)
class Health:
    """One test's last word: the same fields as in `kedge.monitor.verdict.Judgement`."""

    name: str
    verdict: Verdict
    cause: Cause
    effect: float
    line: float
    events: int
    p_value: float
    windows: tuple[Span, ...]
    reasons: tuple[str, ...]


class System:
    """Errors, refusals and latency of one bundle and arm.

    Args:
        layout: of the counts.
        budget: false alarms a day that all of it may give.
    """

    def __init__(self, layout: Layout, budget: float) -> None:
        state = state_of(layout)
        self._queue_run = state.latency_run_by_size
        self._budget = budget / TESTS
        self._base: NDArray[np.int64] | None = None
        self._start = 0.0
        self._past = {"errors": (0, 0), "refusals": (0, 0)}
        self._usual = np.zeros((BATCH_SIZE_BUCKETS, LATENCY_BUCKETS), np.int64)
        self._limits: NDArray[np.int64] | None = None
        self._slow_past = (0, 0)
        self._slow_before: Span | None = None
        self.health: dict[str, Health] = {
            name: Health(name, Verdict.INSUFFICIENT, Cause.NONE, 0.0, line, 0, 1.0, (), ("too few answers so far",))
            for name, line in (("errors", USUAL_SHARE), ("refusals", USUAL_SHARE), ("latency", SLOW_SHARE))
        }

    def advance(self, words: NDArray[np.int64], now: float) -> bool:
        """Take in totals; judge a window where one is full. Returns whether one was judged."""
        if self._base is None:
            self._base, self._start = np.zeros_like(words), now
        answers = int(words[STATUS].sum() - self._base[STATUS].sum())
        if answers < ANSWERS and not (now - self._start >= SECONDS and answers >= FEW_ANSWERS):
            if answers == 0:
                self._start = now
            return False
        window = words - self._base
        span = Span(self._start, now, answers)
        level = fault_level(self._budget, now - self._start)
        self._share("errors", window, ERROR_CODES, span, level)
        self._share("refusals", window, REFUSAL_CODES, span, level)
        self._latency(window[self._queue_run].reshape(BATCH_SIZE_BUCKETS, LATENCY_BUCKETS), span, level)
        self._base, self._start = words.copy(), now
        return True

    def _share(self, name: str, window: NDArray[np.int64], codes: tuple[int, ...], span: Span, level: float) -> None:
        bad = int(window[STATUS][list(codes)].sum())
        known, of = self._past[name]
        usual = max(USUAL_SHARE, float(clopper_pearson_upper(known, of)) if of else 0.0)
        p_value, share = float(binomial_excess(bad, span.rows, usual)), bad / span.rows
        verdict, cause, reasons = Verdict.OK, Cause.NONE, tuple[str, ...]()
        if p_value <= level:
            verdict = Verdict.CRITICAL if share >= CRITICAL_SHARE else Verdict.WARN
            cause = Cause.SYSTEM if name == "errors" else Cause.PIPELINE
            what = "server errors" if name == "errors" else "requests refused as not fitting the model's inputs"
            reasons = (f"{percent(share)} {what} ({bad:,} of {span.rows:,}); at most {percent(usual)} is usual",)
        else:
            self._past[name] = (known + bad, of + span.rows)
        self.health[name] = Health(name, verdict, cause, share, usual, bad, p_value, (span,), reasons)

    def _latency(self, runs: NDArray[np.int64], span: Span, level: float) -> None:
        if self._limits is None:
            self._usual = self._usual + runs
            if int(self._usual.sum()) >= BASELINE_BATCHES:
                self._freeze()
            return
        beyond = np.arange(LATENCY_BUCKETS) > self._limits[:, None]
        judged = self._limits >= 0
        batches, slow = int(runs[judged].sum()), int(runs[beyond & judged[:, None]].sum())
        if batches < FEW_ANSWERS:
            return
        usual = min(1.0, max(SLOW_SHARE, float(clopper_pearson_upper(*self._slow_past))))
        p_value, share = float(binomial_excess(slow, batches, usual)), slow / batches
        verdict, cause, reasons = Verdict.OK, Cause.NONE, tuple[str, ...]()
        spans: tuple[Span, ...] = (span,)
        if p_value <= level:
            if self._slow_before is not None:
                spans = (self._slow_before, span)
                verdict = Verdict.CRITICAL if share >= SLOW_CRITICAL else Verdict.WARN
                cause, reasons = Cause.SYSTEM, (self._slowness(runs, share),)
            self._slow_before = span
        else:
            self._slow_before = None
        self.health["latency"] = Health("latency", verdict, cause, share, usual, slow, p_value, spans, reasons)

    def _freeze(self) -> None:
        """The usual 99 % quantile of each batch size that was seen often enough; -1 for others."""
        total = self._usual.sum(axis=1)
        running = np.cumsum(self._usual, axis=1)
        limits = (running < np.ceil(0.99 * total)[:, None]).sum(axis=1)
        self._limits = np.where(total >= BUCKET_BATCHES, limits, -1)
        judged = self._limits >= 0
        beyond = np.arange(LATENCY_BUCKETS) > self._limits[:, None]
        self._slow_past = (int(self._usual[beyond & judged[:, None]].sum()), int(self._usual[judged].sum()))

    def _slowness(self, runs: NDArray[np.int64], share: float) -> str:
        before, now = (_median(part.sum(axis=0)) for part in (self._usual, runs))
        return (
            f"{percent(share)} of batches ran longer than 99 % of batches of their size used to; "
            f"median run {before:.3g} ms -> {now:.3g} ms"
        )


def _median(counts: NDArray[np.int64]) -> float:
    """In milliseconds."""
    running = np.cumsum(counts)
    return float(latency_lower()[int((2 * running < running[-1]).sum())]) / 1e6
