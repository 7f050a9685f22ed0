"""What becomes of a canary that follows the default plan, by three policies on the same streams.

    python benchmarks/power/rollout.py [--runs 200] [--seed 1]

* Kedge: one guard of the default plan, counting units: rolled back at log E >= ln(600) after any pane, promoted when
  harm is proved to be below the margin in the last step.
* p-value: a one-sided two-proportion test at 0.01 / 6 on requests after every pane; promoted when the plan's units are
  through without an alarm, as many home-made gates do.
* Mann-Whitney: a judge that ranks error rates of both arms over two panes each, two-sided at 0.02 and worse in
  direction, looked at from the fifth pair on; promoted as the p-value is.

Shares follow the plan: 5 % until 1,000 canary units, 25 % until 2,500 more, then 50 % to the horizon. "Own" traffic
draws each request by itself. "Sticky" traffic is 10,000 Zipf 1.1 keys with rates of their own, in periods.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, norm

from kedge.rollout.plan import Plan
from kedge.stats import harm_e_steps, harm_log_k

PLAN = Plan.default()
SHARES = tuple(step.share for step in PLAN.steps)
ALPHA = PLAN.guard_alpha
PANE = 500
# Requests of the plan's units, if every request is one; the last step goes on to the horizon while a proof is open.
ENDS = tuple(int(end) for end in np.cumsum([step.units / step.share for step in PLAN.steps]))
HORIZON = 200_000
JUDGED = 2
USERS = 10_000
PERIODS = 8
WEIGHTS = np.cumsum(1.0 / np.arange(1, USERS + 1) ** 1.1)

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Case:
    """Rates of control and canary, and the margin that is to be proved."""

    name: str
    control: float
    canary: float
    margin: float
    sticky: bool = False


CASES = (
    Case("equal, 1 % errors", 0.01, 0.01, 0.005),
    Case("equal, 1 % errors", 0.01, 0.01, 0.005, sticky=True),
    Case("equal, 20 % wrong", 0.20, 0.20, 0.02),
    Case("errors 1 -> 1.5 %, at the margin", 0.01, 0.015, 0.005),
    Case("errors 1 -> 3 %", 0.01, 0.03, 0.005),
    Case("errors 1 -> 3 %", 0.01, 0.03, 0.005, sticky=True),
    Case("20 -> 25 % wrong", 0.20, 0.25, 0.02),
    Case("every request fails", 0.01, 1.0, 0.005),
)


@dataclass(frozen=True)
class Run:
    """Counts by pane, canary then control: requests and bad ones; units, bad first requests, units ever bad."""

    requests: Ints
    bad: Ints
    units: Ints
    first_bad: Ints
    ever: Ints


def draw(rng: np.random.Generator, case: Case) -> Run:
    time = np.arange(HORIZON)
    pane, panes = time // PANE, HORIZON // PANE
    share = np.array(SHARES)[np.minimum(np.searchsorted(ENDS, time, side="right"), len(SHARES) - 1)]
    if case.sticky:
        user = np.searchsorted(WEIGHTS, rng.random(HORIZON) * WEIGHTS[-1])
        period = time * PERIODS // HORIZON
        unit, canary = period * USERS + user, rng.random((USERS, PERIODS))[user, period] < share
        own = rng.gamma(0.5, 2.0, USERS)[user]
    else:
        unit, canary, own = time, rng.random(HORIZON) < share, np.ones(HORIZON)
    bad = rng.random(HORIZON) < np.minimum(np.where(canary, case.canary, case.control) * own, 1.0)

    def counted(places: Ints) -> Ints:
        return np.stack([np.bincount(pane[places[canary[places] == arm]], minlength=panes) for arm in (True, False)])

    def firsts(mask: Bools) -> Ints:
        places = np.flatnonzero(mask)
        return places[np.unique(unit[places], return_index=True)[1]] if case.sticky else places

    first = firsts(np.ones(HORIZON, dtype=bool))
    return Run(
        counted(time), counted(np.flatnonzero(bad)), counted(first), counted(first[bad[first]]), counted(firsts(bad))
    )


def first_true(mask: Bools) -> float:
    return float(PANE * (mask.argmax() + 1)) if mask.any() else math.inf


def by_kedge(run: Run, case: Case) -> tuple[float, float]:
    """Requests until rolled back and until promoted; infinity where that does not happen first."""
    starts = (0, *ENDS[:-1])
    step = np.searchsorted(starts, np.arange(HORIZON // PANE) * PANE, side="right") - 1
    ever, units, bad = (
        [np.cumsum(np.where(step == s, counts, 0), axis=1) for s in range(len(SHARES))]
        for counts in (run.ever, run.units, run.first_bad)
    )
    log_e = harm_e_steps((e[0], e.sum(axis=0), share) for e, share in zip(ever, SHARES, strict=True))
    back = first_true(np.asarray(log_e) >= -math.log(ALPHA))
    for place in range(HORIZON // PANE):
        after = PANE * (place + 1)
        if after >= back:
            return back, math.inf
        if units[-1][0, place] < PLAN.steps[-1].units:
            continue
        table = [
            (b[0, place], (u - b)[0, place], b[1, place], (u - b)[1, place], share)
            for u, b, share in zip(units, bad, SHARES, strict=True)
        ]
        if harm_log_k(table, case.margin, case.control) >= math.log(20):
            return math.inf, float(after)
    return math.inf, math.inf


def by_p_value(run: Run) -> tuple[float, float]:
    (n, m), (k, j) = run.requests.cumsum(axis=1), run.bad.cumsum(axis=1)
    common = (k + j) / (n + m)
    spread = np.sqrt(common * (1 - common) * (1 / np.maximum(n, 1) + 1 / np.maximum(m, 1)))
    z = np.divide(k / np.maximum(n, 1) - j / np.maximum(m, 1), spread, out=np.zeros_like(spread), where=spread > 0)
    return _unless(first_true(z >= norm.isf(ALPHA)))


def by_mann_whitney(run: Run) -> tuple[float, float]:
    rates = run.bad.reshape(2, -1, JUDGED).sum(axis=2) / np.maximum(run.requests.reshape(2, -1, JUDGED).sum(axis=2), 1)
    for look in range(5, ENDS[-1] // (PANE * JUDGED) + 1):
        test = mannwhitneyu(rates[0, :look], rates[1, :look], method="asymptotic")
        if test.pvalue <= 0.02 and test.statistic > look * look / 2:
            return float(PANE * JUDGED * look), math.inf
    return _unless(math.inf)


def _unless(back: float) -> tuple[float, float]:
    """Promoted when the plan's units are through, unless there was an alarm before."""
    return (back, math.inf) if back <= ENDS[-1] else (math.inf, float(ENDS[-1]))


def cell(verdicts: list[float]) -> str:
    """How often, and the median number of requests."""
    found = np.array(verdicts)[np.isfinite(verdicts)]
    share = f"{found.size / len(verdicts):.1%}"
    return f"{share}, {np.median(found):,.0f}" if found.size else share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    print(
        f"{options.runs} runs of at most {HORIZON:,} requests, seed {options.seed}; share of runs, median requests.\n"
    )
    print("| canary | traffic | Kedge: back | promoted | p-value: back | promoted | Mann-Whitney: back | promoted |")
    print("|---|---|---|---|---|---|---|---|")
    for case in CASES:
        runs = [draw(rng, case) for _ in range(options.runs)]
        policies = [[by_kedge(run, case) for run in runs], [by_p_value(run) for run in runs]]
        policies.append([by_mann_whitney(run) for run in runs])
        cells = [cell([verdict[side] for verdict in verdicts]) for verdicts in policies for side in (0, 1)]
        print(f"| {case.name} | {'sticky' if case.sticky else 'own'} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
