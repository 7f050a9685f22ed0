"""Plans: defaults that are good enough unread, YAML as people write it, and complaints that say where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kedge.errors import Code
from kedge.rollout import plan as plans
from kedge.rollout.plan import Plan, PlanError

if TYPE_CHECKING:
    from pathlib import Path


def read(tmp_path: Path, text: str) -> Plan:
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    return plans.read(path)


def test_the_default_is_the_plan_of_record() -> None:
    plan = Plan.default()
    assert [(s.share, s.units, s.min_seconds, s.proof) for s in plan.steps] == [
        (0.05, 1000, 600, False),
        (0.25, 2500, 600, False),
        (0.5, 5000, 1800, True),
    ]
    assert plan.baking is not None
    assert (plan.baking.keep, plan.alpha, plan.sticky_for) == (0.05, 0.01, 3600)
    guards = plan.guards
    assert [getattr(guards, name).margin for name in ("errors", "timeouts", "invalid", "slow", "outcomes")] == [
        0.005,
        0.005,
        0.005,
        0.01,
        0.02,
    ]
    assert guards.slow.tolerance == 1.5
    assert guards.required() == ("errors", "timeouts", "invalid", "slow")
    assert guards.gates() == ("errors", "timeouts", "refusals", "invalid", "slow", "outcomes")
    assert plan.guard_alpha == pytest.approx(0.01 / 6)


def test_an_empty_file_an_empty_mapping_and_no_plan_are_the_same(tmp_path: Path) -> None:
    assert read(tmp_path, "") == plans.read({}) == Plan.default() == Plan()
    assert read(tmp_path, "").digest() == Plan().digest()


def test_a_swap_has_no_stages_and_a_shadow_waits_for_a_person() -> None:
    swap, shadow = Plan.default("swap"), Plan.default("shadow")
    assert (swap.steps, swap.shadow, swap.baking) == ((), None, None)
    assert shadow.shadow is not None
    assert (shadow.shadow.approval, shadow.shadow.sample, shadow.shadow.pairs) == (True, 1.0, 1000)
    assert shadow.steps == Plan.default().steps


def test_a_canary_may_begin_with_a_shadow_that_asks_nobody() -> None:
    plan = plans.read({"shadow": {"sample": "10%"}})
    assert plan.shadow is not None
    assert (plan.shadow.sample, plan.shadow.approval) == (0.1, False)


def test_shares_are_per_cent_and_times_are_words_where_a_person_likes(tmp_path: Path) -> None:
    plan = read(
        tmp_path,
        "steps:\n- {share: 0.5%, min_seconds: 1h30m}\n- {share: 0.2, max_seconds: 2d, approval: true}\n"
        "sticky_for: 30m\ndeadline: 90\nguards: {slow: {margin: 2%}}\n",
    )
    assert [step.share for step in plan.steps] == [0.005, 0.2]
    assert (plan.steps[0].min_seconds, plan.steps[1].max_seconds) == (5400, 172800)
    assert (plan.sticky_for, plan.deadline, plan.guards.slow.margin) == (1800, 90, 0.02)


def test_the_last_step_proves_unless_the_plan_says_otherwise() -> None:
    assert [s.proof for s in plans.read({"steps": [{"share": 0.1}, {"share": 0.2}]}).steps] == [False, True]
    assert not plans.read({"steps": [{"share": 0.1, "proof": False}]}).steps[0].proof


def test_a_guard_keeps_its_own_defaults_where_only_some_are_given() -> None:
    guards = plans.read({"guards": {"slow": {"margin": 0.03}, "errors": {"enabled": False}}}).guards
    assert (guards.slow.tolerance, guards.slow.margin) == (1.5, 0.03)
    assert not guards.errors.required
    assert "errors" not in guards.gates()


def test_a_digest_names_the_plan_and_nothing_else() -> None:
    plan = Plan.default()
    assert plan.digest() == Plan.model_validate(plan.model_dump()).digest()
    assert len(plan.digest()) == 64
    assert plan.digest() != plans.read({"alpha": 0.02}).digest()


def test_a_plan_survives_json() -> None:
    for strategy in plans.STRATEGIES:
        plan = Plan.default(strategy)
        assert Plan.model_validate_json(plan.model_dump_json()) == plan


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("stategy: swap\n", "stategy: unknown key; did you mean 'strategy'?"),
        ('{"a[b": 1}\n', "a[b: unknown key; allowed:"),
        ("strategy: bluegreen\n", "strategy: must be 'swap', 'shadow' or 'canary', got 'bluegreen'"),
        ("steps: [{share: 1.5}]\n", "steps[0].share: should be less than 1, got 1.5"),
        ("steps: [{share: 5 percent}]\n", "steps[0].share: must be a number in [0, 1] or per cent such as 5%"),
        ("steps: [{units: 5}]\n", "steps[0].share: missing; it must be given"),
        ("steps: [{share: 0.5}, {share: 0.1}]\n", "steps: shares must grow from step to step, but 0.1 comes after 0.5"),
        ("steps: [{share: 0.5, min_seconds: soon}]\n", "steps[0].min_seconds: must be seconds or a time such as 90s"),
        ("steps: []\n", "a canary needs at least one step"),
        ("strategy: swap\nsteps: [{share: 0.5}]\n", "a swap has neither a shadow nor steps"),
        ("guards: {eror: {margin: 1%}}\n", "guards.eror: unknown key; did you mean 'errors'?"),
        ("guards: {errors: {marign: 1%}}\n", "guards.errors.marign: unknown key; did you mean 'margin'?"),
        ("guards: {errors: {margin: true}}\n", "guards.errors.margin: must be a number or per cent"),
        ("guards: {errors: {enabled: false, required: true}}\n", "cannot prove anything"),
        ("guards: {confidence: {action: gate}}\n", "confidence counts rows"),
        (
            "guards: {distribution: {action: stop}}\n",
            "guards.distribution.action: must be 'hold' or 'gate', got 'stop'",
        ),
        ("alpha: .nan\n", "alpha: "),
        ("- canary\n", "the plan: must be a mapping, got ['canary']"),
        ("a: 1\na: 2\n", "line 2, column 1: key 'a' appears twice"),
        ("deadline: 0\n", "deadline: should be greater than 0, got 0"),
    ],
)
def test_a_bad_plan_is_one_line_that_says_where(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(PlanError) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert complaint in message
    assert "plan.yaml" in message
    assert "\n" not in message
    assert caught.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("value", [{"steps": 5}, {"guards": 1}, {"shadow": True}, {"strategy": ["a"]}, {"steps": [1]}])
def test_a_plan_in_a_bundle_is_read_as_strictly(value: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match="rollout plan: "):
        plans.read(value)
