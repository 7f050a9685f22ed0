"""What to do next with a candidate: a pure function of its plan, its progress, what its guards say, and the time.

Rollback is looked at first, in every state with traffic. A guard that only holds pauses the rollout until a person has
looked. Then comes what the stage asks. No data is never a pass and never a failure: it waits, until the deadline
pauses the rollout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from kedge.rollout import explain
from kedge.rollout.plan import Baking, ShadowStep
from kedge.rollout.states import WITH_TRAFFIC, State
from kedge.rollout.units import as_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kedge.plane.evidence import Evidence
    from kedge.rollout.plan import Plan
    from kedge.rollout.reading import Reading, StepEvidence

Kind = Literal["hold", "advance", "promote", "finish", "rollback", "pause"]


@dataclass(frozen=True)
class Progress:
    """How far a rollout is.

    Attributes:
        state: of the candidate.
        step: the step it is in; of no account in SHADOW and BAKING.
        started: when its first stage began, seconds since 1970.
        step_started: when this stage began.
        steps: every stage with two arms so far, in order.
        shadow: the shadow's cell; None where there was none.
        accepted: guards that a person has looked at and let pass, by `promote` or `resume` while they held.
        resumed: when a person last resumed it; deadlines count from there.
    """

    state: State
    step: int
    started: float
    step_started: float
    steps: tuple[StepEvidence, ...] = ()
    shadow: Evidence | None = None
    accepted: frozenset[str] = frozenset()
    resumed: float | None = None


@dataclass(frozen=True)
class Decision:
    """What to do, and why.

    Attributes:
        kind: ``hold``: nothing. ``advance``: the next stage, still compared with the control. ``promote``: out of the
            last step, to BAKING or LIVE. ``finish``: baking is over. ``rollback``, ``pause``: those.
        reason: in words, one line.
        guard: which guard decided; None where none did.
        readings: what it rests on.
        target: the state that follows; None for ``hold``.
        step: the step that follows, where `target` is CANARY; else None.
        waits_for_approval: everything is met but a person's yes.
    """

    kind: Kind
    reason: str
    guard: str | None
    readings: tuple[Reading, ...]
    target: State | None = None
    step: int | None = None
    waits_for_approval: bool = False


@dataclass(frozen=True)
class _Stage:
    """What the stage under way asks; `units` is counted, wanted, and of what."""

    name: str
    units: tuple[int, int, str]
    min_seconds: float
    max_seconds: float | None
    approval: bool = False
    proof: bool = False


def decide(plan: Plan, progress: Progress, readings: Sequence[Reading], now: float) -> Decision:
    """What to do next.

    Args:
        plan: the rollout's plan.
        progress: how far it is.
        readings: of `kedge.rollout.guards.read`, on the same counts.
        now: seconds since 1970.
    """
    said = tuple(readings)
    if progress.state not in WITH_TRAFFIC:
        return Decision("hold", f"{progress.state}: nothing to compare", None, said)
    worst = max((r for r in said if r.fired and r.action == "gate"), key=_strength, default=None)
    if worst is not None:
        return Decision("rollback", worst.words, worst.guard, said, State.ROLLING_BACK)
    if progress.state is State.PAUSED:
        return Decision("hold", "paused; guards still act", None, said)
    holding = next((r for r in said if r.fired and r.action == "hold" and r.guard not in progress.accepted), None)
    if holding is not None:
        return Decision("pause", f"held for a person to look: {holding.words}", holding.guard, said, State.PAUSED)
    stage = _stage(plan, progress)
    missing = _missing(plan, progress, stage, said, now)
    if not missing:
        return _go_on(plan, progress, stage, said)
    reason = _waiting(plan, missing, said)
    if deadline := _deadline(plan, progress, stage, now):
        return Decision("pause", f"{deadline}; {reason}", None, said, State.PAUSED)
    return Decision("hold", f"{stage.name}: {reason}", None, said)


def next_stage(plan: Plan, progress: Progress) -> tuple[Kind, State, int | None]:
    """What follows the stage under way: the kind of the decision, the state, and the step where that is CANARY.

    For the manager too, when a person says `promote`. In PAUSED, `progress.state` is the state that was paused.
    """
    after = State.BAKING if plan.baking else State.LIVE
    match progress.state:
        case State.SHADOW if plan.steps:
            return "advance", State.CANARY, 0
        case State.CANARY if progress.step + 1 < len(plan.steps):
            return "advance", State.CANARY, progress.step + 1
        case State.BAKING:
            return "finish", State.LIVE, None
        case _:
            return "promote", after, None


def _go_on(plan: Plan, progress: Progress, stage: _Stage, said: tuple[Reading, ...]) -> Decision:
    if stage.approval:  # `promote` goes on by itself
        reason = f"{stage.name}: everything is met; waiting for a person to say 'promote'"
        return Decision("hold", reason, None, said, waits_for_approval=True)
    kind, state, step = next_stage(plan, progress)
    proved = "; ".join(r.words for r in said if r.required and r.verdict == "proven") if stage.proof else ""
    counted, _, of = stage.units
    reason = f"{stage.name}: {counted:,} {of} and time are met, no guard fired"
    return Decision(kind, f"{reason}; {proved}" if proved else reason, None, said, state, step)


def _stage(plan: Plan, progress: Progress) -> _Stage:
    if progress.state is State.SHADOW:
        shadow, pairs = plan.shadow or ShadowStep(), progress.shadow.compared if progress.shadow else 0
        return _Stage(
            "shadow", (pairs, shadow.pairs, "pairs"), shadow.min_seconds, shadow.max_seconds, approval=shadow.approval
        )
    if progress.state is State.BAKING:
        baking = plan.baking or Baking()
        kept = sum(s.control.units for s in progress.steps if s.index == len(plan.steps))
        return _Stage("baking", (kept, baking.units, "control units"), baking.seconds, baking.max_seconds)
    step = plan.steps[progress.step]
    units = sum(s.canary.units for s in progress.steps if s.index == progress.step)
    return _Stage(
        f"step {progress.step + 1} of {len(plan.steps)} ({step.share:.3g} of traffic)",
        (units, step.units, "canary units"),
        step.min_seconds,
        step.max_seconds,
        approval=step.approval,
        proof=step.proof,
    )


def _missing(plan: Plan, progress: Progress, stage: _Stage, said: tuple[Reading, ...], now: float) -> tuple[str, ...]:
    """What the stage still asks, in words."""
    missing = []
    counted, wanted, of = stage.units
    if counted < wanted:
        missing.append(f"{counted:,} of {wanted:,} {of}")
    if (passed := now - progress.step_started) < stage.min_seconds:
        missing.append(f"{as_time(passed)} of {as_time(stage.min_seconds)}")
    if stage.proof:
        proven = {r.guard for r in said if r.verdict == "proven" and r.upper is not None and r.upper < r.margin}
        missing += [f"proof on {explain.WHAT[guard]}" for guard in plan.guards.required() if guard not in proven]
    return tuple(missing)


def _waiting(plan: Plan, missing: tuple[str, ...], said: tuple[Reading, ...]) -> str:
    """What is missing, and of each required guard without a proof how much harm is not excluded yet."""
    wanted = [r for r in said if r.guard in plan.guards.required() and r.verdict in {"open", "insufficient"}]
    return "; ".join(["waits for " + ", ".join(missing), *map(explain.still, wanted)])


def _deadline(plan: Plan, progress: Progress, stage: _Stage, now: float) -> str | None:
    """Which deadline has passed, in words."""
    since = progress.resumed if progress.resumed is not None else -math.inf
    if now - max(progress.started, since) >= plan.deadline:
        return f"the rollout's deadline of {as_time(plan.deadline)} has passed"
    if stage.max_seconds is not None and now - max(progress.step_started, since) >= stage.max_seconds:
        return f"{stage.name} has taken its {as_time(stage.max_seconds)}"
    return None


def _strength(reading: Reading) -> float:
    """How far past its threshold a guard is; one without an e-value comes last."""
    return reading.log_e - reading.threshold if reading.log_e is not None else -math.inf
