"""What follows from plan, progress, readings and time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from kedge_testing.rollouts import evidence, step

from kedge.rollout import plan as plans
from kedge.rollout.decide import Decision, Progress, decide, next_stage
from kedge.rollout.guards import Baseline, OutcomeStep, StepEvidence, read
from kedge.rollout.plan import Plan
from kedge.rollout.states import State

PLAN = Plan.default()
HOUR = 3600.0
ENOUGH = (
    step(0.05, (1200, 2), (22_800, 40)),
    step(0.25, (5000, 8), (15_000, 30), 1),
    step(0.5, (20_000, 30), (20_000, 36), 2),
)


def at(
    state: State,
    steps: tuple[StepEvidence, ...] = (),
    *,
    number: int = 0,
    passed: float = HOUR,
    plan: Plan = PLAN,
    **more: object,
) -> Decision:
    progress = Progress(state, number, 1000.0, 1000.0, steps, **more)  # type: ignore[arg-type]
    return decide(plan, progress, read(plan, steps, shadow=progress.shadow), 1000.0 + passed)


def test_an_early_step_asks_units_time_and_no_rollback() -> None:
    decision = at(State.CANARY, ENOUGH[:1])
    assert (decision.kind, decision.target, decision.step, decision.guard) == ("advance", State.CANARY, 1, None)
    assert "1,200 canary units and time are met, no guard fired" in decision.reason


def test_units_of_an_earlier_step_do_not_count_for_this_one() -> None:
    decision = at(State.CANARY, ENOUGH[:1], number=1)
    assert decision.kind == "hold"
    assert "waits for 0 of 2,500 canary units" in decision.reason


def test_time_and_units_are_both_asked_and_said() -> None:
    early = at(State.CANARY, (step(0.05, (999, 0), (20_000, 0)),), passed=599)
    assert early.kind == "hold"
    assert "waits for 999 of 1,000 canary units, 9m 59s of 10m" in early.reason


def test_the_proof_step_promotes_when_every_required_guard_has_proved_its_margin() -> None:
    decision = at(State.CANARY, ENOUGH, number=2)
    assert (decision.kind, decision.target, decision.step) == ("promote", State.BAKING, None)
    assert decision.reason.count("below the margin") == 4


def test_the_proof_step_holds_while_one_is_open_and_says_what_would_have_been_seen() -> None:
    steps = (*ENOUGH[:2], step(0.5, (5001, 130), (5001, 100), 2))
    decision = at(State.CANARY, steps, number=2)
    assert decision.kind == "hold"
    assert "proof on server errors" in decision.reason
    assert "server errors: harm above" in decision.reason
    assert "times the control's rate would have been shown (margin 0.5 points, 310 events)" in decision.reason


def test_without_baking_promotion_is_live_at_once() -> None:
    plan = plans.read({"baking": None})
    decision = at(State.CANARY, ENOUGH, number=2, plan=plan)
    assert (decision.kind, decision.target) == ("promote", State.LIVE)


def test_rollback_is_looked_at_first_whatever_else_is_met() -> None:
    bad = (*ENOUGH[:2], step(0.5, (20_000, 900), (20_000, 300), 2))
    for state in (State.CANARY, State.PAUSED, State.BAKING):
        decision = at(state, bad, number=2)
        assert (decision.kind, decision.target, decision.guard) == ("rollback", State.ROLLING_BACK, "errors")
        assert "900" in decision.reason or "910" in decision.reason


def test_the_strongest_guard_is_named() -> None:
    arms = evidence(5000, {"errors": 200, "timeouts": 400}), evidence(5000, {"errors": 50, "timeouts": 50})
    assert at(State.CANARY, (step(0.5, *arms),)).guard == "timeouts"


def test_a_guard_that_only_holds_pauses_until_a_person_lets_it_pass() -> None:
    skewed = (step(0.05, (3000, 0), (20_000, 0)),)
    held = at(State.CANARY, skewed)
    assert (held.kind, held.target, held.guard) == ("pause", State.PAUSED, "sample_ratio")
    assert held.reason.startswith("held for a person to look: sample ratio: 3,000 of 23,000 units")
    assert at(State.CANARY, skewed, accepted=frozenset({"sample_ratio"})).kind == "advance"


def test_a_guard_the_plan_lets_gate_rolls_back() -> None:
    plan = plans.read({"guards": {"sample_ratio": {"action": "gate"}}})
    assert at(State.CANARY, (step(0.05, (3000, 0), (20_000, 0)),), plan=plan).kind == "rollback"


def test_no_data_is_never_a_pass_and_never_a_failure_until_the_deadline_pauses() -> None:
    for number in range(3):
        assert at(State.CANARY, (), number=number, passed=10 * HOUR).kind == "hold"
    late = at(State.CANARY, (), passed=24 * HOUR)
    assert (late.kind, late.target, late.guard) == ("pause", State.PAUSED, None)
    assert late.reason.startswith("the rollout's deadline of 1d has passed; waits for 0 of 1,000 canary units")


def test_a_deadline_reports_the_bound_and_the_smallest_detectable_ratio() -> None:
    late = at(State.CANARY, (step(0.5, (900, 20), (900, 20), 2),), number=2, passed=25 * HOUR)
    assert late.kind == "pause"
    assert "server errors: harm above" in late.reason
    assert "times the control's rate would have been shown (margin 0.5 points, 40 events)" in late.reason


def test_a_step_has_a_deadline_of_its_own_and_resuming_starts_it_anew() -> None:
    plan = plans.read({"steps": [{"share": 0.05, "max_seconds": "20m", "proof": False}]})
    few = (step(0.05, (3, 0), (57, 0)),)
    assert at(State.CANARY, few, passed=1199, plan=plan).kind == "hold"
    late = at(State.CANARY, few, passed=1200, plan=plan)
    assert late.kind == "pause"
    assert "has taken its 20m" in late.reason
    assert at(State.CANARY, few, passed=1200, plan=plan, resumed=1000.0 + 600).kind == "hold"


def test_evidence_that_is_complete_goes_on_even_past_the_deadline() -> None:
    assert at(State.CANARY, ENOUGH[:1], passed=30 * HOUR).kind == "advance"


def test_a_step_with_approval_waits_for_a_person_and_guards_act_meanwhile() -> None:
    plan = plans.read({"steps": [{"share": 0.05, "approval": True, "proof": False}]})
    waiting = at(State.CANARY, ENOUGH[:1], plan=plan, passed=48 * HOUR)
    assert (waiting.kind, waiting.waits_for_approval) == ("hold", True)
    assert "waiting for a person to say 'promote'" in waiting.reason
    bad = (step(0.05, (1200, 80), (22_800, 40)),)
    assert at(State.CANARY, bad, plan=plan).kind == "rollback"
    early = at(State.CANARY, ENOUGH[:1], plan=plan, passed=10)
    assert (early.kind, early.waits_for_approval) == ("hold", False)


def test_a_shadow_asks_pairs_and_time_and_where_planned_a_person() -> None:
    plan = plans.read({"shadow": {}})
    few, enough = (evidence(agreement={(1, 1): count}) for count in (999, 1000))
    assert "waits for 999 of 1,000 pairs" in at(State.SHADOW, plan=plan, shadow=few).reason
    done = at(State.SHADOW, plan=plan, shadow=enough)
    assert (done.kind, done.target, done.step) == ("advance", State.CANARY, 0)
    assert at(State.SHADOW, plan=Plan.default("shadow"), shadow=enough).waits_for_approval


def test_a_shadow_that_differs_pauses_and_does_not_roll_back() -> None:
    plan = plans.read({"shadow": {}})
    decision = at(State.SHADOW, plan=plan, shadow=evidence(agreement={(0, 1): 500, (0, 0): 700}))
    assert (decision.kind, decision.guard) == ("pause", "disagreement")


def test_baking_asks_time_and_units_of_the_bundle_that_was_kept() -> None:
    few = (*ENOUGH, step(0.95, (19_000, 30), (999, 2), 3))
    assert "waits for 999 of 1,000 control units" in at(State.BAKING, few, number=2).reason
    enough = (*ENOUGH, step(0.95, (19_000, 30), (1001, 2), 3))
    assert at(State.BAKING, enough, number=2, passed=3599).kind == "hold"
    done = at(State.BAKING, enough, number=2)
    assert (done.kind, done.target) == ("finish", State.LIVE)


def test_harm_that_shows_only_in_baking_rolls_back() -> None:
    steps = (*ENOUGH, step(0.95, (60_000, 1800), (3200, 6), 3))
    assert at(State.BAKING, steps, number=2).kind == "rollback"


def test_nothing_is_decided_where_there_is_no_traffic() -> None:
    for state in set(State) - {State.SHADOW, State.CANARY, State.BAKING, State.PAUSED}:
        assert at(state, ENOUGH).kind == "hold"


def test_what_is_paused_stays_paused() -> None:
    decision = at(State.PAUSED, ENOUGH, number=2, passed=100 * HOUR)
    assert (decision.kind, decision.target) == ("hold", None)


def test_outcomes_block_only_where_labels_are_said_to_come_in_time() -> None:
    asks = plans.read({"guards": {"outcomes": {"required": True}}})
    progress = Progress(State.CANARY, 2, 0.0, 0.0, ENOUGH)
    for plan, kind in ((PLAN, "promote"), (asks, "hold")):
        assert decide(plan, progress, read(plan, ENOUGH), HOUR).kind == kind
    right = [OutcomeStep(0.5, 600, 11_400, 600, 11_400)]
    assert decide(asks, progress, read(asks, ENOUGH, outcomes=right), HOUR).kind == "promote"


def test_labels_that_differ_by_arm_pause() -> None:
    progress = Progress(State.CANARY, 2, 0.0, 0.0, ENOUGH)
    readings = read(PLAN, ENOUGH, outcomes=[OutcomeStep(0.5, 700, 3300, 450, 1550)])
    decision = decide(PLAN, progress, readings, HOUR)
    assert (decision.kind, decision.guard) == ("pause", "labels")


@pytest.mark.parametrize("missing", ["errors", "timeouts", "invalid", "slow"])
def test_a_required_guard_without_a_reading_is_no_proof(missing: str) -> None:
    readings = [reading for reading in read(PLAN, ENOUGH) if reading.guard != missing]
    assert decide(PLAN, Progress(State.CANARY, 2, 0.0, 0.0, ENOUGH), readings, HOUR).kind == "hold"


def test_what_follows_each_stage() -> None:
    here = Progress(State.SHADOW, 0, 0.0, 0.0)
    assert next_stage(PLAN, here) == ("advance", State.CANARY, 0)
    assert next_stage(PLAN, replace(here, state=State.CANARY, step=1)) == ("advance", State.CANARY, 2)
    assert next_stage(PLAN, replace(here, state=State.CANARY, step=2)) == ("promote", State.BAKING, None)
    assert next_stage(PLAN, replace(here, state=State.BAKING)) == ("finish", State.LIVE, None)


def test_every_hold_says_the_smallest_harm_the_evidence_could_have_shown() -> None:
    nothing = at(State.CANARY, (step(0.05, (0, 0), (0, 0)),))
    assert nothing.reason.count("no harm could have been shown yet (margin") == 4
    some = at(State.CANARY, (step(0.05, (600, 0), (11_400, 0)),))
    assert "timeouts: harm above 0.956 points is excluded (margin 0.5 points, 0 events)" in some.reason
    blind = read(PLAN, ENOUGH, Baseline(blind=frozenset({"slow"})))
    held = decide(PLAN, Progress(State.CANARY, 2, 0.0, 0.0, ENOUGH), blind, HOUR)
    assert "slow runs: cannot be seen, as the control has not made 3,000 runs of any batch size yet" in held.reason
