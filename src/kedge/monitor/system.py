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
    from kedge.kernel.snapshot import Counts

ANSWERS: Final = 1000
FEW_ANSWERS: Final = 50
SECONDS: Final = 60.0
ERROR_CODES: Final = (2, 4, 8, 10, 13, 14, 15)
"""UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, INTERNAL, UNAVAILABLE, DATA_LOSS: the server's doing. What
clients did (CANCELLED, UNAUTHENTICATED, a model nobody serves) never counts."""
REFUSAL_CODES: Final = (3,)
"""INVALID_ARGUMENT: requests that do not fit the model's inputs."""
CODES: Final = {"errors": ERROR_CODES, "refusals": REFUSAL_CODES}
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
    """One test's last word: the same fields as in `kedge.monitor.verdict.Judgement`.

    `past` is what a share was tested against: bad answers and all answers of windows that were fine.
    """

    name: str
    verdict: Verdict
    cause: Cause
    effect: float
    line: float
    events: int
    p_value: float
    windows: tuple[Span, ...]
    reasons: tuple[str, ...]
    past: tuple[int, int] = (0, 0)


@dataclass(frozen=True, eq=False)
class Answers:
    """A window of answers: its counts, and minima and maxima known when it ended."""

    span: Span
    words: NDArray[np.int64]
    bounds: NDArray[np.float64]


def share_health(name: str, answers: NDArray[np.int64], span: Span, past: tuple[int, int], budget: float) -> Health:
    """Test a share of bad answers.

    Args:
        name: ``errors`` or ``refusals``.
        answers: [17] by gRPC status.
        span: of the window.
        past: bad answers and all answers before.
        budget: false alarms a day of this test.
    """
    bad = int(answers[list(CODES[name])].sum())
    known, of = past
    usual = max(USUAL_SHARE, float(clopper_pearson_upper(known, of)) if of else 0.0)
    p_value, share = float(binomial_excess(bad, span.rows, usual)), bad / span.rows
    verdict, cause, reasons = Verdict.OK, Cause.NONE, tuple[str, ...]()
    if p_value <= fault_level(budget, span.end - span.start):
        verdict = Verdict.CRITICAL if share >= CRITICAL_SHARE else Verdict.WARN
        cause = Cause.SYSTEM if name == "errors" else Cause.PIPELINE
        what = "server errors" if name == "errors" else "requests refused as not fitting the model's inputs"
        reasons = (f"{percent(share)} {what} ({bad:,} of {span.rows:,}); at most {percent(usual)} is usual",)
    return Health(name, verdict, cause, share, usual, bad, p_value, (span,), reasons, past)


class Usual:
    """Run times of a bundle's first batches, and from which of them on a batch is slow.

    Args:
        runs: [12, 2048] batches by size and run time.
    """

    def __init__(self, runs: NDArray[np.int64]) -> None:
        self.runs = runs
        total = runs.sum(axis=1)
        running = np.cumsum(runs, axis=1)
        quantile = (running < np.ceil(0.99 * total)[:, None]).sum(axis=1)
        self._judged = total >= BUCKET_BATCHES
        """Batch sizes that were seen often enough."""
        self._beyond = (np.arange(LATENCY_BUCKETS) > quantile[:, None]) & self._judged[:, None]

    def slow(self, runs: NDArray[np.int64]) -> tuple[int, int]:
        """Batches beyond the usual 99 % of their size, and all batches of sizes that are judged."""
        return int(runs[self._beyond].sum()), int(runs[self._judged].sum())

    def test(self, runs: NDArray[np.int64], span: Span, budget: float) -> tuple[bool, int, int, float, float]:
        """Whether a window is slow; slow batches, batches, the usual share and the p-value."""
        slow, batches = self.slow(runs)
        usual = min(1.0, max(SLOW_SHARE, float(clopper_pearson_upper(*self.slow(self.runs)))))
        p_value = float(binomial_excess(slow, batches, usual))
        return p_value <= fault_level(budget, span.end - span.start), slow, batches, usual, p_value

    def health(self, runs: NDArray[np.int64], span: Span, before: Span | None, budget: float) -> Health | None:
        """Test a window; None where it has too few batches.

        Args:
            runs: [12, 2048] of the window.
            span: of the window.
            before: the window before, if that was slow.
            budget: false alarms a day of this test.
        """
        found, slow, batches, usual, p_value = self.test(runs, span, budget)
        if batches < FEW_ANSWERS:
            return None
        share = slow / batches
        verdict, cause, reasons = Verdict.OK, Cause.NONE, tuple[str, ...]()
        spans: tuple[Span, ...] = (span,)
        if found and before is not None:
            spans = (before, span)
            verdict = Verdict.CRITICAL if share >= SLOW_CRITICAL else Verdict.WARN
            cause, reasons = Cause.SYSTEM, (self._slowness(runs, share),)
        return Health("latency", verdict, cause, share, usual, slow, p_value, spans, reasons)

    def _slowness(self, runs: NDArray[np.int64], share: float) -> str:
        before, now = (_median(part.sum(axis=0)) for part in (self.runs, runs))
        return (
            f"{percent(share)} of batches ran longer than 99 % of batches of their size used to; "
            f"median run {before:.3g} ms -> {now:.3g} ms"
        )


class System:
    """Errors, refusals and latency of one bundle and arm.

    Args:
        layout: of the counts.
        budget: false alarms a day that all of it may give.

    Attributes:
        health: the last word of each test.
        usual: what batches usually take; None until enough were seen.
        judged: the windows that each test's last word is about.
    """

    def __init__(self, layout: Layout, budget: float) -> None:
        self._runs = state_of(layout).latency_run_by_size
        self._budget = budget / TESTS
        self._base: NDArray[np.int64] | None = None
        self._start = 0.0
        self._past = {"errors": (0, 0), "refusals": (0, 0)}
        self._seen = np.zeros((BATCH_SIZE_BUCKETS, LATENCY_BUCKETS), np.int64)
        self._slow_before: Answers | None = None
        self.usual: Usual | None = None
        self.judged: dict[str, tuple[Answers, ...]] = {}
        self.health: dict[str, Health] = {
            name: Health(name, Verdict.INSUFFICIENT, Cause.NONE, 0.0, line, 0, 1.0, (), ("too few answers so far",))
            for name, line in (("errors", USUAL_SHARE), ("refusals", USUAL_SHARE), ("latency", SLOW_SHARE))
        }

    def advance(self, counts: Counts, now: float) -> bool:
        """Take in totals; judge a window where one is full. Returns whether one was judged."""
        words = counts.words
        if self._base is None:
            self._base, self._start = np.zeros_like(words), now
        answers = int(words[STATUS].sum() - self._base[STATUS].sum())
        # abs: a wall clock that was set back must not hide errors until it has caught up
        if answers < ANSWERS and not (abs(now - self._start) >= SECONDS and answers >= FEW_ANSWERS):
            if answers == 0:
                self._start = now
            return False
        window = Answers(Span(self._start, now, answers), words - self._base, counts.bounds)
        for name in CODES:
            self._share(name, window)
        self._latency(window)
        self._base, self._start = words.copy(), now
        return True

    def _share(self, name: str, window: Answers) -> None:
        health = share_health(name, window.words[STATUS], window.span, self._past[name], self._budget)
        if health.verdict is Verdict.OK:
            known, of = self._past[name]
            self._past[name] = (known + health.events, of + window.span.rows)
        self.health[name], self.judged[name] = health, (window,)

    def _latency(self, window: Answers) -> None:
        runs = window.words[self._runs].reshape(BATCH_SIZE_BUCKETS, LATENCY_BUCKETS)
        if self.usual is None:
            self._seen = self._seen + runs
            if int(self._seen.sum()) >= BASELINE_BATCHES:
                self.usual = Usual(self._seen)
            return
        before = self._slow_before
        health = self.usual.health(runs, window.span, None if before is None else before.span, self._budget)
        if health is not None:
            self.health["latency"] = health
            self.judged["latency"] = (window,) if before is None or not health.verdict.problem else (before, window)
            self._slow_before = window if self.usual.test(runs, window.span, self._budget)[0] else None


def _median(counts: NDArray[np.int64]) -> float:
    """In milliseconds."""
    running = np.cumsum(counts)
    return float(latency_lower()[int((2 * running < running[-1]).sum())]) / 1e6
