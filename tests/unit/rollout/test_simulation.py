"""Whole rollouts, simulated and looked at after every pane: what an equal canary, and a bad one, must expect.

Users are Zipf 1.1 over 10,000 sticky keys with error rates of their own, rates move with time, rows come in clustered
requests. Arms are drawn as routes draw them: a key keeps its place within a period, and steps only grow the share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from kedge_testing.rollouts import evidence
from numpy.typing import NDArray
from scipy.stats import binom, lognorm

from kedge.kernel.contract import BATCH_SIZE_BUCKETS, LATENCY_BUCKETS
from kedge.kernel.latency import latency_lower
from kedge.rollout import frozen
from kedge.rollout import plan as plans
from kedge.rollout.decide import Progress, decide
from kedge.rollout.frozen import thresholds
from kedge.rollout.guard_ratio import PRIOR_UNITS
from kedge.rollout.guards import StepEvidence, read
from kedge.rollout.plan import Plan
from kedge.rollout.states import State
from kedge.rollout.together import together
from kedge.stats import beta_binomial_e, harm_e_steps, harm_log_k

PLAN = Plan.default()
SHARES = [step.share for step in PLAN.steps]
FIRE = -math.log(PLAN.guard_alpha)
USERS = 10_000
PERIODS = 6
WEIGHTS = np.cumsum(1.0 / np.arange(1, USERS + 1) ** 1.1)
KINDS = ("errors", "invalid", "timeouts")

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


def most(runs: int, alpha: float) -> float:
    """How many of `runs` null runs may be condemned: the 99.9 % quantile."""
    return float(binom.ppf(0.999, runs, alpha))


@dataclass(frozen=True)
class Panes:
    """Counts of one run by pane: canary and both arms. `each` counts every event, as nobody should."""

    units: tuple[Ints, Ints]
    ever: dict[str, tuple[Ints, Ints]]
    each: dict[str, tuple[Ints, Ints]]


def rollout(rng: np.random.Generator, requests: int, panes: int) -> Panes:
    """One A/A rollout through the plan's steps, each a third of the requests."""
    time = np.arange(requests)
    user = np.searchsorted(WEIGHTS, rng.random(requests) * WEIGHTS[-1])
    period, pane = time * PERIODS // requests, time * panes // requests
    share = np.array(SHARES)[time * len(SHARES) // requests]
    canary = rng.random((USERS, PERIODS))[user, period] < share
    unit = period * USERS + user
    own = rng.gamma(0.5, 2.0, USERS)[user]
    swing = 1.2 + np.sin(time / requests * 20)
    rows = rng.integers(1, 51, requests)
    events = {
        "errors": rng.random(requests) < np.clip(0.02 * swing * own, 0, 1),
        # A request is invalid once, however many of its rows are.
        "invalid": rng.random(requests) < 1 - (1 - 0.0005 * np.clip(own, 0, 50)) ** rows,
        # Outages that strike both arms for a tenth of the time.
        "timeouts": rng.random(requests) < np.where(rng.random(panes) < 0.1, 0.3, 0.001)[pane],
    }

    def counted(which: Ints) -> tuple[Ints, Ints]:
        return np.bincount(pane[which][canary[which]], minlength=panes), np.bincount(pane[which], minlength=panes)

    def firsts(mask: Bools) -> Ints:
        places = np.flatnonzero(mask)
        return places[np.unique(unit[places], return_index=True)[1]]

    return Panes(
        counted(firsts(np.ones(requests, dtype=bool))),
        {kind: counted(firsts(event)) for kind, event in events.items()},
        {kind: counted(np.flatnonzero(event)) for kind, event in events.items()},
    )


def by_step(counts: Ints) -> list[Ints]:
    """[runs, panes] counted in each pane, to what each step had counted by each pane."""
    step = np.arange(counts.shape[1]) * len(SHARES) // counts.shape[1]
    return [np.cumsum(np.where(step == number, counts, 0), axis=1) for number in range(len(SHARES))]


def fired(canary: Ints, both: Ints) -> Bools:
    """[runs] whether the guard condemns the canary at some pane."""
    log_e = harm_e_steps(zip(by_step(canary), by_step(both), SHARES, strict=True))
    return np.asarray((log_e >= FIRE).any(axis=1))


def skewed(canary: Ints, both: Ints) -> Bools:
    """[runs] whether the sample-ratio check fires at some pane."""
    log_e = sum(
        beta_binomial_e(k, n, share, PRIOR_UNITS * share, PRIOR_UNITS * (1 - share))
        for k, n, share in zip(by_step(canary), by_step(both), SHARES, strict=True)
    )
    return np.asarray((np.asarray(log_e) >= FIRE).any(axis=1))


def equal_canaries(runs: int, requests: int, panes: int, seed: int) -> tuple[int, int, int]:
    """Runs rolled back; rolled back if every event counted; held by the sample-ratio check."""
    rng = np.random.default_rng(seed)
    made = [rollout(rng, requests, panes) for _ in range(runs)]

    def stacked(pairs: list[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
        return np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs])

    def condemned(which: str) -> int:
        by_kind = [fired(*stacked([getattr(run, which)[kind] for run in made])) for kind in KINDS]
        return int(np.any(by_kind, axis=0).sum())

    return condemned("ever"), condemned("each"), int(skewed(*stacked([run.units for run in made])).sum())


def test_equal_canaries_looked_at_every_pane_are_rolled_back_within_alpha() -> None:
    by_unit, by_event, held = equal_canaries(200, 12_000, 60, 1)
    assert by_unit <= most(200, PLAN.alpha)
    assert held <= most(200, PLAN.guard_alpha)
    # The streams have teeth: counted by event and not by unit, one run in ten and more is rolled back.
    assert by_event > 0.1 * 200


@pytest.mark.long
def test_two_thousand_equal_canaries_looked_at_every_pane_are_rolled_back_within_alpha() -> None:
    by_unit, by_event, held = equal_canaries(2000, 45_000, 360, 2)
    assert by_unit <= most(2000, PLAN.alpha)
    assert held <= most(2000, PLAN.guard_alpha)
    assert by_event > 0.1 * 2000


def bad_canaries(runs: int, pane: int, panes: int, seed: int) -> NDArray[np.float64]:
    """Requests until errors that went from 1 to 3 % are found, without keys; infinite where they are not."""
    rng = np.random.default_rng(seed)
    share = np.array(SHARES)[np.arange(panes) * len(SHARES) // panes]
    arm = rng.binomial(pane, share, (runs, panes))
    bad, other = rng.binomial(arm, 0.03), rng.binomial(pane - arm, 0.01)
    log_e = harm_e_steps(zip(by_step(bad), by_step(bad + other), SHARES, strict=True))
    found = log_e >= FIRE
    return np.where(found.any(axis=1), pane * (found.argmax(axis=1) + 1.0), np.inf)


def test_errors_that_trebled_are_always_rolled_back() -> None:
    found = bad_canaries(400, 250, 180, 3)
    assert np.isfinite(found).all()
    assert np.median(found) < 25_000


def promoted(runs: int, pane: int, looks: int, seed: int, harm: float) -> int:
    """Runs in which a canary with `harm` more errors is proved to be below the margin at some look of the proof step.

    The control's rate is frozen from a time when it was another one, and moves.
    """
    rng = np.random.default_rng(seed)
    margin = PLAN.guards.errors.margin
    through = 0
    for _ in range(runs):
        rate = 0.01 * (1 + 0.5 * np.sin(rng.uniform(0, 6) + np.arange(looks) / 3))
        share = np.array(SHARES)[np.minimum(np.arange(looks) * 6 // looks, 2)]
        units = rng.binomial(pane, share)
        bad, worse = rng.binomial(units, rate + harm), rng.binomial(pane - units, rate)
        table = [
            np.cumsum(np.stack([bad, units - bad, worse, pane - units - worse]) * (share == one), axis=1)
            for one in SHARES
        ]
        through += any(
            harm_log_k([(*counts[:, look], one) for counts, one in zip(table, SHARES, strict=True)], margin, 0.008)
            >= math.log(20)
            for look in range(looks // 3, looks)
        )
    return through


def test_true_harm_at_the_margin_is_promoted_in_at_most_a_twentieth_of_runs() -> None:
    assert promoted(100, 1000, 60, 4, PLAN.guards.errors.margin) <= most(100, 0.05)


def test_an_equal_canary_is_promoted() -> None:
    assert promoted(30, 1500, 60, 5, 0.0) >= 29


@pytest.mark.long
def test_true_harm_at_the_margin_over_two_thousand_runs() -> None:
    assert promoted(2000, 500, 200, 6, PLAN.guards.errors.margin) <= 0.05 * 2000


def followed(rng: np.random.Generator, rates: tuple[float, float], plan: Plan) -> tuple[str, State, int]:
    """A rollout decided pane by pane as the manager does: what ended it, in which state, after how many requests."""
    pane, requests = 2000, 0
    progress = Progress(State.CANARY, 0, 0.0, 0.0, (StepEvidence(0, SHARES[0], evidence(), evidence()),))
    for look in range(1, 400):
        *done, current = progress.steps
        canary = int(rng.binomial(pane, current.share))
        events = rng.binomial(canary, rates[1]), rng.binomial(pane - canary, rates[0])
        current = StepEvidence(
            current.index,
            current.share,
            current.canary + evidence(canary, {"errors": int(events[0])}),
            current.control + evidence(pane - canary, {"errors": int(events[1])}),
        )
        requests += pane
        progress = Progress(progress.state, progress.step, 0.0, progress.step_started, (*done, current))
        decision = decide(plan, progress, read(plan, progress.steps), 300.0 * look)
        if decision.kind in {"rollback", "finish", "pause"}:
            return decision.kind, progress.state, requests
        if decision.target is not None:
            number = len(plan.steps) if decision.target is State.BAKING else decision.step
            assert number is not None
            share = 0.95 if decision.target is State.BAKING else plan.steps[number].share
            fresh = StepEvidence(number, share, evidence(), evidence())
            progress = Progress(decision.target, decision.step or 0, 0.0, 300.0 * look, (*progress.steps, fresh))
    raise AssertionError("nothing was decided")


def test_the_whole_path_ends_live_for_an_equal_canary_and_in_rollback_for_a_bad_one() -> None:
    rng = np.random.default_rng(7)
    plan = plans.read({"guards": {kind: {"enabled": False} for kind in ("timeouts", "refusals", "invalid", "slow")}})
    assert {followed(rng, (0.01, 0.01), plan)[:2] for _ in range(2)} == {("finish", State.BAKING)}
    bad = [followed(rng, (0.01, 0.03), plan) for _ in range(10)]
    assert {kind for kind, _, _ in bad} == {"rollback"}
    assert {followed(rng, (0.01, 1.0), plan)[2] for _ in range(3)} == {2000}


def slow_batches(runs: int, turn: float, share: float, seed: int) -> tuple[int, int]:
    """Equal canaries whose runs are slow in one of a hundred batches: condemned by batch, and by request.

    A turn decodes about `turn` requests; those of one arm run as one batch, and are slow together.
    """
    rng = np.random.default_rng(seed)
    turns = 4000
    requests = rng.poisson(turn, (runs, turns))
    canary = rng.binomial(requests, share)
    slow = rng.random((2, runs, turns)) < 0.01
    k = np.cumsum(canary * slow[0], axis=1)
    n = k + np.cumsum((requests - canary) * slow[1], axis=1)
    sizes = np.concatenate([canary.ravel(), (requests - canary).ravel()])
    buckets = np.ceil(np.log2(np.maximum(sizes, 1))).astype(int).clip(0, BATCH_SIZE_BUCKETS - 1)
    several = together(np.bincount(buckets[sizes > 0], minlength=BATCH_SIZE_BUCKETS))
    tolerance = PLAN.guards.slow.tolerance
    by_batch, by_request = (
        (harm_e_steps([(k / size, n / size, share)], tolerance) >= FIRE).any(axis=1).sum() for size in (several, 1)
    )
    return int(by_batch), int(by_request)


@pytest.mark.parametrize(("turn", "share"), [(16, 0.25), (16, 0.5), (64, 0.25)])
def test_batches_that_are_slow_together_do_not_condemn_an_equal_canary(turn: float, share: float) -> None:
    by_batch, by_request = slow_batches(100, turn, share, 8)
    assert by_batch <= most(100, PLAN.guard_alpha)
    assert by_request >= 8


def test_how_many_stand_together_is_read_from_batch_sizes() -> None:
    runs = np.zeros((BATCH_SIZE_BUCKETS, 4), dtype=np.int64)
    assert together(runs) == 1
    runs[0, 1] = 10_000
    assert together(runs) == 1
    runs[4, 2] = 1000
    assert together(runs) == 16
    runs[11, 0] = 1000
    assert together(runs) == 256


def lines_of_few(runs: int, batches: int, seed: int) -> int:
    """Equal canaries condemned where arms run batches of two sizes, with lines known from so many batches each."""
    rng = np.random.default_rng(seed)
    seen = np.searchsorted(latency_lower(), rng.lognormal(11.0, 0.3, (runs, 2, batches)), side="right") - 1
    condemned = 0
    for sizes in seen:
        histogram = np.zeros((BATCH_SIZE_BUCKETS, LATENCY_BUCKETS), dtype=np.int64)
        for size, places in enumerate(sizes):
            histogram[size] = np.bincount(places, minlength=LATENCY_BUCKETS)
        lines = np.array(thresholds(histogram)[:2], dtype=np.float64)
        # A size without a line has no slow runs.
        slow = np.where(lines > 0, lognorm.sf(lines, 0.3, scale=math.exp(11.0)), 0.0)
        # 1,000 requests a pane, all of the canary's in batches of the first size.
        k = np.cumsum(rng.binomial(rng.binomial(1000, 0.05, 60), slow[0])) / 2
        n = k + np.cumsum(rng.binomial(rng.binomial(1000, 0.95, 60), slow[1])) / 2
        condemned += bool((harm_e_steps([(k, n, 0.05)], PLAN.guards.slow.tolerance) >= FIRE).any())
    return condemned


def test_lines_of_slow_runs_known_from_enough_batches_do_not_condemn_an_equal_canary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert lines_of_few(200, frozen.ENOUGH, 9) <= most(200, PLAN.guard_alpha)
    assert lines_of_few(200, 300, 9) <= most(200, PLAN.guard_alpha)
    monkeypatch.setattr(frozen, "ENOUGH", 100)
    assert lines_of_few(200, 100, 9) > 0.05 * 200


def test_the_size_that_most_rows_stand_in_needs_fewer_batches_for_its_line_while_no_other_has_one() -> None:
    histogram = np.zeros((BATCH_SIZE_BUCKETS, LATENCY_BUCKETS), dtype=np.int64)
    histogram[0, 700] = frozen.ENOUGH_OF_MOST
    histogram[1, 700] = frozen.ENOUGH_OF_MOST // 3
    lines = thresholds(histogram)
    assert lines[0] > 0
    assert lines[1] == 0
    histogram[0, 700] = 10 * frozen.ENOUGH_OF_MOST
    histogram[5, 700] = frozen.ENOUGH
    assert [size for size, line in enumerate(thresholds(histogram)) if line] == [5]
