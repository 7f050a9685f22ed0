"""Values of the rollout room as messages of ``kedge.v1``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedge.proto import admin as pb
from kedge.rollout.states import State

if TYPE_CHECKING:
    from kedge.rollout.reading import Reading
    from kedge.rollout.values import Event, ModelState, RolloutState


def model_message(state: ModelState) -> pb.ModelStatus:
    """Where a model stands, but for what it has counted."""
    live, good = state.live, state.last_good
    return pb.ModelStatus(
        model=state.model,
        version=live.version if live else "",
        bundle=live.id if live else "",
        epoch=state.epoch,
        live_since=state.since if live else 0.0,
        last_good=good.id if good else "",
        last_good_version=good.version if good else "",
        rollout=None if state.rollout is None else _rollout(state.rollout),
        quarantined=[
            pb.Quarantined(bundle=item.id, version=item.version, since=item.since, reason=item.reason)
            for item in state.quarantined
        ],
        legal=[command.value for command in state.legal],
        unrecorded=state.unrecorded,
        revision=state.revision,
    )


def event_message(event: Event) -> pb.Event:
    """An event as its message."""
    return pb.Event(
        sequence=event.number,
        time=event.at,
        model=event.model,
        bundle=event.bundle,
        version=event.version,
        action=event.action,
        previous_state=event.previous.value if event.previous else "",
        next_state=event.next.value if event.next else "",
        epoch=event.epoch,
        actor=event.actor,
        words=event.words,
    )


def _rollout(state: RolloutState) -> pb.Rollout:
    control = state.control
    return pb.Rollout(
        bundle=state.candidate.id,
        version=state.candidate.version,
        state=state.state.value,
        held=state.held.value if state.held else "",
        strategy=state.plan.strategy,
        plan=state.plan_digest,
        control=control.id if control else "",
        control_version=control.version if control else "",
        step=state.step,
        steps=state.steps,
        share=state.share,
        started=state.started,
        step_started=state.step_started,
        step_seconds=_least_seconds(state),
        shares=[step.share for step in state.plan.steps],
        candidate_units=state.units[0],
        control_units=state.units[1],
        readings=map(_reading, state.readings),
        decision=state.decision,
        paused_by=state.paused_by.name if state.paused_by else "",
        over=state.over,
    )


def _least_seconds(state: RolloutState) -> float:
    """Least time that the plan gives the step under way, in seconds; 0 where it says none."""
    match state.held or state.state:
        case State.SHADOW if state.plan.shadow is not None:
            return state.plan.shadow.min_seconds
        case State.CANARY if state.step < len(state.plan.steps):
            return state.plan.steps[state.step].min_seconds
        case State.BAKING if state.plan.baking is not None:
            return state.plan.baking.seconds
    return 0.0


def _reading(reading: Reading) -> pb.Reading:
    return pb.Reading(
        guard=reading.guard,
        log_e=reading.log_e,
        threshold=reading.threshold,
        lower=reading.lower,
        upper=reading.upper,
        margin=reading.margin,
        n=reading.n,
        verdict=reading.verdict,
        words=reading.words,
        numbers={name: str(value) for name, value in reading.numbers.items()},
        action=reading.action,
        required=reading.required,
        detectable=reading.detectable,
    )
