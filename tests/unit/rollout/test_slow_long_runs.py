"""The guard on slow runs where one slow run takes most of the time between two looks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from kedge.rollout.plan import Plan
from kedge.stats import harm_e_steps

PLAN = Plan.default()
TOLERANCE = PLAN.guards.slow.tolerance
FAST, SLOW, RATE = 0.1, 0.9, 0.05
"""Seconds of a run, of a slow one, and how often the control's is slow: a third of the time, runs are slow."""
RUNS, LEVEL = 400, 0.05


def condemned(share: float, ratio: float, seconds: float, seed: int) -> int:
    """Of `RUNS` rollouts, those whose e-value ever passes 1 / `LEVEL`: one executor that is never idle runs requests
    one by one, each for an arm drawn by itself, and a look each second counts those that ended.

    A slow run leaves room for few others in its look, so how many those are depends on what is judged.
    """
    rng = np.random.default_rng(seed)
    clock, looked = np.zeros(RUNS), np.ones(RUNS)
    canary, both, late, late_both = np.zeros((4, RUNS))  # since the last look
    k, n, expected = np.zeros((3, RUNS))  # at the last look
    fired = np.zeros(RUNS, bool)
    while (clock < seconds).any():
        mine = rng.random(RUNS) < share
        slow = rng.random(RUNS) < RATE * np.where(mine, ratio, 1.0)
        clock += np.where(slow, SLOW, FAST)
        over = clock >= looked
        if over.any():
            share_seen = np.divide(canary, both, out=np.zeros(RUNS), where=both > 0)
            expected += np.where(over, late_both * share_seen, 0.0)
            k, n = k + np.where(over, late, 0.0), n + np.where(over, late_both, 0.0)
            rho = np.clip(np.divide(expected, n, out=np.zeros(RUNS), where=n > 0), 0.0, 1.0)
            fired |= (n > 0) & (harm_e_steps([(k, n, rho)], TOLERANCE) >= -np.log(LEVEL))
            for counted in (canary, both, late, late_both):
                counted[over] = 0.0
            looked[over] = np.floor(clock[over]) + 1.0
        canary, both = canary + mine, both + 1.0
        late, late_both = late + (mine & slow), late_both + slow
    return int(fired.sum())


@pytest.mark.parametrize("share", [0.75, 0.95])
def test_a_canary_as_slow_as_is_tolerated_is_not_condemned_for_how_long_its_slow_runs_take(share: float) -> None:
    assert condemned(share, TOLERANCE, 300.0, 1) <= binom.ppf(0.999, RUNS, LEVEL)


def test_one_four_times_as_slow_is_found() -> None:
    assert condemned(0.75, 4.0, 600.0, 2) > RUNS / 2
