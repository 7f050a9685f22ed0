"""The guard on slow runs where the arms run batches of sizes of their own, of which some have no line."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from kedge_testing.rollouts import evidence, judged
from numpy.typing import NDArray
from scipy.stats import binom

from kedge.rollout.guard_slow import slow
from kedge.rollout.plan import Plan
from kedge.rollout.reading import Baseline, Judged, StepEvidence
from kedge.stats import harm_e_steps

PLAN = Plan.default()
TOLERANCE = PLAN.guards.slow.tolerance
FIRE = -np.log(PLAN.guard_alpha)
SHARE = 0.1

Ints = NDArray[np.int64]


def most(runs: int, alpha: float) -> float:
    """How many of `runs` null runs may be condemned: the 99.9 % quantile."""
    return float(binom.ppf(0.999, runs, alpha))


@dataclass(frozen=True)
class Looks:
    """Counts between looks, each [runs, looks]: judged units and slow ones of canary and control."""

    canary: Ints
    control: Ints
    slow: tuple[Ints, Ints]


def arms(runs: int, looks: int, ratio: float, seed: int) -> Looks:
    """A canary `ratio` times as slow as its control, both drawn in the ratio of the shares.

    In a third of the time the machine is busy: a tenth of all runs are slow then, and the control runs batches of sizes
    without a line, so that a twentieth of its units can be judged. The canary, one by one, always can.
    """
    rng = np.random.default_rng(seed)
    busy = rng.random((runs, looks)) < 1 / 3
    rate = np.where(busy, 0.1, 0.01)
    units = rng.binomial(1000, SHARE, (runs, looks))
    control = rng.binomial(1000 - units, np.where(busy, 0.05, 0.9))
    return Looks(units, control, (rng.binomial(units, ratio * rate), rng.binomial(control, rate)))


def condemned(looks: Looks) -> dict[str, int]:
    """Runs condemned at some look: by what is expected look by look, by totals, and by the share that was drawn."""
    k = np.cumsum(looks.slow[0], axis=1)
    n = k + np.cumsum(looks.slow[1], axis=1)
    judged = looks.canary + looks.control
    expected = np.cumsum((looks.slow[0] + looks.slow[1]) * looks.canary / judged, axis=1)
    ratios = {
        "by look": np.divide(expected, n, out=np.zeros(n.shape), where=n > 0),
        "by totals": np.cumsum(looks.canary, axis=1) / np.cumsum(judged, axis=1),
        "as drawn": np.full(n.shape, SHARE),
    }
    return {
        name: int((harm_e_steps([(k, n, rho)], TOLERANCE) >= FIRE).any(axis=1).sum()) for name, rho in ratios.items()
    }


def test_an_equal_canary_is_not_condemned_for_the_sizes_it_runs_in() -> None:
    found = condemned(arms(300, 120, 1.0, 1))
    assert found["by look"] <= most(300, PLAN.guard_alpha)
    assert found["by totals"] > 30, "the streams have teeth"
    assert found["as drawn"] > 30


def test_a_canary_as_slow_as_is_tolerated_is_condemned_within_alpha() -> None:
    assert condemned(arms(300, 120, TOLERANCE, 2))["by look"] <= most(300, PLAN.guard_alpha)


def test_a_canary_three_times_as_slow_is_found() -> None:
    assert condemned(arms(100, 120, 3.0, 3))["by look"] == 100


def followed(
    rng: np.random.Generator, lined: tuple[float, float], rates: tuple[float, float, float], looks: int = 100
) -> StepEvidence:
    """A step of equal shares looked at a hundred times under the same lines.

    Args:
        rng: draws.
        lined: part of the units of canary and control that are judged.
        rates: of slow runs of the canary where it is judged, where it is not, and of the control.
        looks: how many.
    """
    step, sums = StepEvidence(2, 0.5, evidence(), evidence()), Judged(0, 0, 0, 0, 0.0)
    for _ in range(looks):
        units = int(rng.binomial(1500, 0.5))
        of = [int(rng.binomial(n, part)) for n, part in zip((units, 1500 - units), lined, strict=True)]
        late = int(rng.binomial(of[0], rates[0])), int(rng.binomial(of[1], rates[2]))
        canary, control = (
            evidence(n, {"slow": bad}, judged=most)
            for n, bad, most in zip((units, 1500 - units), late, of, strict=True)
        )
        total = step.canary + canary
        sums = sum(judged(canary, control), sums)
        step = replace(
            step, canary=total, control=step.control + control, judged=(sums,), covered=(total.ran, total.judged)
        )
    return step


def proven(runs: int, lined: float, rates: tuple[float, float, float], seed: int) -> int:
    rng = np.random.default_rng(seed)
    readings = (slow(PLAN, [followed(rng, (lined, lined), rates)], Baseline({"slow": 0.01})) for _ in range(runs))
    return sum(reading.verdict == "proven" for reading in readings)


def test_a_canary_slow_where_no_line_is_known_is_never_proven() -> None:
    """Half of its units run in sizes without a line, and all of them are slow; as not slow they would prove it."""
    assert proven(5, 0.5, (0.01, 1.0, 0.01), 4) == 0


def test_an_equal_canary_that_is_judged_is_proven() -> None:
    assert proven(5, 0.95, (0.01, 0.01, 0.01), 5) == 5


def test_harm_at_the_margin_is_seldom_proven_away() -> None:
    margin = PLAN.guards.slow.margin
    assert proven(100, 0.95, (0.01 + margin, 0.01, 0.01), 6) <= most(100, 0.05)


def test_harm_at_the_margin_is_not_proven_away_by_units_judged_under_other_lines() -> None:
    """At first most of the canary runs in sizes without a line, and more is slow in general; then lines are frozen for
    those sizes too. Added up, the control would seem to be slower.
    """
    rng, margin, found = np.random.default_rng(7), PLAN.guards.slow.margin, [0, 0]
    for _ in range(40):
        first = followed(rng, (0.1, 0.95), (0.02 + margin, 1.0, 0.02), looks=30)
        second = followed(rng, (0.95, 0.95), (0.005 + margin, 1.0, 0.005), looks=15)
        apart = replace(
            second,
            canary=first.canary + second.canary,
            control=first.control + second.control,
            judged=first.judged + second.judged,
        )
        together = replace(apart, judged=(first.judged[0] + second.judged[0],))
        for place, step in enumerate((apart, together)):
            found[place] += slow(PLAN, [step], Baseline({"slow": 0.01})).verdict == "proven"
    assert found[0] <= most(40, 0.05)
    assert found[1] > 20, "the streams have teeth"
