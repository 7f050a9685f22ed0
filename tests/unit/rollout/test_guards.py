"""What guards say of counts made by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from kedge_testing.rollouts import evidence, judged, step

from kedge.audit.record import MAX_RECORD_BYTES, SYSTEM, compose
from kedge.kernel import contract as k
from kedge.plane.evidence import KINDS
from kedge.rollout import plan as plans
from kedge.rollout.guard_scores import slot_order
from kedge.rollout.guards import Baseline, ConfidenceStep, OutcomeStep, read
from kedge.rollout.plan import Plan
from kedge.rollout.recompute import NumbersError, recompute
from kedge.stats import harm_e, harm_upper, smallest_detectable_ratio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedge.rollout.reading import Reading, StepEvidence

PLAN = Plan.default()


def by_name(readings: tuple[Reading, ...]) -> Mapping[str, Reading]:
    return {reading.guard: reading for reading in readings}


def everything() -> tuple[Reading, ...]:
    """Readings of a rollout in which every guard has something to say."""
    arms = [
        evidence(units, dict.fromkeys(KINDS, 3), scores={0: units // 2, 5: units // 3, k.FIRST_ATOM: 4})
        for units in (4000, 5000)
    ]
    confidence = np.zeros(32, dtype=np.int64)
    confidence[15:20] = 400
    shadow = evidence(agreement={(0, 0): 1500, (0, 1): 20}, differences={0: 1500, 3: 20}, failed=1)
    return read(
        PLAN,
        (step(0.05, evidence(50), evidence(960)), step(0.45, arms[0], arms[1], 1)),
        Baseline({"errors": 0.001}),
        shadow=shadow,
        confidence=(ConfidenceStep(confidence, confidence),),
        outcomes=(OutcomeStep(0.5, 11, 500, 9, 490),),
    )


def test_a_canary_that_fails_every_request_is_found_on_very_few_units() -> None:
    reading = by_name(read(PLAN, [step(0.05, (4, 4), (76, 0))]))["errors"]
    assert reading.verdict == "harm"
    assert reading.log_e == pytest.approx(harm_e(4, 4, 0.05))
    assert reading.threshold == pytest.approx(math.log(600))
    assert "4 of 4 canary units, 0 of 76 control units; more than chance explains" in reading.words


def test_below_a_thousand_canary_units_nothing_is_proven_and_it_is_said() -> None:
    reading = by_name(read(PLAN, [step(0.05, (999, 0), (20_000, 0))]))["slow"]
    assert reading.verdict == "insufficient"
    assert "too few units to tell" in reading.words


def test_enough_clean_units_prove_and_fewer_leave_it_open() -> None:
    few = by_name(read(PLAN, [step(0.5, (1200, 2), (1200, 2))]))["errors"]
    many = by_name(read(PLAN, [step(0.5, (20_000, 2), (20_000, 2))]))["errors"]
    assert (few.verdict, many.verdict) == ("open", "proven")
    assert few.upper is not None
    assert many.upper == pytest.approx(harm_upper([(2, 19_998, 2, 19_998, 0.5)]))
    assert few.upper > 0.005 > (many.upper or 1)
    assert few.words.endswith("points, margin 0.5 points")


def test_an_open_guard_says_the_ratio_its_evidence_could_have_shown() -> None:
    reading = by_name(read(PLAN, [step(0.5, (1200, 40), (1200, 40))]))["errors"]
    assert reading.detectable == pytest.approx(smallest_detectable_ratio(80, 0.5, 0.01 / 6))
    assert by_name(read(PLAN, [step(0.5, (1200, 0), (1200, 0))]))["errors"].detectable is None


def test_evidence_of_steps_adds_up_to_one_process() -> None:
    first, second = step(0.05, (1000, 22), (19_000, 210)), step(0.25, (2500, 60), (7500, 90), 1)
    apart = [by_name(read(PLAN, [one]))["errors"] for one in (first, second)]
    together = by_name(read(PLAN, [first, second]))["errors"]
    assert together.log_e is not None
    assert together.log_e > max(reading.log_e or 0.0 for reading in apart)


def test_slow_runs_are_compared_with_their_tolerance_and_not_at_all_where_nothing_was_frozen() -> None:
    arms = evidence(3000, {"slow": 42}, judged=3000), evidence(3000, {"slow": 30}, judged=3000)
    assert by_name(read(PLAN, [step(0.5, *arms)]))["slow"].verdict == "open"
    blind = by_name(read(PLAN, [step(0.5, *arms)], Baseline(blind=frozenset({"slow"}))))["slow"]
    assert blind.verdict == "insufficient"
    assert "the control has not made 3,000 runs of any batch size yet" in blind.words


def slow(*steps: StepEvidence) -> Reading:
    return by_name(read(PLAN, steps, Baseline({"slow": 0.01})))["slow"]


def test_units_that_could_not_be_judged_prove_nothing() -> None:
    """Twice as many runs are slow: diluted by units of a stage that was blind, that would be less than the margin."""
    blind = step(0.05, evidence(10_000), evidence(190_000))
    twice, once = (evidence(3000, {"slow": n}, judged=3000) for n in (60, 30))
    seen = step(0.5, twice, once, 1)
    assert slow(blind, seen).verdict == "open"
    assert slow(blind, seen).upper == slow(seen).upper
    assert slow(seen, blind).verdict == "insufficient", "of the stage under way nothing is known"
    assert (slow(blind).verdict, slow(blind).log_e) == ("insufficient", 0.0)


def test_a_proof_needs_nine_tenths_of_the_units_of_the_canary_judged() -> None:
    control = evidence(40_000, {"slow": 400}, judged=40_000)
    verdicts = {
        judged: slow(step(0.5, evidence(40_000, {"slow": judged // 100}, judged=judged), control)).verdict
        for judged in (35_900, 36_000)
    }
    assert verdicts == {35_900: "insufficient", 36_000: "proven"}
    few = slow(step(0.5, evidence(40_000, {"slow": 359}, judged=35_900), control))
    assert "35,900 of 40,000 canary units of this step ran in batches of a size with a line; 90 % of" in few.words
    failed = evidence(44_000, {"slow": 360, "refusals": 4000}, judged=36_000)
    assert slow(step(0.5, failed, control)).verdict == "proven", "what never ran cannot be judged, and need not"
    harmful = slow(step(0.5, evidence(40_000, {"slow": 900}, judged=3000), control))
    assert harmful.verdict == "harm", "harm needs no cover"


def test_an_arm_of_which_more_units_are_judged_is_not_slower_for_that() -> None:
    """The control runs nine tenths of its requests in sizes without a line, the canary none: both are slow in 1 %."""
    canary, control = evidence(10_000, {"slow": 100}, judged=10_000), evidence(90_000, {"slow": 90}, judged=9000)
    reading = slow(step(0.1, canary, control))
    assert reading.log_e is not None
    assert reading.log_e < 0
    assert "100 of 10,000 judged canary units, 90 of 9,000 judged control units" in reading.words
    assert harm_e(100, 190, 0.1, 1.5) > 20, "by the share drawn it would be condemned"


def test_what_is_expected_of_the_canary_look_by_look_is_what_counts() -> None:
    arms = evidence(1000, {"slow": 80}, judged=1000), evidence(9000, {"slow": 120}, judged=9000)
    by_totals = slow(step(0.1, *arms))
    by_looks = slow(replace(step(0.1, *arms), judged=judged(*arms, expected=70.0)))
    assert (by_totals.verdict, by_looks.verdict) == ("harm", "open")
    assert by_looks.log_e == pytest.approx(harm_e(80, 200, 0.35, 1.5))


def test_a_frozen_control_rate_tightens_the_bound() -> None:
    arms = evidence(20_000, {"errors": 2000}), evidence(20_000, {"errors": 2000})
    plain, known = (
        by_name(read(PLAN, [step(0.5, *arms)], baseline))["errors"].upper
        for baseline in (None, Baseline({"errors": 0.1}))
    )
    assert plain is not None
    assert known is not None
    assert known < plain


def test_a_guard_that_is_off_says_nothing() -> None:
    plan = plans.read({"guards": {name: {"enabled": False} for name in ("errors", "sample_ratio", "distribution")}})
    readings = by_name(read(plan, [step(0.5, (5000, 5000), (100, 0))]))
    assert {readings[name].verdict for name in ("errors", "sample_ratio", "distribution")} == {"off"}
    assert readings["errors"].words == "server errors: not watched"


def test_before_any_stage_every_guard_is_off() -> None:
    assert {reading.verdict for reading in read(PLAN, ())} == {"off"}


def test_a_split_that_is_not_as_drawn_holds() -> None:
    fair = by_name(read(PLAN, [step(0.1, (1010, 0), (8990, 0))]))["sample_ratio"]
    skewed = by_name(read(PLAN, [step(0.1, (1200, 0), (8800, 0))]))["sample_ratio"]
    assert (fair.verdict, skewed.verdict, skewed.action) == ("open", "harm", "hold")
    assert "1,200 of 10,000 units on the canary, 1,000 expected; the arms are not what was drawn" in skewed.words


def test_scores_that_lie_apart_hold_and_equal_ones_do_not() -> None:
    def arms(shift: int) -> Reading:
        canary = evidence(9000, scores={slot + shift: 1000 for slot in range(9)})
        control = evidence(9000, scores=dict.fromkeys(range(9), 1000))
        return by_name(read(PLAN, [step(0.5, canary, control)]))["distribution"]

    equal, apart = arms(0), arms(4)
    assert (equal.verdict, apart.verdict, apart.action) == ("proven", "harm", "hold")
    assert apart.lower == pytest.approx(4 / 9, abs=0.12)
    assert "tolerance 0.1" in apart.words


def test_scores_of_stages_are_compared_within_each() -> None:
    """Traffic that moves while shares change sets two equal arms apart if stages are pooled."""
    early, late = {0: 1}, {9: 1}
    stages = [
        step(0.05, evidence(1000, scores={0: 1000 * early[0]}), evidence(19_000, scores={0: 19_000})),
        step(0.5, evidence(10_000, scores={9: 10_000 * late[9]}), evidence(10_000, scores={9: 10_000}), 1),
    ]
    assert by_name(read(PLAN, stages))["distribution"].verdict != "harm"


def test_slots_stand_in_the_order_of_their_values() -> None:
    score = k.NumericFeature("s", 0, 0, edges=(0.0, 0.25, 0.5, 1.0), atoms=(0.0, 0.3, 2.0))
    order = slot_order(score)
    assert sorted(order) == list(range(32))
    atom = k.FIRST_ATOM
    assert order[:8] == (k.UNDERFLOW, atom, 0, 1, atom + 1, 2, atom + 2, k.OVERFLOW)
    assert sorted(slot_order(None)) == list(range(32))


def test_confidence_of_rows_can_hold() -> None:
    high, low = np.zeros(32, dtype=np.int64), np.zeros(32, dtype=np.int64)
    high[19], low[12] = 4000, 4000
    reading = by_name(read(PLAN, (), confidence=(ConfidenceStep(high, low),)))["confidence"]
    assert (reading.verdict, reading.action) == ("harm", "hold")


def test_a_shadow_that_disagrees_too_often_holds() -> None:
    close = by_name(read(PLAN, (), shadow=evidence(agreement={(0, 0): 1900, (0, 1): 60})))
    far = by_name(read(PLAN, (), shadow=evidence(agreement={(0, 0): 1500, (1, 0): 400})))
    assert (close["disagreement"].verdict, far["disagreement"].verdict) == ("proven", "harm")
    assert far["disagreement"].action == "hold"
    assert "21.1 % of 1,900 requests; surely above the tolerance of 0.1" in far["disagreement"].words
    assert close["difference"].verdict == "off"


def test_a_shadow_whose_scores_lie_far_off_or_whose_model_fails_holds() -> None:
    readings = by_name(read(PLAN, (), shadow=evidence(differences={20: 1000, 0: 1000}, failed=60)))
    assert readings["difference"].verdict == "harm"
    assert readings["failed"].verdict == "harm"
    assert readings["disagreement"].verdict == "off"
    few = by_name(read(PLAN, (), shadow=evidence(differences={0: 400})))
    assert few["difference"].verdict == "insufficient"


def test_wrong_predictions_count_at_the_share_in_force_when_they_were_made() -> None:
    bad = by_name(read(PLAN, (), outcomes=[OutcomeStep(0.5, 700, 2300, 450, 2550)]))["outcomes"]
    assert bad.verdict == "harm"
    good = by_name(read(PLAN, (), outcomes=[OutcomeStep(0.5, 450, 2550, 450, 2550)]))["outcomes"]
    assert good.verdict == "open"


def test_labels_that_come_to_one_arm_more_often_prove_nothing() -> None:
    readings = by_name(read(PLAN, (), outcomes=[OutcomeStep(0.5, 700, 3300, 450, 1550)]))
    assert readings["outcomes"].verdict == "insufficient"
    assert readings["outcomes"].words == "wrong predictions: INSUFFICIENT (labels differ by arm)"
    assert (readings["labels"].verdict, readings["labels"].action) == ("harm", "hold")
    assert readings["labels"].threshold == pytest.approx(math.log(1000))


def test_everything_a_reading_says_can_be_recomputed_from_its_numbers_in_a_record() -> None:
    readings = everything()
    assert all(reading.verdict != "off" for reading in readings)
    draft = compose(
        action="rollout.held", actor=SYSTEM, details={"readings": [dict(reading.numbers) for reading in readings]}
    )
    for reading, numbers in zip(readings, json.loads(draft.model_dump_json())["details"]["readings"], strict=True):
        proof = recompute(numbers)
        assert (proof.log_e, proof.upper, proof.lower) == (reading.log_e, reading.upper, reading.lower)
        assert numbers["guard"] == reading.guard


@pytest.mark.parametrize("numbers", [{}, {"method": "oracle"}, {"method": "harm"}, {"method": "ratio", "prior": "x"}])
def test_numbers_of_no_reading_are_refused(numbers: dict[str, str | int]) -> None:
    with pytest.raises(NumbersError):
        recompute(numbers)


def test_words_are_one_line_a_record_can_hold() -> None:
    for reading in (*everything(), *read(PLAN, [step(0.05, (50, 50), (50, 0))]), *read(PLAN, ())):
        assert compose(action="rollout.held", actor=SYSTEM, rationale=reading.words).rationale == reading.words
        assert "nan" not in reading.words
        assert "inf" not in reading.words.replace("infer", "")


def test_units_that_are_struck_together_weigh_as_one() -> None:
    arms = evidence(20_000, {"slow": 640}, judged=20_000), evidence(20_000, {"slow": 320}, judged=20_000)
    alone = by_name(read(PLAN, [step(0.5, *arms)]))["slow"]
    batched = by_name(read(PLAN, [replace(step(0.5, *arms), judged=judged(*arms, together=16))]))["slow"]
    assert (alone.verdict, batched.verdict) == ("harm", "open")
    assert batched.log_e == pytest.approx(harm_e(40, 60, 0.5, 1.5))
    assert batched.detectable is not None
    assert alone.detectable is not None
    assert batched.detectable > alone.detectable
    assert recompute(batched.numbers).upper == batched.upper


def test_the_readings_of_the_longest_plan_at_the_largest_counts_fit_one_record() -> None:
    shares = [(place + 1) / 20 for place in range(plans.MAX_STEPS)]
    plan = plans.read({"steps": [{"share": share} for share in shares]})
    many = 10**9
    arm = evidence(many, dict.fromkeys(KINDS, many // 10), scores=dict.fromkeys(range(32), many // 32))
    stages = [step(share, arm, arm, index) for index, share in enumerate([*shares, 0.95])]
    rows = np.full(32, many)
    readings = read(
        plan,
        stages,
        shadow=evidence(agreement={(0, 0): many}, differences=dict.fromkeys(range(64), many)),
        confidence=[ConfidenceStep(rows, rows)] * len(stages),
        outcomes=[OutcomeStep(0.5, many, many, many, many)] * len(stages),
    )
    said = [{"words": reading.words, "numbers": dict(reading.numbers)} for reading in readings]
    draft = compose(action="rollout.held", actor=SYSTEM, details={"readings": said})
    assert len(draft.model_dump_json()) < 0.75 * MAX_RECORD_BYTES
