"""Requests until a bad canary is found, and how often an equal one is condemned, by three policies on the same streams.

    python benchmarks/power/power.py [--runs 400] [--seed 1]

* harm_e: Kedge's guard, log E >= ln(600) (alpha 0.01 over six guards), looked at after every pane.
* p-value: a one-sided two-proportion test at the same 0.01 / 6, looked at after every pane, as many home-made gates do.
* Mann-Whitney: a judge that ranks error rates of both arms over ten panes each, two-sided at 0.02 and worse in
  direction, looked at after every tenth pane from the fiftieth on, as automated canary analysis does.

A run is 400 panes. Streams of one row are the same for all policies; the columns "equal" are the same shares and
policies with both arms at the first rate, so a fast policy can be seen to pay for its speed.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, norm

from kedge.stats import harm_e

ALPHA = 0.01 / 6
PANES = 400
JUDGED = 10
SHARES = (0.01, 0.05, 0.1, 0.25, 0.5)
EFFECTS = ((0.01, 0.03), (0.01, 0.015), (0.20, 0.25))
# Requests a run lasts at share 0.1, by effect: about four times what the guard needs.
HORIZON = {(0.01, 0.03): 28_000, (0.01, 0.015): 300_000, (0.20, 0.25): 60_000}

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Streams:
    """Requests and events of both arms by run and pane."""

    pane: int
    canary: Counts
    control: Counts
    bad_canary: Counts
    bad_control: Counts


def draw(rng: np.random.Generator, runs: int, rates: tuple[float, float], share: float, requests: int) -> Streams:
    pane = max(requests // PANES, 1)
    canary = rng.binomial(pane, share, (runs, PANES))
    control = pane - canary
    return Streams(pane, canary, control, rng.binomial(canary, rates[1]), rng.binomial(control, rates[0]))


def by_harm_e(streams: Streams, share: float) -> NDArray[np.bool_]:
    k = streams.bad_canary.cumsum(axis=1)
    return np.asarray(harm_e(k, k + streams.bad_control.cumsum(axis=1), share) >= -math.log(ALPHA))


def by_p_value(streams: Streams) -> NDArray[np.bool_]:
    n, m = streams.canary.cumsum(axis=1), streams.control.cumsum(axis=1)
    k, j = streams.bad_canary.cumsum(axis=1), streams.bad_control.cumsum(axis=1)
    common = (k + j) / (n + m)
    spread = np.sqrt(common * (1 - common) * (1 / np.maximum(n, 1) + 1 / np.maximum(m, 1)))
    difference = k / np.maximum(n, 1) - j / np.maximum(m, 1)
    z = np.divide(difference, spread, out=np.zeros_like(spread), where=spread > 0)
    return np.asarray(z >= norm.isf(ALPHA))


def by_mann_whitney(streams: Streams) -> NDArray[np.bool_]:
    def rates(events: Counts, requests: Counts) -> NDArray[np.float64]:
        runs = events.shape[0]
        joined = events.reshape(runs, -1, JUDGED).sum(axis=2), requests.reshape(runs, -1, JUDGED).sum(axis=2)
        return np.asarray(joined[0] / np.maximum(joined[1], 1))

    canary = rates(streams.bad_canary, streams.canary)
    control = rates(streams.bad_control, streams.control)
    fired = np.zeros(streams.canary.shape, dtype=np.bool_)
    for look in range(5, canary.shape[1] + 1):
        test = mannwhitneyu(canary[:, :look], control[:, :look], axis=1, method="asymptotic")
        fired[:, look * JUDGED - 1] = (test.pvalue <= 0.02) & (test.statistic > look * look / 2)
    return fired


def summary(fired: NDArray[np.bool_], pane: int) -> str:
    """Median requests to the first alarm; where fewer than half the runs alarm, the share that did."""
    found = fired.any(axis=1)
    if found.mean() < 0.5:
        return f"({found.mean():.0%} found)"
    first = np.where(found, pane * (fired.argmax(axis=1) + 1.0), np.inf)
    return f"{np.median(first):,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    print(f"{options.runs} runs of {PANES} panes a cell, seed {options.seed}; medians in requests on both arms.\n")
    print("| rate | share | harm_e | p-value | Mann-Whitney | equal: harm_e | p-value | Mann-Whitney |")
    print("|---|---|---|---|---|---|---|---|")
    for rates in EFFECTS:
        for share in SHARES:
            requests = round(HORIZON[rates] * 0.09 / (share * (1 - share)))
            bad = draw(rng, options.runs, rates, share, requests)
            equal = draw(rng, options.runs, (rates[0], rates[0]), share, requests)
            cells = [
                summary(fired, bad.pane) for fired in (by_harm_e(bad, share), by_p_value(bad), by_mann_whitney(bad))
            ]
            alarms = [
                f"{fired.any(axis=1).mean():.1%}"
                for fired in (by_harm_e(equal, share), by_p_value(equal), by_mann_whitney(equal))
            ]
            print(f"| {rates[0]:.1%} -> {rates[1]:.1%} | {share} | {' | '.join(cells + alarms)} |", flush=True)


if __name__ == "__main__":
    main()
