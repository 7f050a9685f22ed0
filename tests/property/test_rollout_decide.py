"""Laws of decisions, over plans, progress, counts and clocks that nobody would think of."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from kedge_testing.rollouts import evidence, step

from kedge.plane.evidence import KINDS
from kedge.rollout import plan as plans
from kedge.rollout.decide import Progress, decide
from kedge.rollout.guards import read
from kedge.rollout.reading import LEAST_UNITS, Reading
from kedge.rollout.states import TRANSITIONS, WITH_TRAFFIC, State

VERDICTS = ("harm", "proven", "open", "insufficient", "off")
NAMES = (*KINDS, "outcomes", "labels", "sample_ratio", "distribution", "disagreement")


@st.composite
def plan_of(draw: st.DrawFn) -> plans.Plan:
    shares = sorted(draw(st.sets(st.sampled_from([0.01, 0.05, 0.1, 0.25, 0.5, 0.9]), min_size=1, max_size=4)))
    steps = [
        {
            "share": share,
            "units": draw(st.integers(0, 3000)),
            "min_seconds": draw(st.integers(0, 900)),
            "max_seconds": draw(st.none() | st.integers(1, 2000)),
            "approval": draw(st.booleans()),
            "proof": draw(st.booleans()),
        }
        for share in shares
    ]
    guards = {
        kind: {"required": draw(st.booleans()), "action": draw(st.sampled_from(["hold", "gate"]))} for kind in KINDS
    }
    return plans.read(
        {
            "steps": steps,
            "shadow": draw(st.none() | st.builds(dict, pairs=st.integers(0, 2000), approval=st.booleans())),
            "baking": draw(st.none() | st.builds(dict, units=st.integers(0, 2000), seconds=st.integers(0, 900))),
            "guards": guards,
            "deadline": draw(st.integers(1, 5000)),
        }
    )


@st.composite
def reading_of(draw: st.DrawFn, name: str, plan: plans.Plan) -> Reading:
    rule = getattr(plan.guards, name, None)
    margin = 0.005
    return Reading(
        guard=name,
        log_e=draw(st.none() | st.floats(-5, 20)),
        threshold=6.4,
        upper=draw(st.none() | st.floats(-1, 1)),
        margin=margin,
        n=draw(st.integers(0, 10_000)),
        verdict=draw(st.sampled_from(VERDICTS)),
        words=name,
        numbers={},
        action=rule.action if rule else "hold",
        required=getattr(rule, "required", False),
    )


@st.composite
def case(draw: st.DrawFn) -> tuple[plans.Plan, Progress, tuple[Reading, ...], float]:
    plan = draw(plan_of())
    number = draw(st.integers(0, len(plan.steps) - 1))
    counted = st.builds(lambda units, bad: (units, min(units, bad)), st.integers(0, 4000), st.integers(0, 50))
    steps = tuple(
        step(plan.steps[i].share if i < len(plan.steps) else 0.95, draw(counted), draw(counted), i)
        for i in range(draw(st.integers(0, len(plan.steps) + 1)))
    )
    started = draw(st.floats(0, 1000))
    begun = started + draw(st.floats(0, 1000))
    progress = Progress(
        draw(st.sampled_from(State)),
        number,
        started,
        begun,
        steps,
        draw(st.none() | st.builds(lambda n: evidence(agreement={(0, 0): n}), st.integers(0, 3000))),
        draw(st.frozensets(st.sampled_from(NAMES))),
        draw(st.none() | st.floats(0, 3000)),
    )
    names = draw(st.sets(st.sampled_from(NAMES)))
    readings = tuple(draw(reading_of(name, plan)) for name in sorted(names))
    return plan, progress, readings, begun + draw(st.floats(0, 8000))


@settings(max_examples=100, deadline=None)
@given(case())
def test_laws_of_decisions(given_case: tuple[plans.Plan, Progress, tuple[Reading, ...], float]) -> None:
    plan, progress, readings, now = given_case
    decision = decide(plan, progress, readings, now)
    assert decision == decide(plan, progress, readings, now)
    going = decision.kind in {"advance", "promote", "finish"}

    # Rollback dominates, happens only with traffic, and only for a guard that fired and may.
    may = [r.guard for r in readings if r.verdict == "harm" and r.action == "gate"]
    assert (decision.kind == "rollback") == (bool(may) and progress.state in WITH_TRAFFIC)
    if decision.kind == "rollback":
        assert decision.guard in may

    # Nothing goes on past a guard that holds and that nobody let pass.
    if going:
        assert not any(r.verdict == "harm" and r.guard not in progress.accepted for r in readings)

    # Never on without units and time.
    if going and progress.state is State.CANARY:
        asked = plan.steps[progress.step]
        assert sum(s.canary.units for s in progress.steps if s.index == progress.step) >= asked.units
        assert now - progress.step_started >= asked.min_seconds
        assert not asked.approval
        # Never past a proof with a required guard open.
        if asked.proof:
            proven = {r.guard for r in readings if r.verdict == "proven" and r.upper is not None and r.upper < r.margin}
            assert set(plan.guards.required()) <= proven
    if going and progress.state is State.BAKING and plan.baking:
        kept = sum(s.control.units for s in progress.steps if s.index == len(plan.steps))
        assert kept >= plan.baking.units
        assert now - progress.step_started >= plan.baking.seconds
    assert not (going and progress.state not in {State.SHADOW, State.CANARY, State.BAKING})

    # What is decided is a way of the table, and words fit a record.
    if decision.target is not None:
        assert any(way.source is progress.state and way.target is decision.target for way in TRANSITIONS)
    assert decision.reason
    assert decision.reason.isprintable()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_laws_of_readings(data: st.DataObject) -> None:
    """Counts alone never prove harm where the canary is no worse, nor safety on too few units."""
    units = data.draw(st.integers(0, 3000))
    bad = data.draw(st.integers(0, units))
    share = data.draw(st.sampled_from([0.05, 0.5, 0.95]))
    other = data.draw(st.integers(0, 20_000))
    worse = data.draw(st.integers(0, other))
    for reading in read(plans.Plan.default(), [step(share, (units, bad), (other, worse))]):
        if reading.guard == "errors" and (bad == 0 or bad <= share * (bad + worse)):
            assert not reading.fired
        if reading.verdict == "proven":
            assert units >= LEAST_UNITS
            assert reading.upper is not None
            assert reading.upper < reading.margin
